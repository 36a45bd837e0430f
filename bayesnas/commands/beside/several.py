"""A start for several inputs and outputs: which array is which, and what stands in the spec."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.dsl.words import KEYWORDS

if TYPE_CHECKING:
    from bayesnas.runtime.data.dataset import Data

_OWN: Final = ("layers", "width", "joined", "body")  # names that the start has itself


def data_of_ports(path: Path, outputs: Sequence[str]) -> tuple[Data, tuple[str, ...]]:
    """The arrays of an .npz file: those of ``outputs`` are predicted, the others are read.

    Arrays [N] that are not predicted are left out: no input takes them.

    Returns:
        The data, and the names of its inputs.

    Raises:
        DiagnosticError: D510 (file), D511 (no such array, or none besides), D520 (a name that no
            port can have), and what `data_of_arrays` raises.
    """
    from bayesnas.runtime.data.archives import read_all
    from bayesnas.runtime.data.arrays import data_of_arrays

    whole = read_all(path)
    ends = {f"{name}{end}" for name in whole for end in ("_test", "_val")}
    inputs = _inputs(path, {n: array.ndim for n, array in whole.items() if n not in ends}, outputs)
    ports = (*inputs, *outputs)
    end = next((end for end in ("_test", "_val") if {n + end for n in ports} <= {*whole}), None)
    x, y = ({name: whole[name] for name in names} for names in (inputs, outputs))
    if end is None:
        return data_of_arrays(x, y, name=str(path)), inputs
    x_test, y_test = ({n: whole[n + end] for n in names} for names in (inputs, outputs))
    return data_of_arrays(x, y, x_test, y_test, name=str(path)), inputs


def _inputs(path: Path, dimensions: Mapping[str, int], outputs: Sequence[str]) -> tuple[str, ...]:
    """The names of the arrays that are read; of all, the ``dimensions`` are given.

    Raises:
        DiagnosticError: D511, D520, as above.
    """
    held = (f"it has {quote(dimensions)}",) if dimensions else ()
    if missing := [name for name in outputs if name not in dimensions]:
        message, remedy = f"`{path}` has no array {quote(missing)}", "name those that are predicted"
        raise DiagnosticError(Diagnostic("D511", message, notes=held, help=remedy))
    inputs = tuple(name for name, n in dimensions.items() if n > 1 and name not in outputs)
    if not inputs:
        message = f"`{path}` has no array to predict {quote(outputs)} from"
        remedy = "save one, [N, features] or of more dimensions"
        raise DiagnosticError(Diagnostic("D511", message, notes=held, help=remedy))
    if odd := [name for name in (*inputs, *outputs) if not _is_port(name)]:
        message = f"{quote(odd)} in `{path}` cannot be the name of a port"
        remedy = "save each array under a plain name, a letter and letters, digits and `_` behind"
        raise DiagnosticError(Diagnostic("D520", message, help=remedy))
    return inputs


def _is_port(name: str) -> bool:
    return bool(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)) and name not in (*KEYWORDS, *_OWN)


def ports_text(inputs: Mapping[str, tuple[int, ...]], answers: Mapping[str, int]) -> dict[str, str]:
    """What `starts/ports.txt` needs: the ports, and how each input is read and each output told."""
    lines = [line for name, shape in inputs.items() for line in _read(name, shape)]
    joined = ", ".join(f"read_{name}" for name in inputs)
    lines += [f"joined = concat({joined})" if len(inputs) > 1 else f"joined = {joined} : skip"]
    lines += ["body = stack(joined; layers = layers, width = width)"]
    lines += [f"body -> {name} : dropout(10) >> linear({size})" for name, size in answers.items()]
    return {
        "inputs": ", ".join(f"{name}: {list(shape)}" for name, shape in inputs.items()),
        "answers": ", ".join(f"{name}: [{size}]" for name, size in answers.items()),
        "body": "\n".join(f"    {line}" for line in lines),
        "reader": start_text("reader") if any(len(s) > 1 for s in inputs.values()) else "",
    }


def _read(name: str, shape: Sequence[int]) -> list[str]:
    if len(shape) == 1:
        return [f"read_{name} = {name} : linear(width) >> bn"]
    begin = stem(min(shape[1:])) if len(shape) == 3 else stem(0)
    return [f"of_{name} = {name} : {begin}", f"read_{name} = reader(of_{name}; width = width)"]


def start_text(name: str) -> str:
    """The template of a start."""
    return files("bayesnas.commands.beside").joinpath(f"starts/{name}.txt").read_text("utf-8")


def stem(side: int) -> str:
    """Operations before the cells, which see 32 pixels at most."""
    plain, halving = "conv(3, width) >> bn", "conv(3, width, stride = 2) >> bn"
    halvings = 0
    while side > 32:
        side, halvings = side // 2, halvings + 1
    return " >> relu >> ".join([halving] * halvings or [plain])
