"""A network without some of its channels, as a spec: each layer with the width it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.literals import literal_number
from bayesnas.compiler.graph.model import AnyStage, Edge, Graph, ParallelStage, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.counts import Kept, kept_count, kept_numbers, kept_stage
from bayesnas.compiler.slices.groups import Slices
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span

if TYPE_CHECKING:
    from bayesnas.compiler.pipeline import Compiled


def narrowed_spec(
    compiled: Compiled, slices: Slices, kept: Kept, member: Graph | None = None
) -> tree.Spec:
    """The spec of a network with the channels that stay, without parameters.

    Args:
        compiled: a network without searched edges, or a space.
        slices: of the network's graph.
        kept: channels that stay, in order; each at most once.
        member: what is left of the space, if it is one: whose slices they are.

    Raises:
        DiagnosticError: D606 (status 1) if a layer were left without channels, D607 if the network
            has searched edges.
    """
    if member is None:
        check_decided(compiled)
    graph = compiled.graph if member is None else member
    _check_left(slices, kept)
    terms = {
        edge.id: _Writer(slices, kept, edge.id, compiled.network.span).term(edge.operation.stages)
        for edge in graph.edges()
    }
    return derive_spec(compiled, graph, terms)


def check_decided(compiled: Compiled) -> None:
    """Refuse a space, whose channels are those of no network.

    Raises:
        DiagnosticError: D607.
    """
    if not (searched := compiled.graph.searched()):
        return
    raise DiagnosticError(
        Diagnostic(
            "D607",
            f"channels are removed from a network, and `{compiled.network.name}` is a space",
            searched[0].span,
            notes=(f"it has {len(searched):,} searched operations",),
            help="search it first, and take what was found, `pruned.nas`: `bayesnas search`",
        )
    )


def narrowed_graph(graph: Graph, slices: Slices, kept: Kept) -> Graph:
    """A network's graph with the channels that stay, the same nodes and edges."""
    nodes = []
    for node in graph.nodes():
        shape = node.shape
        if shape is not None and node.id in slices.nodes:
            shape = (kept_count(slices.nodes[node.id], kept), *shape[1:])
        nodes.append(evolve(node, shape=shape))
    edges = [
        evolve(edge, operation=evolve(edge.operation, stages=_narrowed(edge, slices, kept)))
        for edge in graph.edges()
    ]
    return graph.rebuild(nodes, edges)


def _narrowed(edge: Edge, slices: Slices, kept: Kept) -> tuple[AnyStage, ...]:
    numbers = count()

    def narrowed(stages: Sequence[AnyStage]) -> tuple[AnyStage, ...]:
        return tuple(
            ParallelStage(tuple(map(narrowed, stage.branches)))
            if isinstance(stage, ParallelStage)
            else kept_stage(stage, slices.stages[edge.id, next(numbers)], kept)
            for stage in stages
        )

    return narrowed(edge.operation.stages)


def _check_left(slices: Slices, kept: Kept) -> None:
    for strand, places in kept.items():
        if strand.fixed and len(places) < strand.size:
            message = f"removal would take channels that stay: {strand.fixed}"
            remedy = "remove channels of strands that are not fixed"
            raise DiagnosticError(Diagnostic("D606", message, help=remedy), status=1)
    axes = [(f"of `{node}`", channels) for node, channels in slices.nodes.items()]
    axes += [(f"within `{edge}`", stage.target) for (edge, _), stage in slices.stages.items()]
    for place, channels in axes:
        if not kept_count(channels, kept):
            message = f"removal would leave none of the channels {place}"
            note, remedy = f"there are {sum(map(len, channels)):,}", "keep one or more of them"
            diagnostic = Diagnostic("D606", message, notes=(note,), help=remedy)
            raise DiagnosticError(diagnostic, status=1)


@frozen
class _Writer:
    """Writes the operation of one edge, primitive by primitive."""

    slices: Slices
    kept: Kept
    edge: str
    span: Span

    def term(self, stages: Sequence[AnyStage]) -> tree.OperationTerm:
        """The operation in numbers."""
        return self._pipeline(stages, count())

    def _pipeline(self, stages: Sequence[AnyStage], numbers: Iterator[int]) -> tree.OperationTerm:
        terms = tuple(self._stage(stage, numbers) for stage in stages)
        return terms[0] if len(terms) == 1 else tree.Pipeline(terms, span=self.span)

    def _stage(self, stage: AnyStage, numbers: Iterator[int]) -> tree.OperationTerm:
        if isinstance(stage, ParallelStage):
            branches = tuple(self._pipeline(branch, numbers) for branch in stage.branches)
            return tree.Parallel(branches, span=self.span)
        channels = self.slices.stages[self.edge, next(numbers)]
        return self._call(stage, kept_numbers(stage, channels, self.kept))

    def _call(self, stage: Stage, values: Mapping[str, int]) -> tree.Call:
        """What is required and the width by position, what is otherwise than by default by name."""
        arguments: list[tree.Argument] = []
        primitive = PRIMITIVES[stage.primitive]
        for k, (name, default) in enumerate(primitive.parameters.items()):
            if not primitive.is_default(name, values):
                plain = len(arguments) == k and (default is None or name == "width")
                number = literal_number(values[name], self.span)
                arguments.append(tree.Argument(None if plain else name, number, span=self.span))
        return tree.Call(stage.primitive, tuple(arguments), span=self.span)
