"""Tokens of a text, and a vocabulary of them.

By character every character is a token; by word, what stands between blanks, and one token more
for the end of each line, as language models of the field have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from attrs import field, frozen

from bayesnas.runtime.tasks.next_token import UNKNOWN
from bayesnas.runtime.tasks.parts import Array

END_OF_LINE: Final = "<eos>"


def split_text(text: str, level: str) -> list[str]:
    """Its tokens in order; ``level`` is ``character`` or ``word``."""
    if level == "character":
        return list(text)
    *lines, last = text.split("\n")  # a line that goes on has no end
    return [*(token for line in lines for token in (*line.split(), END_OF_LINE)), *last.split()]


@frozen
class Vocabulary:
    """Tokens by their numbers; all others are `UNKNOWN`, the first."""

    tokens: tuple[str, ...]
    _numbers: dict[str, int] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {token: k for k, token in enumerate(self.tokens)})

    @classmethod
    def of(cls, tokens: Iterable[str], most: int) -> Vocabulary:
        """The most frequent ones of a text, ``most`` with the unknown at most."""
        counts = Counter(tokens)
        del counts[UNKNOWN]
        ordered = sorted(counts, key=lambda token: (-counts[token], token))
        return cls((UNKNOWN, *ordered[: most - 1]))

    def numbers(self, tokens: Sequence[str]) -> Array:
        """int32 [T]; 0 for what is not in it."""
        number_of = self._numbers
        return np.fromiter((number_of.get(t, 0) for t in tokens), dtype=np.int32, count=len(tokens))
