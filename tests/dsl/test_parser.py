"""Text to syntax tree: every construct, its place, and the grammar itself."""

from functools import partial

import pytest
from lark import Lark
from strategies import SPAN
from support import GRAMMAR, KEYWORDS, assert_refused, load_snippet, marked, parse_text, refused

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span

LINES_OF_A_PAGE = 90


# ------------------------------------------------------------------------------ trees by hand


def num(value: int) -> tree.Number:
    return tree.Number(value, span=SPAN)


def var(name: str) -> tree.Name:
    return tree.Name(name, span=SPAN)


def binary(operator: str, left: tree.Expression, right: tree.Expression) -> tree.Binary:
    return tree.Binary(operator, left, right, span=SPAN)


def ref(name: str, index: tree.Index | tree.Slice | None = None) -> tree.Reference:
    return tree.Reference(name, index, span=SPAN)


def at(name: str, index: tree.Expression) -> tree.Reference:
    return ref(name, tree.Index(index, span=SPAN))


def cut(name: str, start: tree.Expression | None, stop: tree.Expression | None) -> tree.Reference:
    return ref(name, tree.Slice(start, stop, span=SPAN))


def arg(value: tree.Expression, name: str | None = None) -> tree.Argument:
    return tree.Argument(name, value, span=SPAN)


def call(name: str, *arguments: tree.Argument) -> tree.Call:
    return tree.Call(name, arguments, span=SPAN)


def port(name: str, *shape: tree.Expression) -> tree.Port:
    return tree.Port(name, shape or None, span=SPAN)


def parameter(name: str, default: tree.Expression | None = None) -> tree.Parameter:
    return tree.Parameter(name, default, span=SPAN)


Pipeline, Parallel, Alternatives, Conditional = (
    partial(cls, span=SPAN)
    for cls in (tree.Pipeline, tree.Parallel, tree.Alternatives, tree.Conditional)
)


def definition(text: str) -> tree.Definition:
    [found] = parse_text(text).definitions
    return found


def statement(text: str) -> tree.Statement:
    motif = definition(f"motif m(a) -> (b) {{ {text} }}")
    assert isinstance(motif, tree.Motif)
    [found] = motif.body
    return found


def term(text: str) -> tree.OperationTerm:
    operation = definition(f"op f = {text}")
    assert isinstance(operation, tree.OperationDefinition)
    return operation.body


def expression(text: str) -> tree.Expression:
    found = term(f"g({text})")
    assert isinstance(found, tree.Call)
    [argument] = found.arguments
    return argument.value


# ------------------------------------------------------------------------------ definitions


def test_an_empty_file_has_no_definitions() -> None:
    assert parse_text("").definitions == ()
    assert parse_text("  # nothing but a comment").definitions == ()


def test_import() -> None:
    assert definition('import "ops/darts.nas"') == tree.Import("ops/darts.nas", span=SPAN)


def test_operation() -> None:
    expected = tree.OperationDefinition(
        "f",
        (parameter("k"), parameter("s", num(1))),
        call("conv", arg(var("k")), arg(var("s"), "stride")),
        span=SPAN,
    )
    assert definition("op f(k, s = 1) = conv(k, stride = s)") == expected


def test_choice() -> None:
    body = Alternatives((call("conv", arg(num(3))), call("skip")))
    assert definition("choice c = conv(3) | skip") == tree.ChoiceDefinition(
        "c", (), body, span=SPAN
    )


def test_motif() -> None:
    expected = tree.Motif(
        "m",
        (port("a"), port("b")),
        (parameter("width"), parameter("stride", num(1))),
        (port("c"), port("d")),
        (),
        span=SPAN,
    )
    assert definition("motif m(a, b; width, stride = 1) -> (c, d) { }") == expected


def test_network() -> None:
    expected = tree.Network(
        "n",
        (port("x", num(3), num(32), num(32)),),
        (parameter("w", num(2)),),
        (port("y", binary("*", num(5), var("w"))),),
        (),
        span=SPAN,
    )
    assert definition("network n(x: [3, 32, 32]; w = 2) -> (y: [5 * w]) { }") == expected


def test_settings() -> None:
    text = 'search { a = 1; b = 0.5\n c = -2e-3; d = 3E4; e = word; f = "a b"; g = 1.5e+2 }'
    values = {"a": 1, "b": 0.5, "c": -2e-3, "d": 3e4, "e": "word", "f": "a b", "g": 150.0}
    settings = definition(text)
    assert isinstance(settings, tree.Settings)
    assert settings.kind == "search"
    assert {entry.name: entry.value for entry in settings.entries} == values
    kinds = [type(entry.value) for entry in settings.entries]
    assert kinds == [int, float, float, float, str, str, float]


def test_train_settings() -> None:
    assert definition("train { }") == tree.Settings("train", (), span=SPAN)


# ------------------------------------------------------------------------------ statements

