"""Columns of a table that name image files, each the data of an input of a network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.examples import numbers
from bayesnas.runtime.data.folders.images import ENDINGS, ImageError
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.folders.reading import Reader, check_shape, stacked, unreadable
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.data.tables.files import Column, Table
from bayesnas.runtime.tasks.parts import wrong

_USE: Final = "whose images the network takes"


@frozen
class Pictures:
    """A column of paths, from the folder of the table or absolute.

    Args:
        name: of the column.
        shape: [C, H, W] that the network takes.
        options: how images are fitted to it.
    """

    name: str
    shape: Shape
    options: DataOptions

    def of(self, table: Table, folder: Path, done: Findings) -> Tensor:
        """Pixels [N, C, H, W]: bytes, or shares of the full scale where one has 16 bits a pixel.

        What is done to images is added to ``done``.

        Raises:
            DiagnosticError: D504 (files that cannot be read), D505 (images of another shape), D513
                (a row that names none), D516 (no such column).
        """
        names = self.names(table)
        read = Reader(self.shape, self.options, done).read([folder / name for name in names])
        pairs = list(zip(names, read, strict=True))
        if broken := [f"`{name}`: {one}" for name, one in pairs if isinstance(one, ImageError)]:
            raise unreadable(broken, f"{self.name}` of `{table.place.strip('`')}")
        pictures = [one for one in read if not isinstance(one, ImageError)]
        sizes = {tuple(picture.pixels.shape) for picture in pictures}
        for name, picture in zip(names, pictures, strict=True):
            if (own := tuple(picture.pixels.shape)) != self.shape:
                raise self._other_size(name, own, len(sizes) == 1)
            done.remarks.update(picture.remarks)
        deep = any(picture.pixels.is_floating_point() for picture in pictures)
        return stacked([picture.pixels for picture in pictures], self.shape, deep)

    def names(self, table: Table) -> list[str]:
        """The paths in the rows.

        Raises:
            DiagnosticError: D513 (a row that has none), D516 (no such column).
        """
        names = [str(name) for name in table.column(self.name, _USE)]
        if "" in names:
            what = f"names no image in `{self.name}`, example {names.index('')} (counted from 0)"
            raise wrong(table.place, "D513", what, "name one in each row, or leave the row out")
        return names

    def _other_size(self, name: str, own: Shape, one_size: bool) -> DiagnosticError:
        remedy = "pass `--resize` to fit the images to the network"
        if one_size:
            remedy = f"declare the image as {list(own)}, or {remedy}"
        message = f"`{name}` is {list(own)}, the network takes {list(self.shape)}"
        return DiagnosticError(Diagnostic("D505", message, help=remedy))

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "picture": True}


def named(columns: Sequence[Mapping[str, Any]]) -> str:
    """The column of images in the record of an input; empty where it is of features."""
    return columns[0]["name"] if len(columns) == 1 and "picture" in columns[0] else ""


def picture_columns(
    table: Table, inputs: Mapping[str, Shape], targets: Collection[str], options: DataOptions
) -> dict[str, Pictures]:
    """The column of images of each input of a network that is an image, by port.

    It is called as the port; or else it is the one column that names images, for a single port.

    Raises:
        DiagnosticError: D505 (an image of other channels than files have), D513 (a row that names
            none), D520 (no column).
    """
    found: dict[str, Pictures] = {}
    ports = [port for port, shape in inputs.items() if len(shape) == 3]
    free = [n for n in _naming_images(table) if n not in targets and n not in ports]
    for port in ports:
        check_shape(inputs[port])
        name = port if port in table.columns and port not in targets else ""
        if not name and len(ports) == len(free) == 1:
            [name] = free
        if not name:
            has = f"columns that name images are {quote(free)}" if free else "none names images"
            raise DiagnosticError(
                Diagnostic(
                    "D520",
                    f"{table.place} has no column for the input `{port}`",
                    notes=(has,),
                    help=f"call the column with the paths of its images `{port}`",
                )
            )
        found[port] = Pictures(name, inputs[port], options)
        found[port].names(table)
    return found


def _naming_images(table: Table) -> Iterator[str]:
    for name, column in table.columns.items():
        if column.dtype.kind == "U" and _all_images(column):
            yield name


def _all_images(column: Column) -> bool:
    entries = [str(entry) for entry in column if entry != ""]
    return bool(entries) and all(Path(e).suffix.lower() in ENDINGS for e in entries)


def alike(parts: Sequence[Tensor]) -> list[Tensor]:
    """Pixels of all parts in one type: shares of the full scale where one has them."""
    deep = any(part.is_floating_point() for part in parts)
    return [numbers(part) if deep else part for part in parts]
