"""How each stage of an operation is written: plainly, or as a schedule has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

from attrs import frozen

from bayesnas.compiler.graph.model import AnyStage, Stage
from bayesnas.compiler.operations.layers import Layer
from bayesnas.compiler.operations.primitives import PRIMITIVES, rank

Form: TypeAlias = Literal["plain", "fast", "in place"]


@frozen
class WrittenStage:
    """A stage with the layer that writes it, and which of its primitive's forms that is."""

    stage: Stage
    layer: Layer
    form: Form


@frozen
class WrittenParallel:
    """Several sequences of written stages on one input, summed."""

    branches: tuple[tuple[AnyWritten, ...], ...]


AnyWritten: TypeAlias = WrittenStage | WrittenParallel
_Form: TypeAlias = Callable[[AnyStage | None, Stage], WrittenStage]


def plain_stages(stages: Sequence[AnyStage]) -> tuple[AnyWritten, ...]:
    """Each by itself, as PyTorch has it."""
    return _written(stages, lambda _before, stage: _plain(stage))


def scheduled_stages(stages: Sequence[AnyStage]) -> tuple[AnyWritten, ...]:
    """Each by the fastest form of its primitive that its place allows."""
    return _written(stages, _scheduled)


def _written(stages: Sequence[AnyStage], form: _Form) -> tuple[AnyWritten, ...]:
    return tuple(
        form(before, stage)
        if isinstance(stage, Stage)
        else WrittenParallel(tuple(_written(branch, form) for branch in stage.branches))
        for before, stage in pairwise((None, *stages))
        if stage is not None
    )


def _plain(stage: Stage) -> WrittenStage:
    return WrittenStage(stage, PRIMITIVES[stage.primitive].plain_layer(*_place(stage)), "plain")


def _scheduled(before: AnyStage | None, stage: Stage) -> WrittenStage:
    primitive = PRIMITIVES[stage.primitive]
    if primitive.in_place is not None and _may_be_overwritten(before):
        return WrittenStage(stage, primitive.in_place, "in place")
    layer = primitive.fast(*_place(stage))
    return _plain(stage) if layer is None else WrittenStage(stage, layer, "fast")


def _may_be_overwritten(stage: AnyStage | None) -> bool:
    """Whether what follows may write over what the stage has made."""
    if not isinstance(stage, Stage):
        return False
    primitive = PRIMITIVES[stage.primitive]
    return primitive.overwritable and not primitive.pure  # what is pure may have other readers


def _place(stage: Stage) -> tuple[dict[str, int], int]:
    """The numbers of a stage, the channels that come in among them, and the rank."""
    assert stage.input_shape is not None
    return stage_numbers(stage), rank(stage.input_shape)


def stage_numbers(stage: Stage) -> dict[str, int]:
    """By name: the ``channels`` that come in, then the arguments."""
    assert stage.input_shape is not None
    return {"channels": stage.input_shape[0], **dict(stage.arguments)}


def leaves(stages: Iterable[AnyWritten]) -> list[WrittenStage]:
    """The stages, those of parallel branches among them."""
    result = []
    for written in stages:
        if isinstance(written, WrittenStage):
            result.append(written)
        else:
            result += [leaf for branch in written.branches for leaf in leaves(branch)]
    return result
