"""Noise that is learned: a number for each group, by Adam, beside the weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from bayesnas.compiler.slices.ties import Channels
from bayesnas.runtime.runs.reading import TORCH_STATE, Schema, like, like_optimizer, open_record
from bayesnas.runtime.weights.priors.interface import Prior, Problem
from bayesnas.runtime.weights.subject import Rows, along, channels_last

RATE: Final = 0.05  # of Adam


class Noise(Prior):
    """The base: ``logits`` [groups] are what is learned, and how noisy each group is.

    Args:
        problem: what a prior is given.
        start: of every logit.
    """

    def __init__(self, problem: Problem, start: float) -> None:
        super().__init__(problem)
        self.logits = self.subject.joined(self.subject.rows(start)).requires_grad_()
        self.adam = torch.optim.Adam([self.logits], lr=RATE)

    def stepped(self, rate: float) -> None:  # noqa: ARG002
        """A step of the logits."""
        self.adam.step()
        self.adam.zero_grad()

    def state(self) -> dict[str, Any]:
        """Logits and their optimizer, and what draws the noise."""
        return {
            "logits": self.logits.detach(),
            "adam": self.adam.state_dict(),
            "generator": self.subject.generator.get_state(),
        }

    def state_schema(self) -> Schema:
        """What `state` gives."""
        return open_record(
            {
                "logits": like(self.logits.detach()),
                "adam": like_optimizer(self.adam),
                "generator": TORCH_STATE,
            }
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self.adam.load_state_dict(state["adam"])
        self.subject.generator.set_state(state["generator"].cpu())


class ChannelNoise(Noise):
    """Channels are multiplied by noise where they are read: a number per example and channel."""

    def __init__(self, problem: Problem, start: float) -> None:
        super().__init__(problem, start)
        self._masks: Rows = {}  # [examples, channels], of the pass under way
        module = self.subject.module
        module.register_forward_pre_hook(self._draw)
        for path, axis in problem.inputs.items():
            if any(run.strand in self.subject.strands for run in axis):
                layer = module.get_submodule(path)
                layer.register_forward_pre_hook(partial(self._mask, axis=axis))

    @abstractmethod
    def drawn(self, examples: int) -> Tensor:
        """Noise of some examples [examples, channels], differentiable in the logits."""

    def _draw(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """New noise for a pass in training mode."""
        self._masks = {}
        if module.training:
            self._masks = self.subject.split(self.drawn(len(inputs[0])))

    def _mask(
        self, layer: nn.Module, inputs: tuple[Tensor, ...], *, axis: Channels
    ) -> tuple[Tensor, ...] | None:
        if not self._masks:
            return None
        [z] = inputs
        mask, others = along(axis, self._masks, z), [1] * (z.dim() - 2)
        shape = (len(mask), *others, -1) if channels_last(layer) else (*mask.shape, *others)
        return (z * mask.view(shape),)
