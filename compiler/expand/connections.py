"""Edges of the statements that connect nodes: merges, transforms and connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import evolve, frozen

from bayesnas.compiler.expand.lower import IDENTITY, candidates, lower, tie_name
from bayesnas.compiler.expand.parts import Parts, Place
from bayesnas.compiler.expand.scopes import Bundle, symbols
from bayesnas.compiler.graph.model import Kind, Residual
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import substitute_term
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span

_Nodes: TypeAlias = list[tuple[tree.Reference, str]]  # literal references and ids


@frozen
class Connections:
    """Lays edges among the ``parts`` of a graph."""

    parts: Parts
    program: Program

    def lay(self, place: Place, bundle: Bundle) -> None:
        """Lay the edges of a statement, and leave what it is without loops and lists.

        Raises:
            DiagnosticError: D220 or D221 (a number without a value), D224 (too many candidates).
        """
        statement = bundle.statement
        sources, targets = place.nodes(bundle.sources), place.nodes(bundle.targets)
        if isinstance(statement, tree.Merge):
            self._merge(place, statement, sources, targets)
            return
        if statement.operation is not None:
            operation = substitute_term(statement.operation, symbols(bundle.unrolled))
            statement = evolve(statement, operation=operation)
        for target, end in targets:
            for source, start in sources:
                literal = _literal(statement, source, target)
                self._connect(place, literal, start, end, bundle.unrolled.values)

    def pass_on(self, place: Place, source: str, target: str, span: Span) -> str:
        """Lay an edge between two nodes that passes on what it gets; its id."""
        return self.parts.edge(place, source, target, "fixed", IDENTITY, span).id

    def _merge(self, place: Place, statement: tree.Merge, sources: _Nodes, targets: _Nodes) -> None:
        for target, end in targets:
            edges = [self.pass_on(place, start, end, statement.span) for _, start in sources]
            literal = evolve(statement, target=target, sources=tuple(r for r, _ in sources))
            place.body.append(Residual(literal, tuple(edges)))

    def _connect(
        self,
        place: Place,
        statement: tree.Transform | tree.Connect,
        source: str,
        target: str,
        values: Mapping[str, int],
    ) -> None:
        """One connection: its candidates, or its operations kept together."""
        searched = isinstance(statement, tree.Connect) and statement.searched
        terms = self._terms(statement, searched, values)
        kind: Kind = "searched" if searched else "fixed"
        operation, span = statement.operation, statement.span
        choice = operation.name if searched and isinstance(operation, tree.Call) else None
        connection = self.parts.connect(source, target)
        names: set[str] = set()
        ties: set[str] = set()
        edges = []
        for term in terms:
            lowered = lower(term, self.program, values)
            named = evolve(lowered, name=_unique(lowered.name, names))
            tie = _unique(tie_name(term, self.program, values), ties)
            edge = self.parts.edge(
                place, source, target, kind, named, span, connection, choice, tie
            )
            edges.append(edge.id)
        place.body.append(Residual(statement, tuple(edges), terms))

    def _terms(
        self,
        statement: tree.Transform | tree.Connect,
        searched: bool,
        values: Mapping[str, int],
    ) -> tuple[tree.OperationTerm, ...]:
        """The operation of each edge, as written."""
        operation = statement.operation
        if operation is None:
            return (tree.Call("skip", (), span=statement.span),)
        if not searched:
            return operation.branches if isinstance(operation, tree.Parallel) else (operation,)
        terms = []
        for term in candidates(operation, self.program, values):
            self.parts.spend(1, statement.span)
            terms.append(term)
        return tuple(terms)


def _literal(
    statement: tree.Transform | tree.Connect, source: tree.Reference, target: tree.Reference
) -> tree.Transform | tree.Connect:
    if isinstance(statement, tree.Transform):
        return evolve(statement, target=target, source=source)
    return evolve(statement, sources=(source,), targets=(target,))


def _unique(name: str, taken: set[str]) -> str:
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{name}_{count}"
    taken.add(result)
    return result
