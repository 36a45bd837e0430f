"""Files of rows with named columns: CSV by Python's own reader, Parquet by pandas.

A column is numbers where all its entries are, missing ones apart; else texts. Between semicolons
numbers may have a comma for a point.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from attrs import field, frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_packages, quote
from bayesnas.runtime.tasks.parts import Array, wrong

ENDINGS: Final = (".csv", ".tsv", ".txt", ".parquet")
MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-"})  # in lower case
_SNIFFED: Final = 1 << 16  # characters that tell the delimiter
_DELIMITERS: Final = ",;\t|"
_PACKAGES: Final = ("pandas", "pyarrow")

Column: TypeAlias = Array  # float64 [N] with NaN, or texts [N] with "" for what is missing


@frozen
class Table:
    """Rows of a file.

    Args:
        place: the file, as diagnostics name it.
        columns: by name, all of N entries: float64 with NaN for what is missing, or texts with "".
    """

    place: str
    columns: dict[str, Column] = field(repr=False, eq=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def subset(self, rows: Array) -> Table:
        """The rows at these positions, or where a mask is true."""
        return Table(self.place, {name: column[rows] for name, column in self.columns.items()})

    def column(self, name: str, use: str) -> Column:
        """One column; ``use`` says what it is for.

        Raises:
            DiagnosticError: D516 (there is none of that name).
        """
        if name not in self.columns:
            notes = (f"it has {quote(list(self.columns))}",)
            remedy = "check the names in its first row"
            raise wrong(self.place, "D516", f"has no column `{name}`, {use}", remedy, *notes)
        return self.columns[name]


def read_table(path: Path, texts: Collection[str] = ()) -> Table:
    """The rows of a file; columns of the names in ``texts`` are texts whatever they hold.

    Raises:
        DiagnosticError: D436 (packages for Parquet are missing), D510 (no file, or it cannot be
            read), D512 (no rows, or rows of several lengths), D516 (columns of one name).
    """
    if not path.is_file():
        remedy = f"name a file that ends in {quote(ENDINGS, 'or')}"
        raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy))
    parquet = path.suffix.lower() == ".parquet"
    columns = _parquet(path) if parquet else _csv(path, texts)
    table = Table(f"`{path}`", columns)
    if not columns or not len(table):
        what = "has no rows"
        raise wrong(table.place, "D512", what, "save a row of names, and one for each example")
    return table


def _csv(path: Path, texts: Collection[str]) -> dict[str, Column]:
    place = f"`{path}`"
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            dialect = _delimiter(stream.read(_SNIFFED), path)
            stream.seek(0)
            names, rows = _rows(place, csv.reader(stream, delimiter=dialect))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        remedy = "save it as CSV in UTF-8, a row of names first"
        raise wrong(place, "D510", "cannot be read", remedy, str(error).lower()) from None
    pairs = zip(names, zip(*rows, strict=True), strict=bool(rows))
    comma = dialect == ";"  # as spreadsheets write where the comma is the decimal point
    return {name: _column(entries, name in texts, comma) for name, entries in pairs}


def _delimiter(start: str, path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = start.partition("\n")[0]
    return max(_DELIMITERS, key=first.count)


def _rows(place: str, reader: Iterator[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the rows."""
    names = [name.strip() for name in next(reader, [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        remedy = "give each column a name of its own in the first row"
        raise wrong(place, "D516", f"has several columns called {quote(twice)}", remedy)
    rows = []
    for number, row in enumerate(reader, start=2):
        if not row:
            continue
        if len(row) != len(names):
            what = f"has {len(row)} entries in row {number}, and {len(names)} names in the first"
            raise wrong(place, "D512", what, "give each row an entry a column")
        rows.append(row)
    return names, rows


def _column(entries: Sequence[str], is_text: bool, comma: bool) -> Column:
    """Numbers where all are numbers that are not missing; else texts.

    ``comma`` says that numbers may have a comma for a point, all of a column or none.
    """
    stripped = [entry.strip() for entry in entries]
    texts = ["" if text.lower() in MISSING else text for text in stripped]
    if is_text:
        return np.array(texts)
    pointed = [text.replace(",", ".") for text in texts]
    mixed = any("." in text for text in texts)  # the comma may part thousands then
    for numbers in (texts, pointed) if comma and not mixed else (texts,):
        try:
            return np.array([float(text) if text else np.nan for text in numbers])
        except ValueError:
            continue
    return np.array(texts)


def _parquet(path: Path) -> dict[str, Column]:
    remedy = "pip install 'bayesnas[parquet]', or save the table as CSV"
    check_packages(_PACKAGES, "a Parquet file needs", remedy)
    import pandas

    try:
        frame = pandas.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds for a broken file
        reason = (str(error).splitlines() or [""])[0].lower()
        remedy = "save it again, or as CSV"
        raise wrong(f"`{path}`", "D510", "cannot be read", remedy, reason) from None
    columns = {}
    for name in frame.columns:
        series = frame[name]
        if pandas.api.types.is_numeric_dtype(series.dtype):
            columns[str(name)] = series.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            texts = series.astype(object).where(series.notna(), "")
            columns[str(name)] = np.array([str(entry) for entry in texts])
    return columns
