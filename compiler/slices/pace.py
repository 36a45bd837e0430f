"""How long the operations of a network take at fewer channels, between measured widths."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping

from attrs import field, frozen


@frozen
class Curve:
    """Nanoseconds over shares of the channels: straight between points, level before and after.

    It never falls with more channels: a point below one of fewer is raised to that.
    """

    shares: tuple[float, ...]
    times: tuple[float, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[float, int]]) -> Curve:
        """Through points (share, nanoseconds), one or more; of equal shares the mean."""
        found: dict[float, list[int]] = {}
        for share, time in points:
            found.setdefault(share, []).append(time)
        shares, times, most = sorted(found), list[float](), 0.0
        for share in shares:
            most = max(most, sum(found[share]) / len(found[share]))
            times.append(most)
        return cls((*shares,), (*times,))

    def at(self, share: float) -> float:
        """The time at a share."""
        place = bisect(self.shares, share)
        if place == 0:
            return self.times[0]
        if place == len(self.shares):
            return self.times[-1]
        (left, right), (low, high) = (
            pair[place - 1 : place + 1] for pair in (self.shares, self.times)
        )
        return low + (high - low) * (share - left) / (right - left)


@frozen
class Pace:
    """What the parts of a network take by their widths.

    Args:
        edges: of the operation of each edge, by its id; those that are not named take nothing.
        arrivals: at nodes that merge, of each arrival after the first, by the node's id.
        call: of the whole network, whatever is in it, nanoseconds.
    """

    edges: Mapping[str, Curve] = field(repr=False)
    arrivals: Mapping[str, Curve] = field(repr=False)
    call: int
