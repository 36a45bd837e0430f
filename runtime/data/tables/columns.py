"""What becomes of the columns of a table: features, the same for new rows as for those learned.

A column of numbers is a feature. What is missing is filled in by the median, and where something
is missing a second feature says so. A column of texts is a feature for each of its categories, 1
for the one that it is; where a network takes a number per column, it is the number of the category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.data.tables.files import Column, Table
from bayesnas.runtime.tasks.parts import Array, wrong

MOST: Final = 100  # categories of a column; the others together are none of them
UNKNOWN: Final = "entries that are no category of the training"
_SHOWN: Final = 8  # columns by name
_READ: Final = "which the network reads"


@frozen
class Numbers:
    """A column of numbers.

    Args:
        name: of the column.
        median: of the training part, for what is missing.
        marked: whether a second feature says what was missing.
    """

    name: str
    median: float
    marked: bool

    @property
    def features(self) -> tuple[str, ...]:
        """Their names."""
        return (self.name, f"{self.name} missing") if self.marked else (self.name,)

    @property
    def quantities(self) -> tuple[bool, ...]:
        """Which of them are to be standardised."""
        return (True, False) if self.marked else (True,)

    def of(self, column: Column, place: str) -> Array:
        """Features [N, F] of the entries.

        Raises:
            DiagnosticError: D513 (a text, or a number that is not finite).
        """
        if column.dtype.kind != "f":
            column = self._parsed(column, place)
        gaps = np.isnan(column)
        if np.isinf(column).any():
            what = f"has a number in `{self.name}` that is not finite"
            raise wrong(place, "D513", what, "leave the entry empty where it is not known")
        filled = np.where(gaps, self.median, column)
        return np.stack([filled, gaps], axis=1) if self.marked else filled[:, None]

    def _parsed(self, column: Column, place: str) -> Array:
        numbers = np.full(len(column), np.nan)
        for row, text in enumerate(column):
            if text:
                try:
                    numbers[row] = float(text)
                except ValueError:
                    # A bad entry makes texts of all, also of those whose point is a comma.
                    bad = [k for k, entry in enumerate(column) if not _is_number(entry)]
                    row, text = (bad[0], column[bad[0]]) if bad else (row, text)
                    what = f"has `{text}` in `{self.name}`, example {row} (counted from 0)"
                    note = "the network reads numbers there"
                    remedy = "correct the entry, or leave it empty"
                    raise wrong(place, "D513", what, remedy, note) from None
        return numbers

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "median": self.median, "marked": self.marked}


def _is_number(text: str) -> bool:
    """Whether an entry is one, or none, with a point or a comma."""
    try:
        float(text.replace(",", ".") or 0)
    except ValueError:
        return False
    return True


@frozen
class Categories:
    """A column of texts.

    Args:
        name: of the column.
        categories: the texts; "" is what is missing.
        numbered: whether they are one feature: 0 for what is none of them, else from 1.
    """

    name: str
    categories: tuple[str, ...]
    numbered: bool = False
    _numbers: dict[str, int] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_numbers", {c: k for k, c in enumerate(self.categories)})

    @property
    def features(self) -> tuple[str, ...]:
        """Their names."""
        if self.numbered:
            return (self.name,)
        return tuple(f"{self.name}={category}" for category in self.categories)

    @property
    def quantities(self) -> tuple[bool, ...]:
        """None is to be standardised."""
        return (False,) * len(self.features)

    def of(self, column: Column, place: str) -> Array:  # noqa: ARG002
        """Features [N, F] of the entries; what is none of the categories is 0 in all."""
        numbers = np.array([self._numbers.get(text, -1) for text in _as_texts(column)])
        if self.numbered:
            return numbers[:, None] + 1
        return np.asarray(numbers[:, None] == np.arange(len(self.categories)))

    def unknown(self, column: Column) -> int:
        """How many entries are none of the categories."""
        return sum(text not in self._numbers for text in _as_texts(column))

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "categories": list(self.categories),
            "numbered": self.numbered,
        }


@frozen
class Preparation:
    """How rows become examples: `of` for any table, as it was made for a training part."""

    columns: tuple[Numbers | Categories, ...]

    @classmethod
    def fitted(cls, table: Table, names: Sequence[str], width: int) -> tuple[Preparation, str]:
        """By the rows of a training part, and what was done, in words.

        Args:
            table: the training part.
            names: of the columns to read.
            width: how many features the network takes; where that is as many as there are columns,
                and all are texts, categories are numbered.

        Raises:
            DiagnosticError: D516 (no column tells anything).
        """
        used, left = [], []
        for name in names:
            reason = _useless(table.columns[name])
            if reason:
                left.append(f"`{name}` ({reason})")
            else:
                used.append(name)
        if not used:
            remedy = "give it columns to predict from"
            raise wrong(table.place, "D516", "has no column that tells anything", remedy)
        numbered = len(used) == width and all(is_texts(table.columns[n]) for n in used)
        prepared = cls(tuple(_prepared(n, table.columns[n], numbered) for n in used))
        return prepared, "; ".join(filter(None, (prepared._told(table), _told_left(left))))

    @property
    def features(self) -> tuple[str, ...]:
        """Names, in the order of the network's inputs."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def quantities(self) -> tuple[bool, ...]:
        """Which of them are to be standardised."""
        return tuple(is_ for column in self.columns for is_ in column.quantities)

    def of(self, table: Table, said: str = UNKNOWN) -> tuple[Array, str]:
        """Examples [N, features], float64, and a remark on texts that are no known categories.

        Args:
            table: with these columns.
            said: what entries are called that are none of them.

        Raises:
            DiagnosticError: D513 (entries that are no numbers), D516 (a column is missing).
        """
        entries = [table.column(column.name, _READ) for column in self.columns]
        pairs = list(zip(self.columns, entries, strict=True))
        inputs = [column.of(column_entries, table.place) for column, column_entries in pairs]
        unknown = {
            column.name: count
            for column, column_entries in pairs
            if isinstance(column, Categories) and (count := column.unknown(column_entries))
        }
        told = ", ".join(f"`{name}` {count:,}" for name, count in unknown.items())
        remark = f"{said}: {told}" if told else ""
        return np.concatenate(inputs, axis=1, dtype=np.float64), remark

    def _told(self, table: Table) -> str:
        numbers = [c for c in self.columns if isinstance(c, Numbers)]
        texts = [c for c in self.columns if isinstance(c, Categories)]
        said = [f"{len(self.features):,} features of {len(self.columns):,} columns"]
        if numbers:
            said.append(f"numbers are {_several([c.name for c in numbers])}")
        gaps = {c.name: int(np.isnan(table.columns[c.name]).sum()) for c in numbers if c.marked}
        if gaps:
            told = [f"`{name}` {count:,}" for name, count in list(gaps.items())[:_SHOWN]]
            said.append(f"missing ones are the median, and marked: {', '.join(told)}")
        if texts:
            told = [f"`{c.name}` {len(c.categories):,}" for c in texts[:_SHOWN]]
            more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
            how = "numbered from 1" if texts[0].numbered else "a feature each"
            said.append(f"categories, {how}: {', '.join(told)}{more}")
        return ", ".join(said)

    def record(self) -> list[dict[str, Any]]:
        """For files, plain values."""
        return [column.record() for column in self.columns]

    @classmethod
    def of_record(cls, record: Sequence[Mapping[str, Any]]) -> Preparation:
        """What `record` has written."""
        return cls(tuple(_of_record(about) for about in record))


