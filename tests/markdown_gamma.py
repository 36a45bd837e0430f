"""A reader of gamma.md, who knows the page alone: its tables, its flows and its formulas."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import cache

from attrs import field, frozen
from switches import Switches

from bayesnas.compiler.passes.gamma import Dependency

_CODE = re.compile(r"`([^`]*)`")
_INLINE = re.compile(r"\$([^$\n]+)\$")
_BLOCK = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.DOTALL | re.MULTILINE)


def formulas(markdown: str) -> Iterator[str]:
    """Every formula of the page, of an aligned block every line by itself."""
    for block in _BLOCK.findall(markdown):
        body = re.sub(r"\\(begin|end)\{aligned\}", "", block).replace("&", "")
        yield from (" ".join(row.split()) for row in body.split("\\\\"))
    yield from _INLINE.findall(_BLOCK.sub("", markdown))


# ------------------------------------------------------------------------------ formulas


def compute(latex: str, value: Callable[[str], float]) -> float:
    """A formula's number; ``value`` gives those of symbols as they stand."""
    return _Calculator(latex, value).total()


class _Calculator:
    """Sums of symbols, multiples, harmonic sums and sums over an index."""

    def __init__(self, latex: str, value: Callable[[str], float]) -> None:
        self.rest, self.value = latex.strip(), value

    def total(self) -> float:
        result = self._sum()
        assert not self.rest, self.rest
        return result

    def _take(self, pattern: str) -> re.Match[str] | None:
        match = re.match(pattern, self.rest)
        if match:
            self.rest = self.rest[match.end() :].lstrip()
        return match

    def _sum(self) -> float:
        result = self._term()
        while self._take(r"\+"):
            result += self._term()
        return result

    def _term(self) -> float:
        if self._take(r"\\left\("):
            result = self._sum()
            assert self._take(r"\\right\)\^\{-1\}"), self.rest
            return _inverse(result)
        if self._take(r"\\frac\{1\}\{"):
            result = self._sum()
            assert self._take(r"\}"), self.rest
            return _inverse(result)
        if over := self._take(r"\\sum_\{(\\?\w+)=(\d+)\}\^\{(\d+)\}"):
            symbol = self._symbol()
            indices = range(int(over[2]), int(over[3]) + 1)
            return sum(self.value(symbol.replace(f"_{{{over[1]}}}", f"_{{{n}}}")) for n in indices)
        if times := self._take(r"\d+"):
            return int(times[0]) * self._term()
        return self.value(self._symbol())

    def _symbol(self) -> str:
        """A letter with its subscript in braces, and a number in parentheses above."""
        match = self._take(r"[A-Za-z]'?")
        assert match, self.rest
        symbol = match[0]
        if self.rest.startswith("_{"):
            end, depth = 2, 1
            while depth:
                depth += {"{": 1, "}": -1}.get(self.rest[end], 0)
                end += 1
            symbol += self.rest[:end]
            self.rest = self.rest[end:].lstrip()
        above = self._take(r"\^\{\(\d+\)\}")
        return symbol + (above[0] if above else "")


def _inverse(number: float) -> float:
    return 1 / number if number else math.inf


def node_name(latex: str) -> str:
    r"""`h_{0}` is h[0], `\mathrm{to\_y}` is to_y."""
    plain = re.sub(r"\\mathrm\{([^}]*)\}", r"\1", latex).replace(r"\_", "_")
    return re.sub(r"_\{(\d+)\}", r"[\1]", plain)


# ------------------------------------------------------------------------------ sections


@frozen
class EdgeRow:
    """A row of a table of edges; gates as they stand there."""

    source: str
    target: str
    number: int
    gates: range
    operations: str
    formula: str
    place: str


@frozen
class PartRow:
    """A row of a table of instances."""

    name: str
    gates: range
    title: str
    reads: dict[str, str]
    gives: dict[str, str]


@frozen
class Section:
    text: str
    inputs: list[str]
    rows: list[EdgeRow]
    parts: list[PartRow]
    operations: dict[str, list[tuple[list[str], list[str]]]]  # labels, and where: first, nowhere
    infinite: dict[Dependency, list[str]]
    local: dict[str, str]
    recursive: dict[str, str]

    @classmethod
    def read(cls, text: str) -> Section:
        tables = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
        flows = {d: _flow(text, d) for d in ("local", "recursive")}
        return cls(
            re.sub(r"\n +", " ", text),
            _CODE.findall(text.partition("From ")[2].partition(" to `")[0]),
            [_edge_row(cells) for cells in tables if " → " in cells[0]],
            [_part_row(cells) for cells in tables if " → " not in cells[0]],
            dict(map(_operations, re.findall(r"^- (O\d+.*(?:\n  .*)*)", text, re.MULTILINE))),
            {"local": flows["local"][0], "recursive": flows["recursive"][0]},
            flows["local"][1],
            flows["recursive"][1],
        )


def _range(text: str) -> range:
    if text == "none":
        return range(0)
    first, _, last = text.partition("–")
    return range(int(first), int(last or first) + 1)


def _edge_row(cells: list[str]) -> EdgeRow:
    edge, gates, operations, formula, place = cells
    match = re.fullmatch(r"\| `(.*) → (.*?)(?: \((\d+)\))?`", edge)
    assert match
    source, target, number = match.groups()
    where = place.removesuffix(" |")
    return EdgeRow(
        source, target, int(number or 1), _range(gates), operations, formula.strip("$"), where
    )


def _part_row(cells: list[str]) -> PartRow:
    name, gates, title, reads, gives = cells
    pairs = [dict(re.findall(r"`([^`]*)` = `([^`]*)`", cell)) for cell in (reads, gives)]
    return PartRow(name.removeprefix("| ").strip("`"), _range(gates), title, *pairs)


