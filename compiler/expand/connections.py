"""Edges of the statements that connect nodes: merges, transforms and connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from attrs import evolve, field, frozen

from bayesnas.compiler.expand.lower import IDENTITY, candidates, lower, tie_name
from bayesnas.compiler.expand.parts import Parts, Place
from bayesnas.compiler.expand.scopes import Bundle, Unrolled, symbols
from bayesnas.compiler.graph.model import Kind, Operation, Residual
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import substitute_term
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span

_Node: TypeAlias = tuple[tree.Reference, str]  # a literal reference, and the id
_Nodes: TypeAlias = list[_Node]
_Connecting: TypeAlias = tree.Transform | tree.Connect
_Terms: TypeAlias = tuple[tree.OperationTerm, ...]
_Key: TypeAlias = tuple[int, tuple[tuple[str, int], ...]]  # id of a statement, and its numbers


@frozen
class _Laid:
    """What a statement lays between two nodes: its operation without loop variables, and edges.

    ``terms`` are the operations as written; each has the operation and the tie of its edge.
    """

    operation: tree.OperationTerm | None
    terms: _Terms
    edges: tuple[tuple[Operation, str], ...]


@frozen
class Connections:
    """Lays edges among the ``parts`` of a graph; edges that are alike share an operation."""

    parts: Parts
    program: Program
    laid: dict[_Key, _Laid] = field(factory=dict)

    def lay(self, place: Place, bundle: Bundle) -> None:
        """Lay the edges of a statement, and leave what it is without loops and lists.

        Raises:
            DiagnosticError: D220 or D221 (a number without a value), D224 (too many candidates).
        """
        statement = bundle.statement
        sources, targets = place.nodes(bundle.sources), place.nodes(bundle.targets)
        if isinstance(statement, tree.Merge):
            self._merge(place, statement, sources, targets)
        elif sources and targets:  # where there are none, numbers need no value
            laid = self._laid(statement, bundle.unrolled)
            for target in targets:
                for source in sources:
                    self._connect(place, statement, laid, source, target)

    def pass_on(self, place: Place, source: str, target: str, span: Span) -> str:
        """Lay an edge between two nodes that passes on what it gets; its id."""
        return self.parts.edge(place, source, target, "fixed", IDENTITY, span).id

    def _merge(self, place: Place, statement: tree.Merge, sources: _Nodes, targets: _Nodes) -> None:
        for target, end in targets:
            edges = [self.pass_on(place, start, end, statement.span) for _, start in sources]
            literal = evolve(statement, target=target, sources=tuple(r for r, _ in sources))
            place.body.append(Residual(literal, tuple(edges)))

    def _connect(
        self, place: Place, statement: _Connecting, laid: _Laid, source: _Node, target: _Node
    ) -> None:
        """One connection: its candidates, or its operations kept together."""
        kind: Kind = "searched" if _searched(statement) else "fixed"
        written, span = statement.operation, statement.span
        choice = written.name if kind == "searched" and isinstance(written, tree.Call) else None
        (start, begin), (end, finish) = source, target
        connection = self.parts.connect(begin, finish)
        edges = [
            self.parts.edge(place, begin, finish, kind, operation, span, connection, choice, tie)
            for operation, tie in laid.edges
        ]
        literal = _literal(statement, laid.operation, start, end)
        place.body.append(Residual(literal, tuple(e.id for e in edges), laid.terms))

    def _laid(self, statement: _Connecting, unrolled: Unrolled) -> _Laid:
        key = (id(statement), tuple(unrolled.values.items()))
        if key not in self.laid:
            self.laid[key] = self._lower(statement, unrolled)
        return self.laid[key]

    def _lower(self, statement: _Connecting, unrolled: Unrolled) -> _Laid:
        values = unrolled.values
        if statement.operation is None:
            terms: _Terms = (tree.Call("skip", (), span=statement.span),)
            return _Laid(None, terms, ((IDENTITY, IDENTITY.name),))
        operation = substitute_term(statement.operation, symbols(unrolled))
        terms = (operation,)
        if _searched(statement):
            terms = tuple(self._candidates(operation, statement.span, values))
        elif isinstance(operation, tree.Parallel):
            terms = operation.branches
        names: set[str] = set()
        ties: set[str] = set()
        edges = []
        for term in terms:
            lowered = lower(term, self.program, values)
            tie = _unique(tie_name(term, self.program, values), ties)
            edges.append((evolve(lowered, name=_unique(lowered.name, names)), tie))
        return _Laid(operation, terms, tuple(edges))

    def _candidates(
        self, operation: tree.OperationTerm, span: Span, values: Mapping[str, int]
    ) -> Iterator[tree.OperationTerm]:
        for term in candidates(operation, self.program, values):
            self.parts.spend(1, span)
            yield term


def _searched(statement: _Connecting) -> bool:
    return isinstance(statement, tree.Connect) and statement.searched


def _literal(
    statement: _Connecting,
    operation: tree.OperationTerm | None,
    source: tree.Reference,
    target: tree.Reference,
) -> _Connecting:
    span = statement.span
    if isinstance(statement, tree.Connect):
        return tree.Connect((source,), (target,), statement.searched, operation, span=span)
    assert operation is not None, "a transform has one"
    return tree.Transform(target, source, operation, span=span)


def _unique(name: str, taken: set[str]) -> str:
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{name}_{count}"
    taken.add(result)
    return result