def _of_record(about: Mapping[str, Any]) -> Numbers | Categories:
    if "median" in about:
        return Numbers(about["name"], float(about["median"]), about["marked"])
    return Categories(about["name"], tuple(about["categories"]), about["numbered"])


def _prepared(name: str, column: Column, numbered: bool) -> Numbers | Categories:
    if not is_texts(column):
        gaps = np.isnan(column)
        return Numbers(name, float(np.median(column[~gaps])), bool(gaps.any()))
    found, counts = np.unique(column, return_counts=True)
    most = np.sort(np.argsort(-counts, kind="stable")[:MOST])
    return Categories(name, tuple(str(text) for text in found[most]), numbered)


def is_texts(column: Column) -> bool:
    """Whether its entries are texts, not numbers."""
    return column.dtype.kind == "U"


def _as_texts(column: Column) -> Sequence[str]:
    """Entries as categories are called: whole numbers without a point, what is missing as ""."""
    if is_texts(column):
        return list(map(str, column))
    return ["" if np.isnan(x) else f"{x:.0f}" if x == np.floor(x) else str(x) for x in column]


def _useless(column: Column) -> str:
    """Why a column tells nothing; empty where it may."""
    if is_texts(column):
        distinct = len(np.unique(column))
        if distinct == len(column) > MOST:
            return "another text in every row"
        return "the same in all rows" if distinct == 1 else ""
    present = column[~np.isnan(column)]
    if not len(present):
        return "empty"
    same = (present == present[0]).all() and len(present) == len(column)
    return "the same in all rows" if same else ""


def _told_left(left: Sequence[str]) -> str:
    return f"left out: {', '.join(left)}" if left else ""


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{', '.join(f'`{name}`' for name in names[:_SHOWN])}{more}" if more else quote(names)