STATEMENTS = {
    "node a, h[4]": tree.NodeDeclaration(
        (tree.Declared("a", None, span=SPAN), tree.Declared("h", num(4), span=SPAN)), span=SPAN
    ),
    "x = concat(a, h)": tree.Merge(ref("x"), "concat", (ref("a"), ref("h")), span=SPAN),
    "h[1] = product()": tree.Merge(at("h", num(1)), "product", (), span=SPAN),
    "x = sum(a)": tree.Merge(ref("x"), "sum", (ref("a"),), span=SPAN),
    "x = a : relu": tree.Transform(ref("x"), ref("a"), call("relu"), span=SPAN),
    "a -> b": tree.Connect((ref("a"),), (ref("b"),), False, None, span=SPAN),
    "{a, h[..2]} ~> {x, y} : c": tree.Connect(
        (ref("a"), cut("h", None, num(2))), (ref("x"), ref("y")), True, call("c"), span=SPAN
    ),
    "x, y = m(a, b; width = 16)": tree.Instantiation(
        (ref("x"), ref("y")), "m", (ref("a"), ref("b")), (arg(num(16), "width"),), span=SPAN
    ),
    "x = chain m(a) times 3": tree.Chain(
        (ref("x"),), "m", (ref("a"),), (), num(3), (), None, span=SPAN
    ),
    "x = tied chain m(a; w = 1) times n reduce at 1, n - 1": tree.Chain(
        (ref("x"),),
        "m",
        (ref("a"),),
        (arg(num(1), "w"),),
        var("n"),
        (num(1), binary("-", var("n"), num(1))),
        tree.Tie(None, span=SPAN),
        span=SPAN,
    ),
    "x = shared m(a)": tree.Instantiation(
        (ref("x"),), "m", (ref("a"),), (), tree.Share(span=SPAN), span=SPAN
    ),
    "x = tied(k) m(a)": tree.Instantiation(
        (ref("x"),), "m", (ref("a"),), (), tree.Tie(var("k"), span=SPAN), span=SPAN
    ),
    "budget flops <= 2 * n": tree.Budget("flops", binary("*", num(2), var("n")), span=SPAN),
    "budget parameters <= 3.5M": tree.Budget(
        "parameters", tree.Amount("3.5M", span=SPAN), span=SPAN
    ),
    "for k in 1..n { a -> b }": tree.Loop(
        "k",
        num(1),
        var("n"),
        (tree.Connect((ref("a"),), (ref("b"),), False, None, span=SPAN),),
        span=SPAN,
    ),
    "if k > 1 { node x } else { node y }": tree.Branch(
        binary(">", var("k"), num(1)),
        (tree.NodeDeclaration((tree.Declared("x", None, span=SPAN),), span=SPAN),),
        (tree.NodeDeclaration((tree.Declared("y", None, span=SPAN),), span=SPAN),),
        span=SPAN,
    ),
    "if k { }": tree.Branch(var("k"), (), (), span=SPAN),
    "retain 2 into h, x": tree.Retain(num(2), (ref("h"), ref("x")), span=SPAN),
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_statement(text: str) -> None:
    assert statement(text) == STATEMENTS[text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h", ref("h")),
        ("h[k]", at("h", var("k"))),
        ("h[1..k]", cut("h", num(1), var("k"))),
        ("h[..k]", cut("h", None, var("k"))),
        ("h[1..]", cut("h", num(1), None)),
        ("h[..]", cut("h", None, None)),
    ],
)
def test_reference(text: str, expected: tree.Reference) -> None:
    found = statement(f"{text} -> b")
    assert isinstance(found, tree.Connect)
    assert found.sources == (expected,)


# ------------------------------------------------------------------------------ operations


def test_pipelines_bind_tighter_than_sums_and_sums_tighter_than_candidates() -> None:
    a, b, c, d = (call(name) for name in "abcd")
    assert term("a | b + c >> d") == Alternatives((a, Parallel((b, Pipeline((c, d))))))
    assert term("(a | b) >> c") == Pipeline((Alternatives((a, b)), c))
    assert term("a >> b >> c") == Pipeline((a, b, c))
    assert term("(a >> b) >> c") == Pipeline((Pipeline((a, b)), c))


def test_a_condition_takes_all_that_follows_else() -> None:
    a, b, c = (call(name) for name in "abc")
    assert term("if k then a else b | c") == Conditional(var("k"), a, Alternatives((b, c)))
    nested = Conditional(var("k"), a, Conditional(var("j"), b, c))
    assert term("if k then a else if j then b else c") == nested


def test_a_call_without_arguments_needs_no_parentheses() -> None:
    assert term("relu()") == term("relu") == call("relu")


# ------------------------------------------------------------------------------ expressions

A, B, C = var("a"), var("b"), var("c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a - b - c", binary("-", binary("-", A, B), C)),
        ("a + b * c", binary("+", A, binary("*", B, C))),
        ("a // b % c", binary("%", binary("//", A, B), C)),
        ("a // (b * c)", binary("//", A, binary("*", B, C))),
        ("-a * b", binary("*", tree.Unary("-", A, span=SPAN), B)),
        ("a - -b", binary("-", A, tree.Unary("-", B, span=SPAN))),
        ("a < b + c", binary("<", A, binary("+", B, C))),
        ("not a == b", tree.Unary("not", binary("==", A, B), span=SPAN)),
        ("a or b and c", binary("or", A, binary("and", B, C))),
        ("a and b or c", binary("or", binary("and", A, B), C)),
        ("not not a", tree.Unary("not", tree.Unary("not", A, span=SPAN), span=SPAN)),
        ("0012", num(12)),
    ],
)
def test_precedence(text: str, expected: tree.Expression) -> None:
    assert expression(text) == expected


