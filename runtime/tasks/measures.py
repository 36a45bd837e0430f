"""How good answers are by target or by label: a table of numbers, for people and for files."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Measures:
    """Some numbers for each of the things that are predicted.

    Args:
        what: one of them is called, in a word.
        names: of the numbers.
        rows: the numbers of each, by its name; NaN where there is none.
    """

    what: str
    names: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]] = field(eq=False)

    def record(self) -> dict[str, dict[str, float | None]]:
        """For files, the numbers by their names."""
        return {
            row: {
                name: None if math.isnan(number) else number
                for name, number in zip(self.names, numbers, strict=True)
            }
            for row, numbers in self.rows.items()
        }

    def texts(self) -> list[tuple[str, ...]]:
        """Rows of a table for people."""
        return [
            (row, *("-" if math.isnan(number) else f"{number:.4g}" for number in numbers))
            for row, numbers in self.rows.items()
        ]
