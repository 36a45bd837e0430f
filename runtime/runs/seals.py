"""Hashes of what a run writes: a file that has changed since is refused, not believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

SEAL: Final = "hash"  # the entry of a JSON file that is of all its others
RESTORE: Final = "restore the file from a copy, or run the command again in a new folder"


def text_hash(text: str) -> str:
    """Of a text; names of files in it need not be UTF-8."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def file_hash(path: Path) -> str:
    """Of the bytes of a file."""
    return sha256(path.read_bytes()).hexdigest()


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the hash of its entries, which replaces one that it has."""
    entries = {name: value for name, value in data.items() if name != SEAL}
    return {**entries, SEAL: text_hash(json.dumps(entries))}


def check_seal(data: Mapping[str, Any], path: Path) -> None:
    """Refuse a table that is not as it was sealed; one without a seal may be anything.

    Raises:
        DiagnosticError: D416, about the file at ``path``.
    """
    if SEAL in data and data[SEAL] != sealed(data)[SEAL]:
        raise _changed(path, "its hash is not the one that stands in it")


def check_hash(found: str, expected: str, path: Path, place: str) -> None:
    """Refuse a file whose hash is another than the one that stands in the file ``place``.

    Raises:
        DiagnosticError: D416, about the file at ``path``.
    """
    if found != expected:
        raise _changed(path, f"its hash is not the one in `{place}`")


def check_file(path: Path, expected: str, place: str) -> None:
    """The same of the bytes of the file itself.

    Raises:
        DiagnosticError: D416.
    """
    check_hash(file_hash(path), expected, path, place)


def _changed(path: Path, note: str) -> DiagnosticError:
    message = f"`{path}` is not the file that the run wrote"
    return DiagnosticError(Diagnostic("D416", message, notes=(note,), help=RESTORE))
