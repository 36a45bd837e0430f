"""What the fuzzer feeds: hypothesis strategies for cases, by kind; `fuzz` says what must hold.

A case is a folder of files. Text that is no UTF-8 travels as surrogates, so that every case is
plain JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

from attrs import asdict, field, fields_dict, frozen
from hostile import FLAT_AND_DEEP
from hypothesis import strategies as st
from strategies import spaces
from support import KEYWORDS, graph_of

from bayesnas.compiler.artifacts.graph_file import graph_to_json
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.settings import KINDS as SETTINGS
from bayesnas.dsl.loader import load, packaged_specs

DOCS = Path(__file__).parents[1] / "docs"
FIFO, FOLDER, LINK = "\0fifo", "\0folder", "\0link "  # contents that stand for what is no file


@frozen
class Case:
    """Files by path; the first is the one that is read."""

    kind: str
    files: dict[str, str] = field(repr=False)
    seed: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Case:
        return cls(**json.loads(text))


def _spec(kind: str, text: str) -> Case:
    return Case(kind, {"spec.nas": text})


# ------------------------------------------------------------------------------ mutations


@cache
def bases() -> list[str]:
    """Specs people write, the packaged ones made small, and the examples of the documentation."""
    loaded = [load(name) for name in packaged_specs()]
    library = {s.span.source.text for one in loaded for s in one.imported}
    specs = [
        re.sub(r"\b(cells|layers|blocks|motifs) = \d+", r"\1 = 2", one.source.text)
        for one in loaded
    ]
    blocks = [
        block
        for path in sorted(DOCS.glob("*.md"))
        for block in re.findall(r"```nas\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    ]
    return [*specs, *sorted(library), *blocks]


_NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "100",
    "4294967296",
    "1000000000000",
    "9" * 30,
    "9" * 101,
]
_SIGNS = [
    *"(){}[],;:=|+*%<>-.&!?@#\"'\\", "->", "~>", ">>", "//", "..", "==", "!=", "<=", ">=", "=>",
    "...",
]  # fmt: skip
_WORDS = [*KEYWORDS, *PRIMITIVES, *_NUMBERS, *_SIGNS, "1.5", "1e9", "3.5M", "2G", '"a"', "x", "h"]
_GROUPS = (r"\d+", r"[A-Za-z_]\w*", r"->|~>|>>|//|\.\.|[=!<>]=|[^\w\s]")
_PIECE = re.compile(r"->|~>|>>|//|\.\.|[=!<>]=|\w+|\s+|.", re.DOTALL)
_Mutation = Callable[[st.DrawFn, str], str]


def _place(draw: st.DrawFn, things: list[Any] | str) -> int:
    return draw(st.integers(0, max(0, len(things) - 1)))


def _at_a_piece(change: Callable[[st.DrawFn, list[str], int], list[str]]) -> _Mutation:
    def mutate(draw: st.DrawFn, text: str) -> str:
        pieces = _PIECE.findall(text) or [""]
        k = _place(draw, pieces)
        return "".join([*pieces[:k], *change(draw, pieces, k), *pieces[k + 1 :]])

    return mutate


def _alike(draw: st.DrawFn, pieces: list[str], k: int) -> list[str]:
    """Another piece of the same group: a number for a number, a name of the text for a name."""
    group = next((g for g in _GROUPS if re.fullmatch(g, pieces[k])), r"\s+")
    others = [p for p in pieces if re.fullmatch(group, p)] or [pieces[k]]
    return [draw(st.sampled_from(others + (_NUMBERS if group == r"\d+" else [])))]


def _at_a_line(times: int) -> _Mutation:
    def mutate(draw: st.DrawFn, text: str) -> str:
        lines = text.split("\n")
        k = _place(draw, lines)
        return "\n".join([*lines[:k], *[lines[k]] * times, *lines[k + 1 :]])

    return mutate


def _splice(draw: st.DrawFn, text: str) -> str:
    other = draw(st.sampled_from(bases()))
    return text[: _place(draw, text)] + other[_place(draw, other) :]


def _insert(draw: st.DrawFn, text: str) -> str:
    k = _place(draw, text)
    return text[:k] + draw(st.text(min_size=1, max_size=5)) + text[k:]


def _cut(draw: st.DrawFn, text: str) -> str:
    return text[: _place(draw, text)]


_MUTATIONS: tuple[_Mutation, ...] = (
    *(_at_a_piece(_alike),) * 10,
    _at_a_piece(lambda _draw, _pieces, _k: []),
    _at_a_piece(lambda _draw, pieces, k: [pieces[k], " ", pieces[k]]),
    _at_a_piece(lambda draw, pieces, _k: [draw(st.sampled_from(pieces))]),
    _at_a_piece(lambda draw, _pieces, _k: [f" {draw(st.sampled_from(_WORDS))} "]),
    _at_a_piece(lambda draw, pieces, k: [pieces[k], f" {draw(st.sampled_from(_WORDS))} "]),
    _at_a_line(0),
    _at_a_line(2),
    _insert,
    _splice,
    _cut,
)


@st.composite
def mutations(draw: st.DrawFn) -> Case:
    text = draw(st.sampled_from(bases()) | spaces())
    for mutate in draw(st.lists(st.sampled_from(_MUTATIONS), min_size=1, max_size=3)):
        text = mutate(draw, text)
    return _spec("mutation", text)


@st.composite
def noise(draw: st.DrawFn) -> Case:
    """Bytes: any, or those of a spec cut off or with others among them."""
    data = draw(st.sampled_from(bases())).encode()
    some = draw(st.binary(max_size=60))
    start, stop = sorted((_place(draw, str(data)), _place(draw, str(data))))
    data = draw(st.sampled_from([some, data[:start], data[:start] + some + data[stop:]]))
    return _spec("noise", data.decode("utf-8", "surrogateescape"))


# ------------------------------------------------------------------------------ structure

_depths = st.sampled_from([1, 2, 50, 99, 100, 101, 150, 199, 200, 201, 500, 1000, 3000, 10_000])


@st.composite
def hostile(draw: st.DrawFn) -> Case:
    """One construct nested or repeated very often, or very large numbers."""
    build = FLAT_AND_DEEP[draw(st.sampled_from(sorted(FLAT_AND_DEEP)))]
    return _spec("hostile", build(draw(_depths | st.integers(1, 10_000))))


_PATHS = [
    "a.nas", "b.nas", "sub/c.nas", "sub/a.nas", "c.nas", "pipe.nas", "folder.nas", "out.nas",
    "self.nas", "in.nas", "zero.nas", "spec.nas", "missing.nas", "ops/basic.nas", "ops/darts.nas",
    "../spec.nas", "sub/../a.nas", "/etc/passwd", "", ".", "..", "/", "sub", "sub/", "./a.nas",
    "a.nas/", "a.nas/b", "~/a.nas", "sub\\c.nas", "a\0b", "x" * 300, "x/" * 3000, "ä.nas", "*", "-",
]  # fmt: skip
_CONTENTS = [
    "",
    "op f = skip",
    "op g(k) = conv(k)",
    "choice f = skip",
    "op f = ",
    "\udcff",
    "network",
]
_ODD = {
    "pipe.nas": FIFO,
    "folder.nas": FOLDER,
    "out.nas": f"{LINK}/etc/passwd",
    "self.nas": f"{LINK}self.nas",
    "in.nas": f"{LINK}sub/c.nas",
    "zero.nas": f"{LINK}/dev/zero",
}


@st.composite
def imports(draw: st.DrawFn) -> Case:
    def content() -> str:
        paths = draw(st.lists(st.sampled_from(_PATHS) | st.text(max_size=8), max_size=4))
        statements = "".join(f'import "{path}"\n' for path in paths)
        return statements + draw(st.sampled_from(_CONTENTS))

    names = ["spec.nas", "a.nas", "b.nas", "sub/c.nas", "sub/a.nas"]
    body = "network n(x: [1]) -> (y: [1]) { x -> y : f }"
    files = {name: content() for name in names[: draw(st.integers(1, len(names)))]}
    files["spec.nas"] += draw(st.sampled_from(["", body]))
    return Case("imports", {**files, **_ODD})


_values = (
    st.integers(-(10**20), 10**20).map(str)
    | st.floats().map(repr)
    | st.sampled_from([*_WORDS, "1e999", "-1e999", "bayesnas", '"bayesnas"', '"none"', "0.0"])
    | st.text(max_size=10).map(lambda text: f'"{text}"')
)


_TERMS: Final = (
    "regression",
    "classification(smoothing = 0.1)",
    "regression(sigma = 1e999) * 0.5",
    "multilabel(a = b, c = 3) * -1",
    "next_token *",
    "classification(",
)


@st.composite
def settings_blocks(draw: st.DrawFn) -> Case:
    fields = [name for kind in SETTINGS.values() for name in fields_dict(kind)]
    entries = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["x", "y", *fields]) | st.text("abc_", min_size=1),
                _values | st.sampled_from(_TERMS),
            )
        )
    )
    block = "\n".join(f"    {name} = {value}" for name, value in entries)
    kind = draw(st.sampled_from([*sorted(SETTINGS), "learn"]))
    network = "network n(x: [1]) -> (y: [1]) { x -> y }"
    return _spec("settings", f"{kind} {{\n{block}\n}}\n{network}\n")


# ------------------------------------------------------------------------------ graph.json


@cache
def graphs() -> list[str]:
    """Small graphs with every part a graph.json may have."""
    motifs = """
        motif m(a; width = 4) -> (b, c) {
            node h[2]
            a ~> h : conv(3, width) >> bn | skip + (max_pool(3) >> relu)
            retain 1 into h
            b = concat(h)
            c = product(a, h[0])
        }
        motif step(a) -> (b) { a ~> b : relu | skip }"""
    bodies = [
        "x -> y",
        "x ~> y : conv(3) | skip",
        "b, c = tied m(x)\nd, e = tied m(x; width = 4)\ny = sum(c, e)\nb ~> y : conv(1, 4)\n"
        "d -> y : conv(1, 4)\nbudget parameters <= 1M",
        "c = chain step(x) times 2\nz = concat(x, c)\nz ~> y : conv(3, 4) | conv(1, 4)",
    ]
    head = "network n(x: [4, 8, 8]) -> (y: [4, 8, 8])"
    learn = "learn { y = classification(smoothing = 0.5, ignored = 3) }"
    read = """
        motif turn(a, b) -> (c) {
            both = concat(a, b)
            node d
            both ~> d : linear(4) | linear(4) >> tanh
            c = sum(d)
        }
        motif side(a) -> (b) {
            node c
            a ~> c : conv(1, 4) | conv(3, 4)
            b = c : global_avg_pool
        }
        network n(x: [4, 3], z: [4, 3]) -> (y: [4, 3], v: [4]) {
            s = shared side(x)
            t = shared side(z)
            h = tied scan turn(x) from s
            k = tied scan turn(z) from t
            {h, k} -> y
            {s, t} -> v
        }
        learn { y = regression(sigma = 0.5) * 2 }"""
    specs = [f"{motifs}\n{head} {{\n{body}\n}}\n{learn}" for body in bodies]
    return [graph_to_json(graph_of(spec)) for spec in [*specs, read]]


_json = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -1, 2, 1.0, 1.5, 1e300, 10**30, "", "x", "h[0]", "§"])
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and its key or index there."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    inner = [place for key in keys for place in _places(value[key])]
    return [(value, key) for key in keys] + inner


@st.composite
def broken_graphs(draw: st.DrawFn) -> Case:
    text = draw(st.sampled_from(graphs()))
    if draw(st.integers(0, 9)) == 0:
        text = draw(st.sampled_from([_insert, _cut, _MUTATIONS[0]]))(draw, text)
        return Case("graph", {"graph.json": text})
    data = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(data)
        holder, key = places[_place(draw, places)]
        change = draw(st.sampled_from(["delete", "replace", "copy", "repeat"]))
        if change == "delete":
            del holder[key]
        elif change == "replace":
            holder[key] = draw(_json)
        elif change == "copy":  # what stands under the same key elsewhere
            alike = [h[k] for h, k in places if k == key]
            holder[key] = deepcopy(draw(st.sampled_from(alike)))  # it may hold the holder
        elif isinstance(holder, list):
            holder.append(holder[key])
    return Case("graph", {"graph.json": json.dumps(data)})


# ------------------------------------------------------------------------------ all kinds

KINDS: dict[str, st.SearchStrategy[Case]] = {
    "space": st.builds(
        lambda text, seed: Case("space", {"spec.nas": text}, seed), spaces(), st.integers(0, 1000)
    ),
    "mutation": mutations(),
    "noise": noise(),
    "hostile": hostile(),
    "imports": imports(),
    "settings": settings_blocks(),
    "graph": broken_graphs(),
}
