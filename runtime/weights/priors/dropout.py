"""The prior `pgnas`: each channel learns how probably it is dropped, by variational dropout.

The bound of Zhou et al., AAAI 2020 (`concrete.py`), with a probability for each channel (Molchanov,
Ashukha, Vetrov, *Variational dropout sparsifies deep neural networks*, ICML 2017; Louizos,
Ullrich, Welling, *Bayesian compression for deep learning*, NeurIPS 2017), where the paper has one
for all channels that a convolution reads. One mask an example and channel, the same in all that
reads the channel, so that what learns is what a removal leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.concrete import START, entropy_term, logistic, relaxed_masks
from bayesnas.runtime.weights.priors.interface import Problem
from bayesnas.runtime.weights.priors.noise import ChannelNoise
from bayesnas.runtime.weights.subject import Rows, by_mean, group_sums


class Dropout(ChannelNoise):
    """Drop probabilities of channels, by the bound of posterior-guided NAS."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, float(torch.logit(torch.tensor(START))))

    def drawn(self, examples: int) -> Tensor:
        """Relaxed masks."""
        return relaxed_masks(self.logits, examples, self.subject.generator)

    def penalty(self) -> Tensor:
        """The bound without likelihood: what it has beside plain weight decay, which steps have."""
        weights = dict(self.subject.module.named_parameters())
        squares = group_sums(self.subject, {n: w.square() for n, w in weights.items()}, True)
        dropped = (torch.sigmoid(self.logits) * self.subject.joined(squares)).sum()
        masks = torch.ones_like(self.logits)  # one per channel, wherever it is read
        entropy = entropy_term(self.logits, masks, self.problem.examples)
        return entropy - self.problem.decay / 2 * dropped

    def scores(self) -> Scores:
        """The odds to stay, 1 / alpha of Gaussian dropout, in units of their strand's mean."""
        return by_mean(self.subject.split(torch.exp(-self.logits.detach())))

    def likeliest(self) -> Scores:
        """A channel stays if it is rather not dropped."""
        return self.subject.split(-self.logits.detach().cpu().double())

    def samples(self, count: int) -> Iterator[Scores]:
        """Hard masks, a channel in each with its probability to stay."""
        odds = self.subject.joined(self.likeliest())
        for noise in logistic(count, len(odds), self.subject.generator):
            yield self.subject.split(odds + noise)

    def columns(self) -> Mapping[str, Rows]:
        """The drop probability of every channel."""
        return {"drop": self.subject.split(torch.sigmoid(self.logits.detach()))}
