"""Files that appear whole or not at all, and over nothing unless that is asked for."""

from __future__ import annotations

import os
import re
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE
from typing import Final

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

_BESIDE: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")  # of a file that is being written


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside its place first, then moved into it."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """See `write_text`. A file that is replaced keeps its permissions, a new one has the user's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            beside.chmod(S_IMODE(path.stat().st_mode))
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # as its user knows it
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder outlast a failure of power, where the system can be asked to."""
    with suppress(OSError, AttributeError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cache_folder() -> Path | None:
    """Where things are kept that can be found out again; None for a user without a home."""
    if base := os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA"):
        return Path(base) / "bayesnas"
    with suppress(RuntimeError):
        parts = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
        return Path.home().joinpath(*parts) / "bayesnas"
    return None


def half_written(path: Path) -> str | None:
    """The name of the file that a process was writing when it was killed; None for other files."""
    match = _BESIDE.fullmatch(path.name)
    return match[1] if match else None


def check_free(
    file: Path,
    force: bool,
    other: str = "choose another name with `-o`",
    forcing: str = "`--force`",
) -> None:
    """Refuse the name of a file that exists, unless forced, of a folder, or of one below a file.

    ``other`` is what to do besides, ``forcing`` how to ask for it.

    Raises:
        DiagnosticError: D413.
    """
    if file.is_dir():
        remedy = f"name a file, such as one in it: `{file / 'NAME'}`"
        raise DiagnosticError(Diagnostic("D413", f"`{file}` is a folder", help=remedy))
    _check_no_file(file.parent)
    if file.exists() and not force:
        remedy = f"{other}, or pass {forcing} to replace it"
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
    _check_no_file(folder)
    if not force and folder.is_dir() and any(folder.iterdir()):
        raise DiagnosticError(Diagnostic("D413", f"`{folder}` is not empty", help=remedy))


def _check_no_file(folder: Path) -> None:
    """Refuse a folder that cannot be made, since it, or one that it is to lie in, is a file."""
    place = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if place is not None and not place.is_dir():
        remedy = "choose a place that is no file, nor below one"
        raise DiagnosticError(Diagnostic("D413", f"`{place}` is a file", help=remedy))
