"""Files that appear whole or not at all, also where the power fails."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE
from typing import Final

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
    except BaseException:
        beside.unlink(missing_ok=True)
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


def half_written(path: Path) -> str | None:
    """The name of the file that a process was writing when it was killed; None for other files."""
    match = _BESIDE.fullmatch(path.name)
    return match[1] if match else None
