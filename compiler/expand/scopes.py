"""One motif instance while it is filled: its parameters, its node names, its statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, evolve, field, frozen
from typing_extensions import assert_never

from bayesnas.compiler.graph.model import Residual
from bayesnas.compiler.program.evaluate import evaluate
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span


@frozen
class Unrolled:
    """A simple statement with the loop variables around it."""

    statement: tree.Statement
    loops: Mapping[str, int]


@define
class Scope:
    """One instance while it is filled: values of its parameters, its node names."""

    path: str
    group_path: str
    values: Mapping[str, int]
    motifs: Mapping[str, tree.Motif]  # those passed as parameters
    depth: int
    singles: dict[str, str] = field(factory=dict)  # name -> node id
    lists: dict[str, list[str]] = field(factory=dict)  # name -> node ids
    chains: set[str] = field(factory=set)  # lists whose bare name is their last element
    inputs: set[str] = field(factory=set)
    defined: set[str] = field(factory=set)  # node ids that have had their `=`
    body: list[Residual] = field(factory=list)

    def identifier(self, name: str) -> str:
        """The id of a node or instance of this one."""
        return f"{self.path}.{name}" if self.path else name

    def group(self, local: str) -> str:
        """What tied instances share in the place of an id."""
        return f"{self.group_path}.{local}" if self.group_path else local

    def lookup(
        self, reference: tree.Reference, values: Mapping[str, int]
    ) -> list[tuple[tree.Reference, str]]:
        """Literal references and node ids of what a reference stands for."""
        if reference.name in self.singles:
            return [(evolve(reference, index=None), self.singles[reference.name])]
        elements = self.lists.get(reference.name)
        if elements is None:  # its declaration failed, and that has been said
            return []
        indices: Iterable[int]
        match reference.index:
            case None if reference.name in self.chains:
                return [(reference, elements[-1])]
            case None:
                indices = range(len(elements))
            case tree.Index(value=value):
                indices = [self._bound(evaluate(value, values), reference, len(elements) - 1)]
            case tree.Slice(start=start, stop=stop):
                first = 0 if start is None else evaluate(start, values)
                last = len(elements) if stop is None else evaluate(stop, values)
                self._bound(first, reference, len(elements))
                self._bound(last, reference, len(elements))
                indices = range(first, last)
            case _:
                assert_never(reference.index)
        return [
            (
                evolve(
                    reference,
                    index=tree.Index(number_literal(k, reference.span), span=reference.span),
                ),
                elements[k],
            )
            for k in indices
        ]

    def _bound(self, index: int, reference: tree.Reference, most: int) -> int:
        if not 0 <= index <= most:
            raise wrong(
                "D223",
                f"index {index} of `{reference.name}` is out of range",
                reference.span,
                f"indices count from 0; here up to {most}",
            )
        return index

    def lookup_all(
        self, references: Iterable[tree.Reference], values: Mapping[str, int]
    ) -> list[tuple[tree.Reference, str]]:
        """Like `lookup`, for several."""
        return [found for r in references for found in self.lookup(r, values)]


def number_literal(value: int, span: Span) -> tree.Number:
    """A whole number where an expression is meant."""
    return tree.Number(value, span=span)


def wrong(
    code: str, message: str, span: Span | None, remedy: str, note: str = ""
) -> DiagnosticError:
    """One diagnostic, to be raised."""
    notes = (note,) if note else ()
    return DiagnosticError(Diagnostic(code, message, span, notes=notes, help=remedy))