def _operations(bullet: str) -> tuple[str, list[tuple[list[str], list[str]]]]:
    title, _, rest = " ".join(bullet.split()).partition(": ")
    first, *others = rest.split("; in ")
    variants: list[tuple[list[str], list[str]]] = [(_CODE.findall(first), [])]
    for variant in others:
        where, _, labels = variant.partition(": ")
        variants.append((_CODE.findall(labels), _CODE.findall(where)))
    return title.partition(",")[0], variants


def _flow(text: str, dependency: str) -> tuple[list[str], dict[str, str]]:
    """Nodes of an infinite flow, and the others' formulas, of one form."""
    start = text.partition(f"Flow, `{dependency}`:")[2]
    certain = start.partition("\n\n")[0]
    following = start.partition("\n\n")[2]
    equations: dict[str, str] = {}
    if following.startswith("$$"):
        for formula in formulas(following[: following.index("\n$$") + 3]):
            left, equal, right = formula.partition(" = ")
            if equal:
                node = node_name(left.removeprefix("F_{").removesuffix("}"))
                equations[node] = right
            else:
                equations[node] += " " + formula.removeprefix(r"\quad ")
    return _CODE.findall(certain), equations


# ------------------------------------------------------------------------------ the page


@frozen
class Gate:
    """A gate as the page tells of it."""

    number: int
    instance: str
    operation: str
    place: str


@frozen
class Document:
    """The sections by title; of instances by path their titles, first gates and parents."""

    sections: dict[str, Section]
    titles: dict[str, str] = field(factory=dict)
    firsts: dict[str, int] = field(factory=dict)
    parents: dict[str, tuple[str, PartRow]] = field(factory=dict)

    @classmethod
    def read(cls, markdown: str) -> Document:
        _, *texts = markdown.split("\n## ")
        pairs = (text.partition("\n") for text in texts)
        result = cls({title: Section.read(text) for title, _, text in pairs})
        assert len(result.sections) == len(texts)
        result._enter("", next(iter(result.sections)), 0)
        return result

    def _enter(self, path: str, title: str, first: int) -> None:
        self.titles[path], self.firsts[path] = title, first
        section = self.sections[title]
        shown = min((r.gates.start for r in (*section.rows, *section.parts) if r.gates), default=0)
        for part in section.parts:
            inner = f"{path}.{part.name}" if path else part.name
            self.parents[inner] = (path, part)
            self._enter(inner, part.title, part.gates.start - shown + first)

    def rows(self, path: str) -> Iterator[tuple[EdgeRow, range]]:
        """The edges of an instance with the numbers their gates have there."""
        section = self.sections[self.titles[path]]
        shown = min((r.gates.start for r in (*section.rows, *section.parts) if r.gates), default=0)
        for row in section.rows:
            moved = self.firsts[path] - shown
            yield row, range(row.gates.start + moved, row.gates.stop + moved)

    def gates(self) -> list[Gate]:
        """Every gate of every instance, by number."""
        return sorted(
            (
                Gate(gate, path, label, row.place)
                for path in self.titles
                for row, numbers in self.rows(path)
                for gate, label in zip(numbers, self._labels(path, row), strict=True)
            ),
            key=lambda gate: gate.number,
        )

    def _labels(self, path: str, row: EdgeRow) -> list[str]:
        variants = self.sections[self.titles[path]].operations[row.operations]
        return next((labels for labels, where in variants if path in where), variants[0][0])

    def gammas(self, switches: Switches, dependency: Dependency) -> dict[int, float]:
        """gamma of every gate by number."""
        edges = {
            (path, row.source, row.target, row.number): (row, numbers)
            for path in self.titles
            for row, numbers in self.rows(path)
        }

        @cache
        def flow(path: str, node: str) -> float:
            section = self.sections[self.titles[path]]
            equations = section.local if dependency == "local" else section.recursive
            if node in section.infinite[dependency]:
                return math.inf
            if node in equations:
                return compute(equations[node], lambda symbol: meaning(path, symbol))
            for part in section.parts if dependency == "recursive" else ():
                if node in part.gives:
                    return flow(f"{path}.{part.name}".lstrip("."), part.gives[node])
                if node.startswith(f"{part.name}."):
                    return flow(f"{path}.{part.name}".lstrip("."), node.rpartition(".")[2])
            assert dependency == "recursive"
            assert node in section.inputs, f"`{node}` of `{path}` is not explained"
            parent, row = self.parents[path]
            return flow(parent, row.reads[node])

        def meaning(path: str, symbol: str) -> float:
            quantity, subscript = symbol.split("_{", 1)
            subscript, _, number = subscript.partition("}^{(")
            ends = node_name(subscript if number else subscript.removesuffix("}")).split(",")
            if quantity == "F":
                return flow(path, *ends)
            edge = (path, *ends, int(number.removesuffix(")}") or 1))
            if quantity == "R":
                return sum(gammas(edge).values())
            return sum(switches.gates[n] for n in edges[edge][1])

        @cache
        def gammas(edge: tuple[str, str, str, int]) -> dict[int, float]:
            path, source, target, number = edge
            row, numbers = edges[edge]
            prefix = f"{path}." if path else ""
            connection = f"{prefix}{source}->{prefix}{target}"
            relay = switches.relays[connection if number == 1 else f"{connection}#{number}"]

            def gamma(own: float) -> float:
                switch = {"s'": relay, "s": own}
                return compute(row.formula, lambda symbol: switch.get(symbol) or flow_of(symbol))

            def flow_of(symbol: str) -> float:
                return meaning(path, symbol)

            return {n: gamma(switches.gates[n]) for n in numbers}

        return {n: gamma for edge in edges for n, gamma in gammas(edge).items()}
