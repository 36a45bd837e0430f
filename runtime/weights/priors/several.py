"""Several priors at once, and masks that are held while what is left trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bayesnas.runtime.runs.reading import Schema, record
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.priors.interface import Prior


class Several(Prior):
    """Priors over different groups of the same weights: their penalties add (BayesNAS, 5.1)."""

    def __init__(self, parts: Sequence[Prior]) -> None:
        super().__init__(parts[0].problem)
        self.parts = parts

    def penalty(self) -> Tensor | None:
        """The sum of those that there are."""
        penalties = [p for part in self.parts if (p := part.penalty()) is not None]
        return torch.stack(penalties).sum() if penalties else None

    def stepped(self, rate: float) -> None:
        """One after the other."""
        for part in self.parts:
            part.stepped(rate)

    def scores(self) -> Scores:
        """Of all groups."""
        return {strand: row for part in self.parts for strand, row in part.scores().items()}

    def state(self) -> dict[str, Any]:
        """By the number of each."""
        return {str(n): part.state() for n, part in enumerate(self.parts)}

    def state_schema(self) -> Schema:
        """What `state` gives."""
        return record({str(n): part.state_schema() for n, part in enumerate(self.parts)})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        for n, part in enumerate(self.parts):
            part.restore(state[str(n)])


def parts_of(prior: Prior) -> Sequence[Prior]:
    """The priors of a prior: itself, if it is one."""
    return prior.parts if isinstance(prior, Several) else [prior]


class Held(Prior):
    """Weights that are zero at first, among those named, stay zero."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        self.weights = {n: w for n, w in module.named_parameters() if n in {*names}}
        self.masks = {name: w.detach() != 0 for name, w in self.weights.items()}

    @torch.no_grad()
    def stepped(self, rate: float) -> None:  # noqa: ARG002
        """Back to zero."""
        for name, mask in self.masks.items():
            self.weights[name].mul_(mask)

    def scores(self) -> Scores:
        """Nothing is judged."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing but what the weights say."""
        return {}

    def state_schema(self) -> Schema:
        """What `state` gives."""
        return record({})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to do."""
