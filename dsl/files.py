"""Files that appear whole or not at all, and over nothing unless that is asked for."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from stat import S_IMODE

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside its place first, then moved into it."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """See `write_text`. A file that is replaced keeps its permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_free(file: Path, force: bool) -> None:
    """Refuse the name of a file that exists, unless forced.

    Raises:
        DiagnosticError: D413.
    """
    if file.exists() and not force:
        remedy = "choose another name with `-o`, or pass `--force` to replace it"
        raise DiagnosticError(Diagnostic("D413", f"`{file}` exists", help=remedy))


def check_empty(
    folder: Path,
    force: bool,
    remedy: str = "choose another folder with `-o`, or pass `--force` to replace its files",
) -> None:
    """Refuse a folder that holds something, unless forced; ``remedy`` is what to do about it.

    Raises:
        DiagnosticError: D413.
    """
    if folder.exists() and not folder.is_dir():
        message = f"`{folder}` is a file"
        raise DiagnosticError(Diagnostic("D413", message, help="name a folder with `-o`"))
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise DiagnosticError(Diagnostic("D413", f"`{folder}` is not empty", help=remedy))
