r"""Variational priors over scales: `normal_jeffreys` of channels, `variational_dropout` of weights.

Both put the prior p(z) ~ 1/|z| on a scale and believe it to be N(1, alpha) times its mean. The
divergence depends on alpha alone and is approximated by (Molchanov, Ashukha, Vetrov, ICML 2017)

    KL(alpha) = k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1/alpha) / 2;

its sum over N is descended with the mean loss, from nothing at first to all of it after half of the
training. What ends with a large alpha says no more than noise would, and goes.

`normal_jeffreys` (Louizos, Ullrich, Welling, *Bayesian compression for deep learning*, NeurIPS
2017): a scale for each channel, where it is read. The weights below it are points under weight
decay, where the paper has a normal posterior; its thresholds by hand are a budget here.
`variational_dropout` (Molchanov et al.): a scale for each weight, by local reparametrisation:
outputs are drawn, with the variance that those of the weights make.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesnas.runtime.runs.reading import COUNT, Schema, both, open_record
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.families import Pieces
from bayesnas.runtime.weights.priors.interface import Problem
from bayesnas.runtime.weights.priors.noise import ChannelNoise, Noise
from bayesnas.runtime.weights.subject import Rows

K1, K2, K3 = 0.63576, 1.87320, 1.48695
START: Final = -4.0  # of log alpha; the papers begin near -9, and train for hundreds of epochs
RISE: Final = 0.5  # of a training, in which the divergence comes to count in full
TINY: Final = 1e-8


def divergence(log_alpha: Tensor) -> Tensor:
    """KL(alpha) of each number; 0 where alpha is large."""
    rise = K1 * torch.sigmoid(K2 + K3 * log_alpha)
    return K1 - rise + nn.functional.softplus(-log_alpha) / 2


class _Rising(Noise):
    """What the two share: the divergence that comes to count, and what it says."""

    def __init__(self, problem: Problem, start: float) -> None:
        super().__init__(problem, start)
        self.steps = 0

    def log_alpha(self) -> Tensor:
        """Of each group [C]."""
        return self.logits

    def penalty(self) -> Tensor:
        """The divergences, an example."""
        share = min(1.0, self.steps / max(1.0, RISE * self.problem.steps))
        return share * divergence(self.log_alpha()).sum() / self.problem.examples

    def stepped(self, rate: float) -> None:
        """A step of the variances."""
        super().stepped(rate)
        self.steps += 1

    def scores(self) -> Scores:
        """1 / alpha, which has one unit everywhere."""
        return self.subject.split((-self.log_alpha().detach()).exp())

    def columns(self) -> Mapping[str, Rows]:
        """log alpha."""
        return {"log_alpha": self.subject.split(self.log_alpha().detach())}

    def state(self) -> dict[str, Any]:
        """With the steps so far."""
        return super().state() | {"steps": self.steps}

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        return both(super().state_schema(), open_record({"steps": COUNT}))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.steps = state["steps"]


class NormalJeffreys(_Rising, ChannelNoise):
    """A scale N(1, alpha) of each channel; the logits are log alpha."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, START)

    def drawn(self, examples: int) -> Tensor:
        """1 + sqrt(alpha) epsilon."""
        size = (examples, len(self.logits))
        noise = torch.randn(size, generator=self.subject.generator).to(self.logits)
        return 1 + (self.logits / 2).exp() * noise


class VariationalDropout(_Rising):
    """A posterior N(w, sigma^2) of each weight; the logits are log sigma^2."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, START)
        assert isinstance(self.subject, Pieces), "of single weights"
        weights = dict(self.subject.module.named_parameters())
        self.numbers = self.subject.numbers
        self.weights = {name: weights[name] for name in self.numbers}
        with torch.no_grad():
            self.logits.sub_(self.log_alpha() - START)
        self._inside = False
        for name in self.weights:
            path, _, parameter = name.rpartition(".")
            layer = self.subject.module.get_submodule(path)
            layer.register_forward_hook(partial(self._noisy, name=name, parameter=parameter))

    def log_alpha(self) -> Tensor:
        """log(sigma^2 / w^2)."""
        squares = self.subject.sums({n: w.square() for n, w in self.weights.items()})
        return self.logits - (self.subject.joined(squares) + TINY).log()

    def _noisy(
        self,
        layer: nn.Module,
        inputs: tuple[Tensor, ...],
        outputs: Tensor,
        *,
        name: str,
        parameter: str,
    ) -> Tensor | None:
        """The outputs with the noise of their weights, in training mode."""
        if self._inside or not layer.training:
            return None
        own = {n: torch.zeros_like(w) for n, w in layer.named_parameters()}
        strand, groups = self.numbers[name]
        own[parameter] = self.subject.split(self.logits)[strand].exp()[groups.to(outputs.device)]
        self._inside = True
        try:
            variance = functional_call(layer, own, tuple(z.square() for z in inputs))
        finally:
            self._inside = False
        noise = torch.randn(outputs.shape, generator=self.subject.generator).to(outputs)
        noisy: Tensor = outputs + (variance.clamp_min(0) + TINY).sqrt() * noise
        return noisy
