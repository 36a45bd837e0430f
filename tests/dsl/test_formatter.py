"""Text in canonical form with its comments: the laws, and where each comment goes."""

from collections import Counter
from importlib.resources import files
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import specs
from support import parse_text

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError, Source
from bayesnas.dsl.parsing.parser import tokenize
from bayesnas.dsl.printing.formatter import format_source
from bayesnas.dsl.printing.printer import print_spec


def formatted(text: str) -> str:
    return format_source(Source("spec.nas", text))


# ------------------------------------------------------------------------------ laws

# What may stand between two words; `@` becomes the number of the comment.
GAPS = [" ", "\n", "\n\n\n", " #@\n", "\n# @ \n", "\n\n#@ (\n\n", "  # @ {\n  #@\n", "\n\n # @;\n"]


def untidy(text: str, random: Random) -> str:
    """The text with brackets that carry no meaning, and comments wherever one may stand."""
    words: list[str] = []
    settings = False
    for token in tokenize(Source("drawn", text)):
        settings = token.type in ("SETTINGS", "LEARN") or (settings and token != "}")
        if token.type == "INTEGER" and not settings and random.random() < 0.3:
            words += ["(", token, ")"]
        elif token.type == "ARROW" and words[-1].isidentifier() and random.random() < 0.5:
            words[-1:] = ["{", words[-1], "}", token]
        else:
            words.append(token)
    gaps = [*GAPS, *[" "] * random.choice([4, 30])]
    result = random.choice(["", "\n\n", "# @\n", "\n#@\n\n"])
    parts = (result + "".join(word + random.choice(gaps) for word in words)).split("@")
    return "".join(f"{part}{number}" for number, part in enumerate(parts[:-1])) + parts[-1]


def comments(text: str) -> Counter[str]:
    """Comments without trailing white space; quoted text may hold `#` too."""
    found = []
    for line in text.split("\n"):
        outside = line.split('"')[::2]
        marked = [k for k, part in enumerate(outside) if "#" in part]
        if marked:
            rest = '"'.join(line.split('"')[2 * marked[0] :])
            found.append(rest[rest.index("#") :].rstrip())
    return Counter(found)


def assert_laws(text: str) -> None:
    result = formatted(text)
    assert parse_text(result) == parse_text(text)
    assert comments(result) == comments(text)
    assert formatted(result) == result
    assert not any(line != line.rstrip() for line in result.split("\n"))
    assert "\n\n\n" not in result
    lines = result.split("\n")
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        beside_a_brace = before.endswith("{") or after.lstrip().startswith("}")
        assert line or "#" in before or not beside_a_brace
    assert result == "" or (result.endswith("\n") and not result.startswith("\n"))


@given(specs, st.integers(0, 2**32))
def test_meaning_and_comments_are_kept_and_once_is_enough(spec: tree.Spec, seed: int) -> None:
    assert_laws(untidy(print_spec(spec), Random(seed)))


@given(specs)
def test_without_comments_it_prints_the_tree(spec: tree.Spec) -> None:
    text = print_spec(spec)
    assert formatted(text) == text
    words = [str(token) for token in tokenize(Source("drawn", text))]
    assert formatted("\n".join(words)) == text


def packaged() -> list[Source]:
    folders = (files("bayesnas.specs"), files("bayesnas.dsl").joinpath("library", "ops"))
    found = [f for folder in folders for f in folder.iterdir() if f.name.endswith(".nas")]
    return [Source(f.name, f.read_text(encoding="utf-8")) for f in found]


@pytest.mark.parametrize("source", packaged(), ids=lambda source: source.name)
def test_what_comes_with_the_package_is_canonical(source: Source) -> None:
    assert format_source(source) == source.text


# ------------------------------------------------------------------------------ comments


def assert_formatted(text: str, expected: str) -> None:
    assert formatted(text) == expected
    assert formatted(expected) == expected


def test_comments_keep_their_place() -> None:
    text = """

# head


import "a.nas"# why
op f=g   # trailing \t
# about h
op h=f
motif m(a,b)->(c){# body

  # first
  a->c;  {b} -> {c} # last

      # end

} # after


# tail"""
    expected = """# head

import "a.nas"  # why

op f = g  # trailing
# about h
op h = f

motif m(a, b) -> (c) {  # body
    # first
    a -> c
    b -> c  # last

    # end
}  # after

# tail
"""
    assert_formatted(text, expected)


@pytest.mark.parametrize("text", ["# one", "\n# one\n", "# one\r\n"])
def test_comments_alone(text: str) -> None:
    assert_formatted(text, "# one\n")


@pytest.mark.parametrize("text", ["", "\n", " \t\r\n\n"])
def test_nothing_stays_nothing(text: str) -> None:
    assert_formatted(text, "")


def test_comments_among_options_stay_with_them() -> None:
    text = """
choice c(k) =  # candidates
    # small
    conv(3)    # three
    | conv(5) >> bn |  # five

    skip
"""
    expected = """choice c(k) =  # candidates
    # small
      conv(3)  # three
    | conv(5) >> bn  # five
    | skip
"""
    assert_formatted(text, expected)