def test_comparisons_do_not_chain() -> None:
    assert_refused("op a = conv(1 < 2 §< 3)", "D101", "comparisons do not chain", parse_text)


# ------------------------------------------------------------------------------ white space

SPACED = """
# a comment
motif m ( a ; k = 1 )
    -> ( b ) {   # another, with " and { in it

    node h [ 2 ]
    a -> h : conv ( 3 )
        >> bn
    h -> b
}
"""
TIGHT = "motif m(a;k=1)->(b){node h[2];a->h:conv(3)>>bn;h->b;}"


def test_comments_newlines_and_semicolons_carry_no_meaning() -> None:
    assert parse_text(SPACED) == parse_text(TIGHT)
    assert parse_text(SPACED) == parse_text(SPACED.replace("\n", "\r\n"))
    assert parse_text(SPACED) == parse_text(SPACED.replace("    ", "\t"))


def test_only_a_newline_ends_a_comment() -> None:
    separators = "\u2028 ( \x0b { \x0c [ \x85 ) \r"
    assert parse_text(f"# {separators} \nop a = skip") == parse_text("op a = skip")


# ------------------------------------------------------------------------------ places


def _place(span: Span) -> tuple[int, int, int, int]:
    return span.line, span.column, span.end_line, span.end_column


def test_a_definition_stands_at_its_name() -> None:
    spec = parse_text("op f = skip\n\n  motif cell(a) -> (b) {\n a -> b\n}")
    assert [_place(d.span) for d in spec.definitions] == [(1, 4, 1, 5), (3, 9, 3, 13)]


def test_statements_references_and_operations_stand_where_they_are_written() -> None:
    motif = parse_text("motif m(a) -> (b) {\n    a -> b :\n      conv(3) >> bn\n}").definitions[0]
    assert isinstance(motif, tree.Motif)
    [connect] = motif.body
    assert isinstance(connect, tree.Connect)
    assert isinstance(connect.operation, tree.Pipeline)
    assert _place(connect.span) == (2, 5, 3, 20)
    assert _place(connect.targets[0].span) == (2, 10, 2, 11)
    assert _place(connect.operation.span) == (3, 7, 3, 20)
    assert _place(connect.operation.stages[1].span) == (3, 18, 3, 20)


def test_a_folded_expression_spans_its_operands() -> None:
    found = expression("10 + 2 * k")
    assert isinstance(found, tree.Binary)
    start = len("op f = g(") + 1
    assert _place(found.span) == (1, start, 1, start + len("10 + 2 * k"))
    assert _place(found.right.span) == (1, start + 5, 1, start + 10)


def test_places_know_their_file() -> None:
    assert str(definition("op f = skip").span) == "spec.nas:1:4"


def test_every_node_of_the_packaged_spec_has_a_place() -> None:
    loaded = load_snippet('import "ops/darts.nas"')
    [darts] = loaded.imported
    assert all(d.span.line > 1 for d in darts.definitions)
    assert {d.span.source.name for d in darts.definitions} == {"<library>/ops/darts.nas"}


# ------------------------------------------------------------------------------ the grammar


def test_the_grammar_has_no_conflicts() -> None:
    pytest.importorskip("interegular")
    Lark(GRAMMAR, parser="lalr", start="spec", strict=True, maybe_placeholders=True)


def test_the_grammar_fits_a_page() -> None:
    lines = [line for line in GRAMMAR.splitlines() if line and not line.startswith("//")]
    assert len(lines) <= LINES_OF_A_PAGE


@pytest.mark.parametrize("word", KEYWORDS)
@pytest.mark.parametrize(
    "text",
    ["op §{} = skip", "motif m(§{}) -> (b) {{ }}", "motif m(a) -> (b) {{ node §{} }}"],
    ids=["op", "port", "node"],
)
def test_keywords_cannot_be_names(text: str, word: str) -> None:
    message = f"`{word}` is a keyword and cannot be a name"
    assert_refused(text.format(word), "D101", message, parse_text)


@pytest.mark.parametrize("text", ["opera = skip", "motif m(a) -> (b) { retain 2 intob }"])
def test_keywords_end_where_their_word_ends(text: str) -> None:
    refused(text, parse_text)


@pytest.mark.parametrize("name", ["in_", "nodes", "_for", "If", "sum2", "op1"])
def test_names_may_contain_keywords(name: str) -> None:
    assert parse_text(f"op {name} = skip").definitions[0].name == name


def test_the_same_text_twice_gives_equal_trees_at_different_places() -> None:
    snippet = marked("§op f = conv(3)")
    first, second = parse_text(snippet.text), parse_text("\n\n" + snippet.text)
    assert first == second
    assert first.definitions[0].span != second.definitions[0].span
