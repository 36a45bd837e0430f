"""Remedies for shapes, followed to the letter: each mends its error, and none leads in a circle.

Specs are drawn with edges whose shapes need not fit. A remedy is put into the spec's text as its
words say, again and again, until the spec compiles.
"""

from __future__ import annotations

import re
from random import Random

import pytest
from support import compile_text, network, refused

from bayesnas.compiler.passes import remedies
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

MOST_STEPS = 40

# ------------------------------------------------------------------------------ what does not fit

_ON_MAPS = (
    "conv(3, width=8)",
    "conv(3, width=4)",
    "conv(3, width=6, stride=2)",
    "conv(1, stride=3)",
    "max_pool(2, stride=2)",
    "avg_pool(2, stride=2) >> relu",
    "max_pool(3, stride=2)",
    "upsample(2)",
    "upsample(3) >> conv(3)",
    "factorized_reduce(width=8)",
    "relu >> (skip + conv(3, width=8))",
    "relu >> (skip + conv(3, stride=2))",
    "",
)


def drawn(seed: int) -> str:
    """A network of a few nodes with several arrivals each."""
    random = Random(seed)
    size = random.choice((7, 8, 9, 12, 15, 33))
    channels = random.choice((1, 4, 8))
    lines = [f"network net(x: [{channels}, {size}, {size}]) -> (y: [10]) {{"]
    known = ["x"]
    for n in range(random.randint(1, 5)):
        node, merge = f"h{n}", random.choice(("sum", "concat", "product"))
        lines.append(f"{node} = {merge}()")
        for source in random.sample(known, random.randint(1, min(3, len(known)))):
            operations = random.sample(_ON_MAPS, random.randint(1, 2))
            if random.random() < 0.3 and "" not in operations:
                lines.append(f"{source} ~> {node} : {' | '.join(operations)}")
            else:
                tail = f" : {operations[0]}" if operations[0] else ""
                lines.append(f"{source} -> {node}{tail}")
        known.append(node)
    used = {line.split()[0] for line in lines}
    ends = [node for node in known if node not in used or node == known[-1]]
    lines += [
        f"{node} -> y : global_avg_pool >> linear(10)"
        for node in [
            n for n in known[1:] if not any(re.match(rf"{n} [-~]>", line) for line in lines)
        ]
    ]
    assert ends
    return "\n".join([*lines, "}"])


def unet(size: int, down: str, up: str, depth: int, merge: str) -> str:
    """A U-net that predicts a map of its image's size."""
    lines = [f"network net(image: [1, {size}, {size}]) -> (mask: [2, {size}, {size}]) {{"]
    lines += ["d0 = image : conv(3, width=8)"]
    lines += [f"d{n + 1} = d{n} : {down}" for n in range(depth)]
    lines += [f"u{depth} = d{depth} : conv(3)"]
    for n in reversed(range(depth)):
        lines += [
            f"e{n} = u{n + 1} : {up}",
            f"m{n} = {merge}(d{n}, e{n})",
            f"u{n} = m{n} : conv(3, width=8)",
        ]
    return "\n".join([*lines, "u0 -> mask : conv(1, width=2)", "}"])


# ------------------------------------------------------------------------------ remedies, applied

_DECLARE = re.compile(r"`(\w+): (\[[\d, ]+\])`")
_APPEND = re.compile(r"append `>> ([^`]+)` to `([^`]+)` on `(\w+) -> (\w+)`")
_PUT = re.compile(r"put `([^`]+)` on `(\w+) -> (\w+)`")
_BRANCH = re.compile(r"append `>> ([^`]+)` to branch (\d+) of the `\+`")
_WRITE = re.compile(r"write `([^`]+)`")


def options(help_line: str) -> list[str]:
    return help_line.split(", or ")


def applied(text: str, found: Diagnostic, option: str) -> str:
    """The spec with a remedy put into it."""
    lines = text.split("\n")
    assert found.span is not None
    at = found.span.line - 1
    if option.startswith("declare"):
        for name, shape in _DECLARE.findall(option):
            lines[0] = re.sub(rf"\b{name}: \[[^\]]*\]", f"{name}: {shape}", lines[0])
    elif match := _BRANCH.search(option):
        tail, branch = match[1], int(match[2])
        inner = _parallel(lines[at])
        parts = inner.split(" + ")
        parts[branch - 1] += f" >> {tail}"
        lines[at] = lines[at].replace(inner, " + ".join(parts))
    elif option.startswith("leave it out"):
        [name] = re.findall(r"^`(\w+)` needs", found.message)
        head, operations = lines[at].split(" : ")
        left = [part for part in operations.split(" >> ") if not part.startswith(name)]
        lines[at] = f"{head} : {' >> '.join(left)}" if left else head
    elif option.endswith("for a vector"):
        [new] = _WRITE.findall(option)
        [name] = re.findall(r"^`(\w+)` needs", found.message)
        lines[at] = re.sub(rf"\b{name}\([^)]*\)", new, lines[at], count=1)
    elif match := _WRITE.fullmatch(option):
        old = (
            r"(max|avg)_pool\(2, stride=2\)"
            if "kernel" in option
            else r"factorized_reduce\(width=8\)"
        )
        new = r"\1_pool(3, stride=2)" if "kernel" in option else match[1]
        lines[at] = re.sub(old, new, lines[at], count=1)
    elif option == "merge with `concat`":
        [name] = re.findall(r" at `(\w+)`$", found.message)
        lines = [re.sub(rf"^{name} = \w+\(", f"{name} = concat(", line) for line in lines]
    else:
        for tail, label, source, target in _APPEND.findall(option):
            n = _statement(lines, source, target)
            assert label in lines[n], (label, lines[n])
            head, operations = lines[n].split(" : ")
            written = operations.split(" | ")
            written[written.index(label)] += f" >> {tail}"
            lines[n] = f"{head} : {' | '.join(written)}"
        for tail, source, target in _PUT.findall(option):
            n = _statement(lines, source, target)
            if "(" not in lines[n]:
                lines[n] += f" : {tail}"
            else:  # a merge names nodes: the operation gets one of its own
                lines[n] = re.sub(rf"\b{source}\b", f"{source}_1", lines[n])
                lines.insert(n, f"{source}_1 = {source} : {tail}")
    return "\n".join(lines)