def test_comments_among_stages_stay_with_them() -> None:
    text = "motif m(a) -> (b) { a ~> b : relu # first\n # then\n >> conv(3) # last\n }"
    expected = """motif m(a) -> (b) {
    a ~> b :
           relu  # first
        # then
        >> conv(3)  # last
}
"""
    assert_formatted(text, expected)


def test_comments_in_a_condition_break_it() -> None:
    text = "op f(k) = if k == 1 then a # one\n else if k == 2 # two\n then b else c"
    expected = """op f(k) =
    if k == 1 then a  # one
    # two
    else if k == 2 then b
    else c
"""
    assert_formatted(text, expected)


def test_comments_round_else() -> None:
    text = """
motif m(a) -> (b) {
    if a == 1 { a -> b }  # done
    # otherwise
    else {
        a -> b : relu
    }
    if a == 2 { # nothing
    } else { # nothing either
    }
    if a == 3 { a -> b
      # the end
    }
    else { # the rest
        a -> b
    }
}
"""
    expected = """motif m(a) -> (b) {
    if a == 1 {
        a -> b
    } else {  # done
        # otherwise
        a -> b : relu
    }
    if a == 2 {  # nothing
    }  # nothing either
    if a == 3 {
        a -> b
        # the end
    } else {  # the rest
        a -> b
    }
}
"""
    assert_formatted(text, expected)


def test_comments_within_a_line_move_above_it() -> None:
    text = """
motif m(
    a,  # the input

    # its width
    width
) -> (c) {
    b = concat(a,  # once
        a  # twice
    )  # thrice

    c = chain f(b) times 3  # long
        reduce at 1,  # here
        2
}
"""
    expected = """motif m(
    a,  # the input
    # its width
    width
) -> (c) {
    b = concat(
        a,  # once
        a  # twice
    )  # thrice

    c = chain f(b) times 3  # long
        # here
        reduce at 1, 2
}
"""
    assert_formatted(text, expected)


def test_comments_before_what_opens_go_inside() -> None:
    text = """
motif m(a) -> (b)
# the body
{
    for k in 0..2
    # the loop
    { a -> b }
    x = f
    # the input
    (a)
    y = f # the inputs
    (a, b)
}
"""
    expected = """\
motif m(a) -> (b) {
    # the body
    for k in 0..2 {
        # the loop
        a -> b
    }
    x = f(
        # the input
        a
    )
    y = f(  # the inputs
        a,
        b
    )
}
"""
    assert_formatted(text, expected)


def test_comments_before_what_goes_on_below_go_there() -> None:
    text = """
motif m(a) -> (b) {
    x = chain f(a) times (2 * (a + 1
    # where
    )) reduce at 1
    x ~> b : conv(3
    # wide
    ) | skip
}
"""
    expected = """\
motif m(a) -> (b) {
    x = chain f(a) times 2 * (a + 1)
        # where
        reduce at 1
    x ~> b :
          conv(3)
        # wide
        | skip
}
"""
    assert_formatted(text, expected)


def test_of_two_comments_behind_a_line_the_second_goes_below() -> None:
    text = "motif m(a) -> (b) { b = concat(a # one\n ) # two\n }"
    expected = "motif m(a) -> (b) {\n    b = concat(a)  # one\n    # two\n}\n"
    assert_formatted(text, expected)


def test_blocks_of_comments_alone() -> None:
    text = "search { # none\n}\ntrain {\n\n# none\n\n}\nmotif m(a) -> (b) { }"
    expected = """search {  # none
}

train {
    # none
}

motif m(a) -> (b) { }
"""
    assert_formatted(text, expected)


def test_what_looks_like_a_comment_in_a_text_is_none() -> None:
    assert_formatted('search { a = "x#y" #z\n}', 'search { a = "x#y" }  #z\n')


# ------------------------------------------------------------------------------ empty lines


def test_one_empty_line_is_kept_where_statements_are_apart() -> None:
    text = """
op f = a
op g = b



op h = c
motif m(a) -> (b) {

    a -> b


    {a} -> b
    a -> b

}
"""
    expected = """op f = a
op g = b

op h = c

motif m(a) -> (b) {
    a -> b

    a -> b
    a -> b
}
"""
    assert_formatted(text, expected)


def test_an_empty_line_a_definition_needs_stands_where_the_author_put_one() -> None:
    text = "op f = a\n# of f\n\nmotif m(a) -> (b) { }\n# of n\nmotif n(a) -> (b) { }\n"
    expected = "op f = a\n# of f\n\nmotif m(a) -> (b) { }\n\n# of n\nmotif n(a) -> (b) { }\n"
    assert_formatted(text, expected)


# ------------------------------------------------------------------------------ refusals


def test_a_wrong_text_is_refused() -> None:
    with pytest.raises(DiagnosticError) as caught:
        formatted("op f = ")
    [found] = caught.value.diagnostics
    assert found.code == "D101"
