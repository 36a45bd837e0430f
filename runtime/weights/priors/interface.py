"""One interface for all priors: what a training is held to, and what it says of each channel.

A group is all that reads one channel. These groups share no weight, a channel whose group is zero
has no effect, and where a normalisation follows its maker the maker's scale has none either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import Factory, field, frozen
from torch import Tensor

from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Place, Slices
from bayesnas.compiler.slices.ties import Channels
from bayesnas.runtime.runs.reading import Schema
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.neighbours import Neighbours, StrandNeighbours
from bayesnas.runtime.weights.subject import Rows, Subject


@frozen
class Problem:
    """What a prior is given.

    Args:
        subject: the network, at work; its generator draws.
        task: what it learns.
        batches: training examples, inputs [N, ...] and targets [N, ...]; another pass each time.
        examples: N, how many it learns from.
        decay: the weight decay of its training.
        inputs: what lies along the input channels of the modules that read some, by their paths.
        steps: of the whole training.
        excess: of a network of these channels alone: 1 if nothing is saved of what has to be, 0 or
            less if it is as small as is wanted.
        neighbours: of the subject's groups; none has any, unless told.
        lambda_w: of (16), the strength of a penalty, at which the likelihood counts as that of
            1 / lambda_w examples; 0: whatever the course to what is wanted asks.
        curvature: how that in the weights is estimated, a name of `weights/curvature.ESTIMATORS`.
    """

    subject: Subject
    task: Task
    batches: Callable[[], Iterable[tuple[Inputs, Tensor]]] = field(repr=False)
    examples: int
    decay: float
    inputs: Mapping[str, Channels] = field(repr=False)
    steps: int
    excess: Callable[[Kept], float] = field(repr=False)
    neighbours: Neighbours = field(
        default=Factory(lambda self: StrandNeighbours(self.subject), takes_self=True), repr=False
    )
    lambda_w: float = 0.0
    curvature: str = "sampled"


class Prior(ABC):
    """The base of all priors, a `Regulariser` of training steps."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.subject = problem, problem.subject

    def penalty(self) -> Tensor | None:
        """What is descended with the mean loss of a step, if anything."""
        return None

    def stepped(self, rate: float) -> None:
        """After a step of the weights at that rate; here nothing is done."""
        del rate

    @abstractmethod
    def scores(self) -> Scores:
        """How much each channel matters, after the training."""

    def zeros(self) -> Rows:
        """Which groups it has made zero, bool [groups] a strand; none where it makes none zero."""
        return {}

    def likeliest(self) -> Scores | None:
        """Log odds of channels; those above 0 are the likeliest mask. None as for `samples`."""
        return None

    def samples(self, count: int) -> Iterable[Scores]:
        """Log odds of channels with the noise of a hard mask, which keeps those above 0.

        None where what was learned is no posterior over masks.
        """
        del count
        return ()

    def columns(self) -> Mapping[str, Rows]:
        """What else was found of each channel, for people."""
        return {}

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides the training."""

    @abstractmethod
    def state_schema(self) -> Schema:
        """What `state` gives."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""


def inputs_of(subject: Subject, slices: Slices, paths: Mapping[Place, str]) -> dict[str, Channels]:
    """What lies along the input channels of modules that read some, by their paths.

    Inside a primitive as well: an attention's values are read by a layer of its own.
    """
    inputs = {}
    for tensor in subject.sliced:
        source = slices.stages[tensor.place].source
        outside = {run.strand for run in source}
        for k, axis in enumerate(tensor.axes):
            if axis and k != tensor.maker:
                inputs[paths[tensor.place]] = source
                if not outside & {run.strand for run in axis}:
                    inputs[tensor.name.rpartition(".")[0]] = axis
    return inputs
