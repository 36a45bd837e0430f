"""A network without some of its channels, as a spec: each layer with the width it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from bayesnas.compiler.artifacts.derive import derive_spec, literal_number
from bayesnas.compiler.graph.model import AnyStage, ParallelStage, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.groups import Slices
from bayesnas.compiler.slices.ties import Channels, Run, Strand
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span

if TYPE_CHECKING:
    from bayesnas.compiler.pipeline import Compiled

Kept: TypeAlias = Mapping[Strand, Sequence[int]]  # channels that stay; of other strands, all


def kept_count(channels: Channels, kept: Kept) -> int:
    """How many places of an axis stay."""
    return sum(len(_stay(run, kept)) * run.stretch for run in channels)


def kept_places(channels: Channels, kept: Kept) -> list[int]:
    """Which places of an axis stay, in order."""
    places: list[int] = []
    start = 0
    for run in channels:
        for k in _stay(run, kept):
            first = start + k * run.stretch
            places += range(first, first + run.stretch)
        start += len(run)
    return places


def _stay(run: Run, kept: Kept) -> Sequence[int]:
    return kept.get(run.strand, range(run.strand.size))


def narrowed_spec(compiled: Compiled, slices: Slices, kept: Kept) -> tree.Spec:
    """The spec of a network with the channels that stay, without parameters.

    Args:
        compiled: a network without searched edges.
        slices: of its graph.
        kept: channels that stay, in order; each at most once.

    Raises:
        DiagnosticError: D606 (status 1) if a layer were left without channels, D607 if the network
            has searched edges.
    """
    if compiled.graph.searched():
        raise DiagnosticError(_searched(compiled))
    _check_left(slices, kept)
    terms = {
        edge.id: _Writer(slices, kept, edge.id, compiled.network.span).term(edge.operation.stages)
        for edge in compiled.graph.edges()
    }
    return derive_spec(compiled, compiled.graph, terms)


def _check_left(slices: Slices, kept: Kept) -> None:
    axes = [axis for tensor in slices.tensors for axis in tensor.axes]
    for channels in (*slices.nodes.values(), *axes):
        if channels and not kept_count(channels, kept):
            nodes = [
                node
                for node, others in slices.nodes.items()
                if {run.strand for run in others} >= {run.strand for run in channels}
            ]
            where = f" of `{nodes[0]}`" if nodes else ""
            raise DiagnosticError(
                Diagnostic(
                    "D606",
                    f"removal would leave none of the channels{where}",
                    notes=(f"there are {sum(map(len, channels)):,}",),
                    help="keep one or more of them",
                ),
                status=1,
            )


def _searched(compiled: Compiled) -> Diagnostic:
    searched = compiled.graph.searched()
    return Diagnostic(
        "D607",
        f"channels are removed from a network, and `{compiled.network.name}` is a space",
        searched[0].span,
        notes=(f"it has {len(searched):,} searched operations",),
        help="search it first, and take the network that was found",
    )


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
        counted = self.slices.numbers.get((self.edge, next(numbers)), {})
        values = dict(stage.arguments)
        for name, channels in counted.items():
            values[name] = kept_count(channels, self.kept)
        return self._call(stage, values)

    def _call(self, stage: Stage, values: Mapping[str, int]) -> tree.Call:
        """What is required and the width by position, what is otherwise than by default by name."""
        arguments: list[tree.Argument] = []
        for k, (name, default) in enumerate(PRIMITIVES[stage.primitive].parameters.items()):
            if values[name] != default:
                plain = len(arguments) == k and (default is None or name == "width")
                number = literal_number(values[name], self.span)
                arguments.append(tree.Argument(None if plain else name, number, span=self.span))
        return tree.Call(stage.primitive, tuple(arguments), span=self.span)
