"""gamma.md: on which switches each gate of a graph depends, once a motif, for people."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from bayesnas.compiler.artifacts.gamma_formulas import (
    LINE,
    display,
    gamma_formula,
    gate_formula,
    source_lines,
    switch_sum,
)
from bayesnas.compiler.artifacts.gamma_patterns import (
    Junction,
    Member,
    Pattern,
    SearchedEdge,
    Section,
    flow_equations,
    sections,
)
from bayesnas.compiler.artifacts.graph_json import place
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.gamma import Dependency

_GLUE: Final = "\N{NO-BREAK SPACE}"  # no line ends here
_MANY: Final = 8  # instances that are named one by one
_SHORT: Final = 4  # terms of a flow that is written out
_HEAD: Final = r"""
Each searched operation $o$ of an edge $j \to k$ has a gate. The prior variance $\gamma$ of its
weight is an expression in switches between 0 (off) and $\infty$ (on), where "and" is the harmonic
sum $(1/a + 1/b)^{-1}$ and "or" is the sum $a + b$. An operation carries information if it is on,
its edge is on and something arrives where the edge starts, so that (Zhou et al., ICML 2019,
equation 8)

$$
\gamma_{jk}^{o} = \left(\frac{1}{s'_{jk}} + \frac{1}{F_{j}} + \frac{1}{s_{jk}^{o}}\right)^{-1}
$$

| symbol | meaning |
|---|---|
| $s_{jk}^{o}$ | switch of the operation's gate; in the tables $s$ |
| $s'_{jk}$ | switch of the whole edge, which stands at its node i'; in the tables $s'$ |
| $S_{jk} = \sum_{o} s_{jk}^{o}$ | what is switched on of the edge |
| $R_{jk} = \sum_{o} \gamma_{jk}^{o}$ | what reaches $k$ over the edge |
| $F_{j}$ | flow: what arrives at node $j$; where it is $\infty$, $1/F_{j}$ is 0 |

There are two forms, which differ in the flow alone. `local` is the published one and looks one
level back, $F_{k} = \sum_{j} S_{jk}$, with $\infty$ for an edge that is not searched. `recursive`
looks back to the inputs, $F_{k} = \sum_{j} R_{jk}$, with $F_{j}$ for an edge that is not searched.
A product needs all that arrives: its sum is a harmonic one. The expression of every single gate
stands in gamma.json.

Every motif is written once, and nodes go by their names inside it. The gates of an instance,
with those of the instances inside, are numbered one after the other and in the same order in all
instances of the motif; its tables show the numbers of the first one.
""".strip()


def gamma_markdown(graph: Graph) -> str:
    """The dependency of every gate, for people: Markdown with formulas in LaTeX."""
    lines = [f"# On what each gate of `{graph.name}` depends", "", *_HEAD.splitlines()]
    motifs = sections(graph)
    titles = _titles(motifs)
    ties = Counter(instance.group_path for instance in graph.instances.values())
    example = next((section for section in motifs if _example(section)), None)
    for section, title in zip(motifs, titles, strict=True):
        paragraphs = [*_who_and_what(section, ties), *_flows(section.pattern, "local")]
        paragraphs += _example(section) if section is example else []
        paragraphs += [*_parts(section, titles), *_flows(section.pattern, "recursive")]
        lines += ["", f"## {title}", *(line for p in paragraphs for line in ("", *p))]
    return "\n".join(lines) + "\n"


def _titles(motifs: Sequence[Section]) -> list[str]:
    counts = Counter(section.pattern.motif for section in motifs)
    titles = []
    for section in motifs:
        motif, first = section.pattern.motif, section.members[0].instance
        if not first.path:
            titles.append(f"The network `{motif}`")
        elif counts[motif] == 1:
            titles.append(f"`{motif}`")
        else:
            titles.append(f"`{motif}` as in `{first.path}`")
    return titles


def _who_and_what(section: Section, ties: Mapping[str, int]) -> Iterator[list[str]]:
    """The instances, the operations, and the table of edges."""
    pattern = section.pattern
    ports = f"From {_codes(pattern.inputs)} to {_codes(pattern.outputs)}."
    yield _wrapped(ports if pattern.edges else f"{ports} It has no gates of its own.")
    if pattern.edges:
        yield from _instances(section, ties)
        yield from _edges(section)


# ----------------------------------------------------------------------------------------- gates


def _instances(section: Section, ties: Mapping[str, int]) -> Iterator[list[str]]:
    """Who has which gates: tied instances together; ``ties`` counts all of a group."""
    if not section.members[0].instance.path:
        return
    untied: list[Member] = []
    tied: dict[str, list[Member]] = {}
    for member in section.members:
        group = member.instance.group_path
        (untied if ties[group] == 1 else tied.setdefault(group, [])).append(member)
    lines = []
    for group, members in tied.items():
        lines += _bullet(f"Tied as {_code(group)}, one architecture: {_named(members)}")
    if untied:
        about = ", each with its own architecture" if len(untied) > 1 else ""
        lines += _bullet(f"Not tied{about}: {_named(untied)}")
    yield ["Instances and their gates:", "", *lines]


def _named(members: Sequence[Member]) -> str:
    shown = [f"{_code(m.instance.path)}{_GLUE}({_range(m.gates)})" for m in members[:_MANY]]
    rest = f", and so on: {len(members)} instances" if len(members) > _MANY else ""
    return ", ".join(shown) + rest


def _range(gates: range) -> str:
    if not gates:
        return "none"
    return str(gates[0]) if len(gates) == 1 else f"{gates[0]}–{gates[-1]}"


def _moved(gates: range, first: int) -> range:
    """Gates of a pattern in an instance whose first gate that is."""
    return range(gates.start + first, gates.stop + first) if gates else gates


@frozen
class _Candidates:
    """The choice and the operations of an edge in every instance."""

    choice: str | None
    labels: tuple[tuple[str, ...], ...]


def _edges(section: Section) -> Iterator[list[str]]:
    """Sets of candidates, then the table of edges."""
    names: dict[_Candidates, str] = {}
    first = section.members[0].gates.start
    rows = ["| edge | gates | operations | γ | place |", "|---|---|---|---|---|"]
    for number, edge in enumerate(section.pattern.edges):
        alike = [member.connections[number].edges for member in section.members]
        labels = tuple(tuple(e.operation.label for e in edges) for edges in alike)
        candidates = _Candidates(alike[0][0].choice, labels)
        cells = (
            f"`{_edge(edge)}`",
            _range(_moved(edge.gates, first)),
            names.setdefault(candidates, f"O{len(names) + 1}"),
            f"${gamma_formula(edge.source)}$",
            _literal(place(alike[0][0].span) or ""),
        )
        rows.append(f"| {' | '.join(cells)} |")
    paths = [member.instance.path for member in section.members]
    sets = [line for c, name in names.items() for line in _operations(name, c, paths)]
    yield ["Operations in the order of their gates:", "", *sets]
    yield rows


def _edge(edge: SearchedEdge) -> str:
    again = f" ({edge.number})" if edge.number > 1 else ""
    return f"{edge.source} → {edge.target}{again}"


def _literal(text: str) -> str:
    """Text in a cell of a table that Markdown leaves as it is."""
    return re.sub(r"[|<*`\[]", r"\\\g<0>", text)


def _operations(name: str, candidates: _Candidates, paths: Sequence[str]) -> list[str]:
    by_labels: dict[tuple[str, ...], list[str]] = {}
    for labels, path in zip(candidates.labels, paths, strict=True):
        by_labels.setdefault(labels, []).append(path)
    named = candidates.choice is not None and (candidates.choice,) not in by_labels
    title = f"{name}, {_code(candidates.choice or '')}" if named else name
    variants = [
        _codes(labels) if not number else f"in {_codes(where)}: {_codes(labels)}"
        for number, (labels, where) in enumerate(by_labels.items())
    ]
    return _bullet(f"{title}: {'; '.join(variants)}")


# ----------------------------------------------------------------------------------------- flows


def _flows(pattern: Pattern, dependency: Dependency) -> Iterator[list[str]]:
    """The flows that one form needs, but for those that the table of parts tells."""
    given = {junction.node for junction in pattern.junctions if _is_given(junction)}
    equations = flow_equations(pattern, dependency)
    infinite = [equation.node for equation in equations if not equation.terms]
    written = [e for e in equations if e.terms and e.node not in given]
    text = f"Flow, `{dependency}`:"
    if infinite:
        text += f" $F = \\infty$ at {_codes(infinite)}" + (" and" if written else "")
    if infinite or written:
        yield _wrapped(text)
    if written:
        yield display(written)


def _is_given(junction: Junction) -> bool:
    """Whether it is another name for an output of an instance inside."""
    [first, *others] = junction.arrivals
    return "." in first.source and not others


def _parts(section: Section, titles: Sequence[str]) -> Iterator[list[str]]:
    """The instances inside: what arrives at their inputs, and what their outputs are called."""
    if not section.pattern.parts:
        return
    reads: dict[str, list[str]] = {}
    gives: dict[str, list[str]] = {}
    for junction in section.pattern.junctions:
        source = junction.arrivals[0].source
        if "." in junction.node:
            name, _, port = junction.node.rpartition(".")
            reads.setdefault(name, []).append(f"`{port}` = `{source}`")
        elif _is_given(junction):
            name, _, port = source.rpartition(".")
            gives.setdefault(name, []).append(f"`{junction.node}` = `{port}`")
    first = section.members[0].gates.start
    head = "| instance | gates | motif | flow at inputs | flow at outputs |"
    rows = [head, "|---|---|---|---|---|"]
    for part in section.pattern.parts:
        cells = (
            f"`{part.name}`",
            _range(_moved(part.gates, first)),
            titles[part.place],
            ", ".join(reads.get(part.name, [])),
            ", ".join(gives.get(part.name, [])),
        )
        rows.append(f"| {' | '.join(cells)} |")
    yield rows


def _example(section: Section) -> list[list[str]]:
    """The published form of one gate, written out; none where a section has no good one."""
    pattern, first = section.pattern, section.members[0]
    flows = {e.node: e for e in flow_equations(pattern, "local") if 1 < len(e.terms) <= _SHORT}
    number = next((n for n, e in enumerate(pattern.edges) if e.source in flows), None)
    if number is None:
        return []
    edge, label = pattern.edges[number], first.connections[number].edges[0].operation.label
    flow = flows[edge.source]
    gates = {(e.source, e.target, e.number): e.gates for e in pattern.edges}
    sums = (
        f"${switch_sum(t, _moved(gates[t.source, t.target, t.number], first.gates.start))}$"
        for t in flow.terms
    )
    gate = edge.gates.start + first.gates.start
    about = f"For example gate {gate}, {_code(label)} of {_code(_edge(edge))}, in the `local` form:"
    formula = source_lines(gate_formula(gate, flow))
    return [_wrapped(about), ["$$", *formula, "$$"], _wrapped(f"where {', '.join(sums)}.")]


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
