"""gamma.md: on which switches each gate of a graph depends, once a motif, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

from bayesnas.compiler.artifacts.gamma_formulas import LINE, display, gamma_formula
from bayesnas.compiler.artifacts.gamma_patterns import (
    Junction,
    Pattern,
    Section,
    flow_equations,
    sections,
)
from bayesnas.compiler.artifacts.graph_json import place
from bayesnas.compiler.graph.model import Connection, Graph
from bayesnas.compiler.passes.gamma import Dependency

_GLUE: Final = "\N{NO-BREAK SPACE}"  # no line ends here
_HEAD: Final = r"""
Each searched operation $o$ of an edge $j \to k$ has a gate. The prior variance $\gamma$ of its
weight is an expression in switches between 0 (off) and $\infty$ (on), where "all of" is the
harmonic sum and "one of" the sum. An operation carries information if it is on, its edge is on
and something arrives where the edge starts (Zhou et al., ICML 2019, equation 8):

$$
\gamma_{jk}^{o} = \left(\frac{1}{s'_{jk}} + \frac{1}{F_{j}} + \frac{1}{s_{jk}^{o}}\right)^{-1}
$$

| symbol | meaning |
|---|---|
| $s_{jk}^{o}$ | switch of the operation's gate; short $s$ |
| $s'_{jk}$ | switch of the whole edge, which stands at its node i'; short $s'$ |
| $S_{jk} = \sum_{o} s_{jk}^{o}$ | what is on of the edge |
| $R_{jk} = \sum_{o} \gamma_{jk}^{o}$ | what reaches $k$ over the edge |
| $F_{j}$ | flow: what arrives at node $j$; where it is $\infty$, $1/F_{j}$ is 0 |

There are two forms, which differ in the flow alone. `local` is the published one and looks one
level back, $F_{k} = \sum_{j} S_{jk}$, with $\infty$ for an edge that is not searched. `recursive`
looks back to the inputs, $F_{k} = \sum_{j} R_{jk}$, with $F_{j}$ for an edge that is not searched.
A product needs all that arrives: its sum is a harmonic one.

Every motif is written once, and nodes go by their names inside it. The gates of its instances are
numbered in the same order; the table shows those of the first one.
""".strip()


def gamma_markdown(graph: Graph) -> str:
    """The dependency of every gate, for people: Markdown with formulas in LaTeX."""
    found = sections(graph)
    titles = _titles(found, graph)
    lines = [f"# On what each gate of `{graph.name}` depends", "", *_HEAD.splitlines()]
    for number, section in enumerate(found):
        lines += ["", f"## {titles[number]}", "", *_section(section, titles)]
    return "\n".join(lines) + "\n"


def _titles(found: Sequence[Section], graph: Graph) -> list[str]:
    motifs = [section.pattern.motif for section in found]
    return [
        f"The network `{graph.name}`"
        if section.instances[0].path == ""
        else f"`{section.pattern.motif}`"
        if motifs.count(section.pattern.motif) == 1
        else f"`{section.pattern.motif}` as in `{section.instances[0].path}`"
        for section in found
    ]


def _section(section: Section, titles: Sequence[str]) -> Iterator[str]:
    pattern = section.pattern
    paragraphs = [_ports(pattern)]
    if pattern.edges:
        paragraphs += [list(_instances(section)), *_edges(section)]
        paragraphs += _flows(pattern, "local")
    if pattern.parts:
        paragraphs.append(list(_parts(pattern, titles)))
    paragraphs += _flows(pattern, "recursive")
    for number, lines in enumerate(paragraphs):
        if number:
            yield ""
        yield from lines


def _ports(pattern: Pattern) -> list[str]:
    reads, gives = (_codes(nodes) for nodes in (pattern.inputs, pattern.outputs))
    searched = "" if pattern.edges else " It has no gates of its own."
    return _wrapped(f"From {reads} to {gives}.{searched}")


# ----------------------------------------------------------------------------------------- gates


def _instances(section: Section) -> Iterator[str]:
    """Who has which gates: tied instances together."""
    by_group: dict[str, list[int]] = {}
    for number, instance in enumerate(section.instances):
        by_group.setdefault(instance.group_path, []).append(number)
    own = [members[0] for members in by_group.values() if len(members) == 1]
    tied = {group: members for group, members in by_group.items() if len(members) > 1}
    for group, members in tied.items():
        shown = ", ".join(_gates_of(section, number) for number in members)
        yield from _bullet(f"Tied as `{group}`, one architecture: {shown}")
    if own:
        shown = ", ".join(_gates_of(section, number) for number in own)
        about = ", each with its own architecture" if len(own) > 1 else ""
        yield from _bullet(f"Not tied{about}: {shown}")


def _gates_of(section: Section, number: int) -> str:
    path = section.instances[number].path
    gates = [g for c in section.connections[number] for g in _gates(c)]
    name = _code(path) if path else "the network"
    return f"{name}{_GLUE}({_ranges(gates)})".replace(" ", _GLUE)


def _gates(connection: Connection) -> list[int]:
    return [edge.gate for edge in connection.edges if edge.gate is not None]


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers that count up, as ranges: ``0–6, 9``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)


@frozen
class _Candidates:
    """The choice and the operations of an edge in every instance."""

    choice: str | None
    labels: tuple[tuple[str, ...], ...]


def _edges(section: Section) -> Iterator[list[str]]:
    """Sets of candidates, then the table of edges."""
    names: dict[_Candidates, str] = {}
    rows = ["| edge | gates | operations | γ | place |", "|---|---|---|---|---|"]
    for number, edge in enumerate(section.pattern.edges):
        alike = [connections[number] for connections in section.connections]
        first = alike[0]
        labels = tuple(tuple(e.operation.label for e in c.edges) for c in alike)
        candidates = _Candidates(first.edges[0].choice, labels)
        name = names.setdefault(candidates, f"O{len(names) + 1}")
        again = f" ({edge.number})" if edge.number > 1 else ""
        cells = (
            f"`{edge.source} → {edge.target}`{again}",
            _ranges(_gates(first)),
            name,
            f"${gamma_formula(edge.source)}$",
            place(first.edges[0].span) or "",
        )
        rows.append(f"| {' | '.join(cells)} |")
    paths = [instance.path for instance in section.instances]
    sets = [line for c, name in names.items() for line in _operations(name, c, paths)]
    yield ["Operations in the order of their gates:", "", *sets]
    yield rows


def _operations(name: str, candidates: _Candidates, paths: Sequence[str]) -> list[str]:
    by_labels: dict[tuple[str, ...], list[str]] = {}
    for labels, path in zip(candidates.labels, paths, strict=True):
        by_labels.setdefault(labels, []).append(path)
    title = name if candidates.choice is None else f"{name}, {_code(candidates.choice)}"
    variants = [
        _codes(labels) if not number else f"in {_codes(where)}: {_codes(labels)}"
        for number, (labels, where) in enumerate(by_labels.items())
    ]
    return _bullet(f"{title}: {'; '.join(variants)}")


# ----------------------------------------------------------------------------------------- flows


def _flows(pattern: Pattern, dependency: Dependency) -> Iterator[list[str]]:
    """The flows that one form needs, but for those that the table of parts tells."""
    given = {j.node for j in pattern.junctions if _is_given(j)} if dependency != "local" else set()
    equations = flow_equations(pattern, dependency)
    infinite = [e.node for e in equations if not e.terms]
    written = [e for e in equations if e.terms and e.node not in given]
    if infinite or written:
        certain = f"$F = \\infty$ at {_codes(infinite)}" if infinite else ""
        yield _wrapped(f"Flow, `{dependency}`: {certain}" + (";" if infinite and written else ""))
    if written:
        yield display(written)


def _is_given(junction: Junction) -> bool:
    """Whether it is another name for an output of an instance inside."""
    [first, *others] = junction.arrivals
    return "." in first.source and not others


def _parts(pattern: Pattern, titles: Sequence[str]) -> Iterator[str]:
    """The instances inside: what arrives at their inputs, and what their outputs are called."""
    reads: dict[str, list[str]] = {}
    gives: dict[str, list[str]] = {}
    for junction in pattern.junctions:
        part, dot, port = junction.node.rpartition(".")
        if dot:
            [arrival] = junction.arrivals
            reads.setdefault(part, []).append(f"`{port}` = `{arrival.source}`")
        elif _is_given(junction):
            part, _, port = junction.arrivals[0].source.rpartition(".")
            gives.setdefault(part, []).append(f"`{junction.node}` = `{port}`")
    yield "| instance | motif | flow at its inputs | flow at its outputs |"
    yield "|---|---|---|---|"
    for part, number in pattern.parts:
        ends = (", ".join(ports.get(part, [])) for ports in (reads, gives))
        yield f"| `{part}` | {titles[number]} | {' | '.join(ends)} |"


# ----------------------------------------------------------------------------------------- words


def _code(text: str) -> str:
    return f"`{text}`".replace(" ", _GLUE)


def _codes(texts: Iterable[str]) -> str:
    return ", ".join(map(_code, texts))


def _wrapped(text: str, indent: str = "") -> list[str]:
    lines = textwrap.wrap(
        text,
        LINE,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_GLUE, " ") for line in lines]


def _bullet(text: str) -> list[str]:
    return _wrapped(f"- {text}", "  ")
