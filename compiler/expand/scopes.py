"""One instance of a motif while it is walked: its numbers, its names, what references stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from attrs import define, evolve, field, frozen
from typing_extensions import assert_never

from bayesnas.compiler.program.evaluate import evaluate
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span, mistake

Motiflike: TypeAlias = tree.Motif | tree.Network
Connecting: TypeAlias = tree.Merge | tree.Transform | tree.Connect
# What is left when loops are unrolled and branches decided.
Simple: TypeAlias = (
    tree.NodeDeclaration
    | tree.Merge
    | tree.Transform
    | tree.Connect
    | tree.Instantiation
    | tree.Scan
    | tree.Chain
    | tree.Retain
    | tree.Budget
)


@frozen
class Unrolled:
    """A simple statement with the loop variables around it; ``values`` has the parameters too."""

    statement: Simple
    loops: Mapping[str, int]
    values: Mapping[str, int]


@frozen
class Selection:
    """The nodes a reference stands for: a single one, or elements of a list.

    ``bare`` says that the reference stands for its one element without an index: a chain's last.
    """

    reference: tree.Reference
    indices: range | None
    bare: bool = False

    def __len__(self) -> int:
        return 1 if self.indices is None else len(self.indices)

    def nodes(self) -> Iterator[tuple[tree.Reference, str]]:
        """A literal reference to each node, and the node's name."""
        reference = self.reference
        if self.indices is None:
            yield evolve(reference, index=None), reference.name
            return
        for k in self.indices:
            name = element(reference.name, k)
            if self.bare:
                yield reference, name
            else:
                index = tree.Index(number_literal(k, reference.span), span=reference.span)
                yield evolve(reference, index=index), name

    def names(self) -> list[str]:
        """The names of the nodes."""
        return [name for _, name in self.nodes()]


@define
class Scope:
    """One instance while it is walked; names are entered as their declarations are read."""

    graph: Motiflike
    values: Mapping[str, int]
    motifs: Mapping[str, tree.Motif]  # those passed as parameters
    depth: int
    singles: set[str] = field(init=False, factory=set)
    lists: dict[str, int] = field(init=False, factory=dict)  # name -> length
    chains: set[str] = field(init=False, factory=set)  # whose bare name is their last element

    def __attrs_post_init__(self) -> None:
        self.singles |= {p.name for p in (*self.graph.inputs, *self.graph.outputs)}

    def lookup(self, reference: tree.Reference, values: Mapping[str, int]) -> Selection:
        """What a reference stands for; nothing where its declaration failed, which has been said.

        Raises:
            DiagnosticError: D223 (out of range), D220 or D221 (an index without a value).
        """
        if reference.name in self.singles:
            return Selection(reference, None)
        length = self.lists.get(reference.name)
        if length is None:
            return Selection(reference, range(0))
        match reference.index:
            case None if reference.name in self.chains:
                return Selection(reference, range(length - 1, length), bare=True)
            case None:
                return Selection(reference, range(length))
            case tree.Index(value=value):
                index = _bound(evaluate(value, values), reference, length - 1)
                return Selection(reference, range(index, index + 1))
            case tree.Slice(start=start, stop=stop):
                first = 0 if start is None else evaluate(start, values)
                last = length if stop is None else evaluate(stop, values)
                _bound(first, reference, length)
                _bound(last, reference, length)
                return Selection(reference, range(first, last))
            case _:
                assert_never(reference.index)

    def lookups(
        self, references: Iterable[tree.Reference], values: Mapping[str, int]
    ) -> list[Selection]:
        """Like `lookup`, for several."""
        return [self.lookup(reference, values) for reference in references]


@frozen
class Bundle:
    """The edges of a statement that connects nodes: from each source to each target."""

    statement: Connecting
    unrolled: Unrolled
    sources: list[Selection]
    targets: list[Selection]


def bundle_of(scope: Scope, statement: Connecting, unrolled: Unrolled) -> Bundle:
    """What a statement connects.

    Raises:
        DiagnosticError: D220, D221, D223 (a wrong index).
    """
    targets = statement.targets if isinstance(statement, tree.Connect) else (statement.target,)
    sources = (statement.source,) if isinstance(statement, tree.Transform) else statement.sources
    values = unrolled.values
    return Bundle(
        statement, unrolled, scope.lookups(sources, values), scope.lookups(targets, values)
    )


def _bound(index: int, reference: tree.Reference, most: int) -> int:
    if not 0 <= index <= most:
        raise mistake(
            "D223",
            f"index {index} of `{reference.name}` is out of range",
            reference.span,
            f"indices count from 0; here up to {most}" if most >= 0 else "declare 1 node or more",
        )
    return index


def total(selections: Iterable[Selection]) -> int:
    """How many nodes they are together."""
    return sum(map(len, selections))


def element(name: str, k: int) -> str:
    """The name of an element of a list."""
    return f"{name}[{k}]"


def number_literal(value: int, span: Span) -> tree.Number:
    """A whole number where an expression is meant."""
    return tree.Number(value, span=span)


def symbols(unrolled: Unrolled) -> dict[str, tree.Expression]:
    """Numbers for the loop variables around a statement."""
    span = unrolled.statement.span
    return {name: number_literal(value, span) for name, value in unrolled.loops.items()}
