"""How many images each judgement takes, so that all together are no more than are to spare.

Every member is judged on the same held-out examples, its normalisation estimated from as many
training examples; where the images do not reach to judge all on all, the best are judged again on
others. Half of the images are for those finalists, and what they cannot use is for all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from attrs import frozen

from bayesnas.runtime.supernet.supernet import RECALIBRATION

FEWEST: Final = 6  # members that are judged at least, where there are so many
EXAMPLES: Final = 128  # that a judgement takes at least, held out and for normalisation
FINALISTS: Final = 0.25  # share of the judged members that half of the images go to
PARTS: Final = 4  # of the held-out examples: how their losses differ tells the error of a judgement


@frozen
class Terms:
    """On how many examples members are judged.

    Args:
        members: that are judged.
        examples: held-out ones that each is judged on, in `parts` equal parts.
        others: held-out ones that finalists are judged on besides; 0 where there are none.
        normalisation: training examples that each judgement estimates normalisation from.
    """

    members: int
    examples: int
    others: int
    normalisation: int

    @classmethod
    def of(cls, spare: int, members: int, held: int, fit: int) -> Terms:
        """By the images there are.

        `FEWEST` members are judged on `EXAMPLES` of each kind even if they take more than there is.

        Args:
            spare: images that all judgements may take.
            members: that are to be judged at most, 1 or more.
            held: held-out examples, 1 or more.
            fit: training examples.
        """
        least, most = min(EXAMPLES, held), min(RECALIBRATION, fit)

        def normalising(size: int) -> int:
            return min(most, max(EXAMPLES, size))

        count = min(members, max(FEWEST, spare // (least + normalising(least))))
        finalists = _finalists(count)

        def first(size: int) -> int:
            return count * (size + normalising(size))

        def both(size: int) -> int:  # where finalists see all held-out examples
            return first(size) + finalists * (held - size + normalising(size))

        def largest(images: int, cost: Callable[[int], int]) -> int:
            return _even(max(least, bisect_right(range(held + 1), images, key=cost) - 1))

        size = max(largest(spare // 2, first), largest(spare, both))
        enough = spare // count - held  # for normalisation, if all are judged on all
        if enough >= normalising(size):
            return cls(count, _even(held), 0, min(most, enough))
        others = min(held - size, (spare - first(size)) // finalists - normalising(size))
        if others < EXAMPLES:
            size, others = largest(spare, first), 0
        return cls(count, size, others, normalising(size))

    @property
    def parts(self) -> int:
        """Into which the examples are dealt."""
        return min(PARTS, self.examples)

    @property
    def finalists(self) -> int:
        """Members that are judged again."""
        return _finalists(self.members) if self.others else 0

    @property
    def images(self) -> int:
        """That all judgements take together."""
        first = self.members * (self.examples + self.normalisation)
        return first + self.finalists * (self.others + self.normalisation)


def _finalists(members: int) -> int:
    return max(1, round(FINALISTS * members))


def _even(size: int) -> int:
    """The most examples that go into `PARTS` equal parts, or each of fewer alone."""
    return size - size % PARTS if size > PARTS else size
