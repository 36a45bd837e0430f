"""The prior `pgnas`: each channel learns how probably it is dropped, by variational dropout.

The bound of Zhou et al., AAAI 2020 (`concrete.py`), with a probability for each channel (Molchanov,
Ashukha, Vetrov, *Variational dropout sparsifies deep neural networks*, ICML 2017; Louizos,
Ullrich, Welling, *Bayesian compression for deep learning*, NeurIPS 2017), where the paper has one
for all channels that a convolution reads. One mask an example and channel, the same in all that
reads the channel, so that what learns is what a removal leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from bayesnas.compiler.slices.ties import Channels
from bayesnas.runtime.runs.reading import TORCH_STATE, Schema, like, like_optimizer, record
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.concrete import START, entropy_term, relaxed_masks
from bayesnas.runtime.weights.priors.interface import Prior, Problem
from bayesnas.runtime.weights.subject import Rows, along, by_mean, group_sums

RATE: Final = 0.05  # of Adam, for the logits


class Dropout(Prior):
    """Drop probabilities of channels, by the bound of posterior-guided NAS."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        start = float(torch.logit(torch.tensor(START)))
        rows = self.subject.rows(start)
        self.logits = self.subject.joined(rows).requires_grad_()
        self.adam = torch.optim.Adam([self.logits], lr=RATE)
        self._masks: Rows = {}  # [examples, channels], of the pass under way
        module = self.subject.module
        module.register_forward_pre_hook(self._draw)
        for path, axis in problem.inputs.items():
            if any(run.strand in rows for run in axis):
                layer = module.get_submodule(path)
                layer.register_forward_pre_hook(partial(self._mask, axis=axis))

    def _draw(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """New masks for a pass in training mode."""
        self._masks = {}
        if module.training:
            masks = relaxed_masks(self.logits, len(inputs[0]), self.subject.generator)
            self._masks = self.subject.split(masks)

    def _mask(
        self, _layer: nn.Module, inputs: tuple[Tensor, ...], *, axis: Channels
    ) -> tuple[Tensor, ...] | None:
        if not self._masks:
            return None
        [z] = inputs
        mask = along(axis, self._masks, z)
        return (z * mask.view(*mask.shape, *[1] * (z.dim() - 2)),)

    def penalty(self) -> Tensor:
        """The bound without likelihood: what it has beside plain weight decay, which steps have."""
        weights = dict(self.subject.module.named_parameters())
        squares = group_sums(self.subject, {n: w.square() for n, w in weights.items()}, True)
        dropped = (torch.sigmoid(self.logits) * self.subject.joined(squares)).sum()
        masks = torch.ones_like(self.logits)  # one a channel, wherever it is read
        entropy = entropy_term(self.logits, masks, self.problem.examples)
        return entropy - self.problem.decay / 2 * dropped

    def stepped(self, rate: float) -> None:  # noqa: ARG002
        """A step of the probabilities."""
        self.adam.step()
        self.adam.zero_grad()

    def scores(self) -> Scores:
        """The odds to stay, 1 / alpha of Gaussian dropout, in units of their strand's mean."""
        return by_mean(self.subject.split(torch.exp(-self.logits.detach())))

    def columns(self) -> Mapping[str, Rows]:
        """The drop probability of every channel."""
        return {"drop": self.subject.split(torch.sigmoid(self.logits.detach()))}

    def state(self) -> dict[str, Any]:
        """Probabilities and their optimizer, and what draws the masks."""
        return {
            "logits": self.logits.detach(),
            "adam": self.adam.state_dict(),
            "generator": self.subject.generator.get_state(),
        }

    def state_schema(self) -> Schema:
        """What `state` gives."""
        return record(
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
