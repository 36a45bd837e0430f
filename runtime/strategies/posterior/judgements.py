"""Losses of members on held-out examples, some of them judged again on more.

All members are judged on the same parts of the examples, so that how hard those are is no
difference between members; finalists are on more. The model of a part's loss is member + part +
noise, the noise of each example being alike.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.compiler.space.choices import Member


@frozen(eq=False)
class Judgements:
    """What members lost, nats an example, on P equal parts of examples [P], float64.

    Args:
        first: of every judged member.
        again: of finalists, on parts of other examples; [Q] each.
        examples: of all parts of ``again`` together, for each one of ``first``; positive.
    """

    first: dict[Member, Tensor] = field(factory=dict)
    again: dict[Member, Tensor] = field(factory=dict)
    examples: float = 1.0

    def __len__(self) -> int:
        """How many members are judged."""
        return len(self.first)

    def __iter__(self) -> Iterator[Member]:
        """The judged members."""
        return iter(self.first)

    def __contains__(self, member: object) -> bool:
        """Whether a member is judged."""
        return member in self.first

    @property
    def losses(self) -> Tensor:
        """The mean loss of each member, as if all were judged on the first examples [J].

        What finalists lose again counts by its examples, and tells them only from each other.
        """
        losses = torch.stack(list(self.first.values())).mean(dim=1)
        if self.again:
            rows = self._finalists()
            more = torch.stack(list(self.again.values())).mean(dim=1)
            more = more - more.mean() + losses[rows].mean()
            losses[rows] = (losses[rows] + self.examples * more) / (1 + self.examples)
        return losses

    @property
    def variances(self) -> Tensor:
        """Of `losses`, as the examples are drawn, beside what all members have alike [J]."""
        alike = sampling_variance(torch.stack(list(self.first.values())))
        variances = torch.full((len(self),), alike, dtype=torch.float64)
        if self.again:
            variances[self._finalists()] = alike / (1 + self.examples)
        return variances

    def _finalists(self) -> Tensor:
        """The places of those judged again, in their order [F]."""
        places = {member: n for n, member in enumerate(self.first)}
        return torch.tensor([places[member] for member in self.again])


def sampling_variance(parts: Tensor) -> float:
    """Of a member's mean loss, beside what all members have alike, as the examples are drawn.

    The mean square of what a sum of members and parts leaves, by the number of parts. It is 0 where
    there is one part or one member, which leave nothing to tell it by.

    Args:
        parts: losses of J members on P parts of the examples [J, P].
    """
    rows, columns = parts.shape
    if rows < 2 or columns < 2:
        return 0.0
    left = parts - parts.mean(dim=0) - parts.mean(dim=1, keepdim=True) + parts.mean()
    return float(left.square().sum()) / ((rows - 1) * (columns - 1)) / columns