def _parallel(line: str) -> str:
    """What stands in the parentheses of the first `relu >> (...)`."""
    start, depth = line.index(">> (skip") + 4, 1
    for end in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[end], 0)
        if depth == 0:
            return line[start:end]
    raise AssertionError(line)


def _statement(lines: list[str], source: str, target: str) -> int:
    """The line of an edge."""
    edge = re.compile(
        rf"{source} [-~]> {target}\b|{target} = \w+\(.*\b{source}\b|{target} = {source} :"
    )
    [n] = [n for n, line in enumerate(lines) if edge.match(line)]
    return n


def followed(text: str, choose: int) -> list[tuple[str, str]]:
    """What is said on the way to a spec that compiles, each with the remedy that is followed."""
    way: list[tuple[str, str]] = []
    for _ in range(MOST_STEPS):
        try:
            compile_text(text)
        except DiagnosticError as error:
            found = error.diagnostics[0]
            several = options(found.help)
            option = several[choose % len(several)]
            changed = applied(text, found, option)
            assert changed != text, (found.help, text)
            way.append((found.message, option))
            left = _left(changed)
            same = [
                d
                for d in left
                if (d.code, d.message, d.notes) == (found.code, found.message, found.notes)
            ]
            assert not same, (text, option)
            text = changed
            continue
        return way
    pytest.fail(f"still wrong after {MOST_STEPS} remedies: {way}\n{text}")


def _left(text: str) -> tuple[Diagnostic, ...]:
    try:
        compile_text(text)
    except DiagnosticError as error:
        return error.diagnostics
    return ()


# ------------------------------------------------------------------------------ laws


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("choose", [0, -1])
def test_remedies_lead_to_a_spec_that_compiles(seed: int, choose: int) -> None:
    followed(drawn(seed), choose)


def test_most_of_what_is_drawn_does_not_fit() -> None:
    assert sum(bool(_left(drawn(seed))) for seed in range(60)) > 40


@pytest.mark.parametrize("size", [7, 15, 33])
@pytest.mark.parametrize(
    "down",
    [
        "max_pool(2, stride=2)",
        "conv(3, width=8, stride=2)",
        "max_pool(3, stride=2)",
        "factorized_reduce(width=8)",
    ],
)
@pytest.mark.parametrize("merge", ["sum", "concat"])
def test_an_odd_unet_is_mended_by_one_remedy(size: int, down: str, merge: str) -> None:
    text = unet(size, down, "upsample(2)", 2, merge)
    [(_, remedy)] = followed(text, 0)
    assert remedy.startswith("declare `image: [1, ")


def test_candidates_of_several_widths_are_mended_one_after_the_other() -> None:
    """Into a concatenation: no advice to concatenate."""
    text = """network net(x: [5]) -> (y: [2]) {
h0 = x : linear(64)
h1 = concat()
h0 ~> h1 : linear(16) >> relu | linear(64) >> relu | linear(64) >> tanh | skip >> relu
h1 -> y : linear(2)
}"""
    assert [remedy for _, remedy in followed(text, 0)] == [
        f"append `>> linear(16)` to `{label}` on `h0 -> h1`"
        for label in ("linear(64) >> relu", "linear(64) >> tanh", "skip >> relu")
    ]
    [found] = refused(text)
    assert found.notes[-1].startswith("operations of one edge are summed")


def test_a_motif_is_mended_for_all_its_instances() -> None:
    """Where the first would do with 4 channels and the second with 8."""
    body = "node h\na ~> h : conv(3, {width}) | skip\nb = sum(h)"
    text = network("p = m(x)\nq = m(p)\nq -> y")
    [found] = refused(f"motif m(a) -> (b) {{ {body.format(width=8)} }}\n{text}")
    assert found.help == "append `>> conv(1, width=8)` to `skip` on `p.a -> p.h`"
    mended = body.format(width=8).replace("skip", "skip >> conv(1, width=8)")
    assert [d.code for d in refused(f"motif m(a) -> (b) {{ {mended} }}\n{text}")] == ["D303"]


def test_sizes_are_not_advised_where_they_do_not_help() -> None:
    """A stride that one branch has and the other has not."""
    [found] = refused(network("p = x : conv(3, stride=2)\ny = sum(x, p)"))
    assert "declare" not in found.help


def test_nothing_is_tried_in_graphs_too_large_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "MOST_EDGES", 1)
    [found] = refused(network("p = x : conv(3, stride=2)\ny = sum(x, p)"))
    assert found.help == "what is summed has one shape"
