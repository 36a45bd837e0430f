"""Where the data of a run lies, so that it is found from other directories and after a move."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.registry import LEVELS, DataOptions, source_of

_GONE = frozenset({"D501", "D502", "D510"})  # no such data, folder or file


def located(name: str) -> str:
    """The name of data with its path, if it has one, from the root of the file system."""
    word, path = _parted(name)
    return f"{word}:{Path(path).absolute()}" if path else name


def data_places(name: str, options: DataOptions, out: Path) -> dict[str, Any]:
    """What ``settings.json`` says of where the data lies, besides its name.

    ``data_paths`` are the path in the name from the root of the file system and, where there is a
    way, from the run's folder; ``data_root`` is where downloads lie.
    """
    _, path = _parted(name)
    paths = []
    if path:
        paths.append(str(Path(path).absolute()))
        with contextlib.suppress(ValueError):  # on another drive
            paths.append(os.path.relpath(Path(path).resolve(), out.resolve()))
    return {"data_paths": paths, "data_root": str(options.root.absolute())}


def is_own(settings: Mapping[str, Any], name: str) -> bool:
    """Whether data of that name lies where that of the run lay, whatever it holds by now."""
    word, path = _parted(name)
    paths = settings["data_paths"]
    own = str(settings["data"]).partition(":")[0] == word
    return bool(own and path and paths) and str(Path(path).absolute()) == paths[0]


def own_data(
    settings: Mapping[str, Any], out: Path, options: DataOptions
) -> tuple[str, DataOptions]:
    """The name of the data of a run with the path where it lies now, and how it was read then.

    Args:
        settings: the run's ``settings.json``.
        out: its folder.
        options: what the user says now; where downloads lie is that of the run, unless said.
    """
    name = str(settings["data"])
    word = name.partition(":")[0]
    places = [out / place for place in settings["data_paths"]]
    if places:
        name = f"{word}:{next((p for p in places if p.exists()), places[0])}"
    root = options.root
    if root == DataOptions().root:
        root = Path(settings["data_root"])
    fit = settings["fit"] if settings["resize"] else None
    read = {"target": tuple(settings.get("target", ())), "level": settings.get("level", LEVELS[0])}
    return name, evolve(options, resize=settings["resize"], fit=fit, root=root, **read)


def moved(error: DiagnosticError, name: str) -> DiagnosticError:
    """What went wrong with the data of a run; where that is not found, what to do.

    ``name`` is what the user called it.
    """
    note = f"the run was made with `{name}`"
    remedy = "say where the data lies now: `--data`"
    said = [
        evolve(d, notes=(*d.notes, note), help=remedy) if d.code in _GONE else d
        for d in error.diagnostics
    ]
    return DiagnosticError(*said, status=error.status)


def _parted(name: str) -> tuple[str, str]:
    """The word of a source, and its path, if it has one: what a plugin takes may be none."""
    word, _, path = name.partition(":")
    source = source_of(name)
    if source is None or not source.argument:
        return word, ""
    return word, path if source.own is None or Path(path).exists() else ""
