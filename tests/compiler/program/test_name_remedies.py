"""`did you mean` is tried: with what is meant in its place, the error is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support import KEYWORDS, compile_text, network, refused

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

SAMPLE = """op wide(kernel, factor = 2) = conv(kernel, expand = factor) >> bn
choice some(stride = 1) = wide(3) >> conv(1, width = 8, stride = stride) | max_pool(3, stride)
motif cell(first, last; channels = 8, motif inner = leaf) -> (out) {
    node state[3]
    gate = first : conv(3, channels) >> sigmoid
    deep = inner(last)
    gate -> state[0]
    deep -> state[0] : conv(1, channels)
    for step in 0..2 { state[step] ~> state[step + 1] : some | skip_all(step) }
    retain 1 into state[1]
    out = concat(state)
}
motif leaf(source) -> (target) { source -> target : relu }
op skip_all(index) = if index == 0 then conv(1, 8) else skip
network net(image: [3, 8, 8]; size = 8) -> (logits: [10]) {
    stem = image : conv(3, size) >> leaky_relu
    body = cell(stem, stem; channels = size)
    budget parameters <= 100K
    body -> logits : global_avg_pool >> linear(10)
}
search { rounds = 4; strategy = bayesnas }
train { epochs = 3 }
"""
WORDS = [m for m in re.finditer(r"[a-z_]+", SAMPLE) if m[0] not in KEYWORDS and len(m[0]) > 3]


def typos(word: str) -> Iterator[str]:
    yield word[:2] + word[3:]
    yield word[:1] + word[1:3][::-1] + word[3:]
    yield word.upper()
    yield word + "s"
    yield word.replace("o", "ö")


def first(text: str) -> Diagnostic | None:
    try:
        compile_text(text)
    except DiagnosticError as error:
        return error.diagnostics[0]
    return None


def place(found: Diagnostic) -> tuple[str, int, int]:
    assert found.span is not None
    return found.code, found.span.line, found.span.column


def test_the_sample_compiles() -> None:
    assert first(SAMPLE) is None


@pytest.mark.parametrize("n", range(3))
def test_what_is_meant_is_no_error(n: int) -> None:
    meant = 0
    for k, match in enumerate(WORDS[n::4]):
        typo = [*typos(match[0])][(n + k) % 5]
        text = SAMPLE[: match.start()] + typo + SAMPLE[match.end() :]
        found = first(text)
        if found is None or not (said := re.search(r"did you mean `([^`]+)`", found.help)):
            continue
        assert found.span is not None
        lines = text.split("\n")
        line, column = found.span.line - 1, found.span.column - 1
        [wrong] = (
            re.findall(r"`([^`]+)`", found.message)[-1:]
            if "no parameter `" in (found.message)
            else re.findall(r"`([^`]+)`", found.message)[:1]
        )
        rest = lines[line][column:]
        assert wrong in rest, found
        lines[line] = lines[line][:column] + rest.replace(wrong, said[1], 1)
        left = first("\n".join(lines))
        assert left is None or place(left) != place(found), (found, left)
        meant += 1
    assert meant > len(WORDS) // 16


@pytest.mark.parametrize("index", ["", "[0]", "[2]", "[..2]"])
def test_a_node_is_declared_as_it_is_used(index: str) -> None:
    text = network(f"x -> zz{index}\nzz -> y")
    found = refused(text)[0]
    [declared] = re.findall(r"declare it: `(.*)`", found.help)
    mended = text.replace("{\n", "{\n" + declared.replace("[n]", "[3]") + "\n", 1)
    left = first(mended)
    assert left is None or left.code == "D215"  # a list has more nodes than one


def test_a_list_without_nodes_has_no_last_index() -> None:
    [found] = refused(network("node h[0]\nx -> h[0]\n{x, h} -> y"))
    assert (found.code, found.help) == ("D223", "declare 1 node or more")
