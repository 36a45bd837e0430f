"""Parts of a data set that lie in files: one, or those of a folder, called as people call them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote

_NAMES: Final = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}


@frozen
class Paths:
    """The file to train on, that to test on, if there is one, and what stands in for what."""

    train: Path
    test: Path | None = None
    note: str = ""


def parts_of(path: Path, endings: Sequence[str]) -> Paths:
    """A file, or the files of a folder that are called ``train``, and ``test`` or ``val``.

    Raises:
        DiagnosticError: D510 (there is no such file or folder, or no ``train`` in it).
    """
    if not path.is_dir():
        if not path.is_file():
            remedy = f"name a file that ends in {quote(endings, 'or')}, or a folder of them"
            raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy))
        return Paths(path)
    files = {
        (file.stem.lower(), file.suffix.lower()): file
        for file in sorted(path.iterdir())
        if file.is_file()
    }
    train, test = (
        next((files[n, e] for n in names for e in endings if (n, e) in files), None)
        for names in _NAMES.values()
    )
    if train is None:
        remedy = f"call the file to train on `train{endings[0]}`, or name a file"
        raise DiagnosticError(Diagnostic("D510", f"no `train` in `{path}`", help=remedy))
    stands_in = test is not None and not test.stem.lower().startswith("test")
    note = f"there is no `test`: `{test.name}` is the test part" if test and stands_in else ""
    return Paths(train, test, note)
