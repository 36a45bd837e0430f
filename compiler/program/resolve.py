"""Pass 1: names. Finds every definition and refuses what no parameters could make right.

In: a loaded spec. Out: a `Program`, in which every name an expansion will meet is known, every
call fits its definition, and nothing is defined through itself. Non-goals: numbers (indices,
sizes, shapes), which later passes check once parameters have values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import networkx as nx
from typing_extensions import assert_never

from bayesnas.compiler.objectives import check_objective, unknown_ports
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.program.definitions import OperationLike, Program, called_names, walk
from bayesnas.compiler.program.limits import stack_kept
from bayesnas.compiler.program.names import Checker
from bayesnas.compiler.program.statements import BodyChecker
from bayesnas.compiler.settings import check_setting, outdated
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Findings, Span
from bayesnas.dsl.loader import Loaded

MAX_PRIMITIVES = 1000
T = TypeVar("T", OperationLike, tree.Motif, tree.Network)


def resolve(loaded: Loaded) -> Program:
    """See the module's docstring.

    Raises:
        DiagnosticError: every D2xx of the spec at once, or the first hundred; D104.
    """
    with stack_kept(loaded.main.span):
        return _resolve(loaded)


def _resolve(loaded: Loaded) -> Program:
    findings = Findings()
    collector = _Collector(findings)
    for definition in loaded.definitions():
        collector.add(definition)
    program = Program(
        collector.operations,
        collector.motifs,
        collector.networks,
        {kind: tuple(e.values()) for kind, e in collector.settings.items()},
        tuple(collector.objectives.values()),
        loaded.main,
    )
    checker = Checker(program, findings)
    checker.operations()
    for motif in program.motifs.values():
        BodyChecker(checker, motif).check()
    for network in program.networks.values():
        BodyChecker(checker, network).check()
    findings.add(*unknown_ports(program.objectives, program.networks))
    findings.add(*(_recursion(program) or _oversized(program)))
    findings.refuse()
    return program


class _Collector:
    """Definitions by name; the second of a name is an error."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.operations: dict[str, OperationLike] = {}
        self.motifs: dict[str, tree.Motif] = {}
        self.networks: dict[str, tree.Network] = {}
        self.settings: dict[str, dict[str, tree.Setting]] = {"search": {}, "train": {}}
        self.objectives: dict[str, tree.Objective] = {}

    def add(self, definition: tree.Definition) -> None:
        match definition:
            case tree.Import():
                pass
            case tree.OperationDefinition() | tree.ChoiceDefinition():
                if definition.name in PRIMITIVES:
                    self._duplicate(definition.name, definition.span, "a primitive")
                else:
                    self._put(self.operations, definition.name, definition)
            case tree.Motif():
                self._put(self.motifs, definition.name, definition)
            case tree.Network():
                self._put(self.networks, definition.name, definition)
            case tree.Settings():
                put_settings(self.settings[definition.kind], definition, self.findings)
            case tree.Learn():
                for entry in definition.entries:
                    self._objective(entry)
                    self.findings.add(*check_objective(entry))
            case _:
                assert_never(definition)

    def _objective(self, entry: tree.Objective) -> None:
        earlier = self.objectives.get(entry.port)
        self.objectives[entry.port] = entry
        if earlier is not None and earlier.span.source == entry.span.source:
            where = f"told at {earlier.span}"
            self._duplicate(entry.port, entry.span, where, "say once what an output learns")

    def _put(self, table: dict[str, T], name: str, definition: T) -> None:
        if name in table:
            self._duplicate(name, definition.span, f"defined at {table[name].span}")
        else:
            table[name] = definition

    def _duplicate(
        self, name: str, span: Span, where: str, remedy: str = "rename one of them"
    ) -> None:
        self.findings.add(_twice(name, span, where, remedy))


def _twice(name: str, span: Span, where: str, remedy: str) -> Diagnostic:
    return Diagnostic(
        "D201",
        f"`{name}` is defined twice",
        span,
        "defined again",
        notes=(f"`{name}` is {where}",),
        help=remedy,
    )


def put_settings(
    settings: dict[str, tree.Setting], block: tree.Settings, findings: Findings
) -> None:
    """Put those of a block over ``settings``, which come of blocks before; what is wrong is found.

    A file's settings stand over those of the files that it imports; itself it says each once.
    """
    before = settings["schedule"].value if "schedule" in settings else None
    after = next((entry.value for entry in block.entries if entry.name == "schedule"), None)
    for name in outdated(before, after):
        if name in settings and settings[name].span.source != block.span.source:
            del settings[name]
    for entry in block.entries:
        earlier = settings.get(entry.name)
        if earlier is not None and earlier.span.source == entry.span.source:
            where = f"set at {earlier.span}"
            findings.add(_twice(entry.name, entry.span, where, "keep one of them"))
        try:
            check_setting(block.kind, entry.name, entry.value, entry.span)
        except DiagnosticError as error:
            findings.add(*error.diagnostics)
        settings[entry.name] = entry


# -------------------------------------------------------------------------------------- recursion


def _recursion(program: Program) -> list[Diagnostic]:
    """Operations and motifs that are made of themselves."""
    operations = {
        name: [c for c in called_names(d.body) if c in program.operations]
        for name, d in program.operations.items()
    }
    motifs = {
        name: [
            s.motif
            for s in walk(d.body)
            if isinstance(s, tree.MotifCall) and s.motif in program.motifs
        ]
        for name, d in program.motifs.items()
    }
    errors = []
    for table, spans in (
        (operations, {n: d.span for n, d in program.operations.items()}),
        (motifs, {n: d.span for n, d in program.motifs.items()}),
    ):
        for circle in _circles(table):
            errors.append(
                Diagnostic(
                    "D207",
                    f"`{circle[0]}` is made of itself",
                    spans[circle[0]],
                    notes=("by way of " + " -> ".join((*circle, circle[0])),),
                    help="end the circle: a definition uses only what does not use it",
                )
            )
    return errors


def _oversized(program: Program) -> list[Diagnostic]:
    """Operations made of operations until no memory holds them; call after `_recursion`."""
    sizes: dict[str, int] = {}

    def size(name: str) -> int:
        definition = program.operations.get(name)
        if definition is None or isinstance(definition, tree.ChoiceDefinition):
            return 1
        if name not in sizes:
            sizes[name] = sum(map(size, called_names(definition.body)))
        return sizes[name]

    return [
        Diagnostic(
            "D224",
            f"`{name}` is made of {size(name):,} primitives",
            definition.span,
            help=f"an operation has at most {MAX_PRIMITIVES:,}; use fewer",
        )
        for name, definition in program.operations.items()
        if size(name) > MAX_PRIMITIVES
    ][:1]


def _circles(table: Mapping[str, list[str]]) -> list[list[str]]:
    """One circle for each strongly connected part of a call graph."""
    graph = nx.DiGraph((name, called) for name, many in table.items() for called in many)
    order = {name: k for k, name in enumerate(table)}
    circles = []
    for part in nx.strongly_connected_components(graph):
        first = min(part, key=lambda name: order[name])
        if len(part) > 1 or graph.has_edge(first, first):
            inside = graph.subgraph(part)
            circles.append([edge[0] for edge in nx.find_cycle(inside, first)])
    return circles
