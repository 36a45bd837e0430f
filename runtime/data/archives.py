"""Files of arrays as numpy writes them, .npy and .npz.

Arrays of objects are never read: unpickling would run code that a file may hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.conventions.axes import rearrangement
from bayesnas.runtime.data.conventions.keys import examples_key
from bayesnas.runtime.data.conventions.numbers import numbers
from bayesnas.runtime.tasks.parts import Array, wrong


def read_examples(path: Path, shape: Shape, port: str = "", single: str = "") -> tuple[Tensor, str]:
    """The examples [N, *shape] in an .npy file, or those in an .npz file; what was done to them.

    Of a network of several inputs, those of one ``port``, after which their array is called; of a
    ``single`` one it may be.

    One example without the axis of examples is taken as well; axes are moved as for a training.
    Bytes stay bytes.

    Raises:
        DiagnosticError: D505 (they have another shape), D510 (file), D511 (no array of examples),
            D512 (type), D513 (numbers that are none).
    """
    place = f"`{path}`"
    with opened(path) as stream:
        file = _loaded(path, stream, "save it with `numpy.save(FILE, x)`")
        if port and not isinstance(file, np.lib.npyio.NpzFile):
            remedy = "save an .npz file with an array for each input"
            raise wrong(place, "D511", f"holds a single array, not `{port}`", remedy)
        if isinstance(file, np.lib.npyio.NpzFile):
            key = port or (single if single in file.files else examples_key(place, file.files))
            if key not in file.files:
                remedy = f"save the examples by port: `numpy.savez(FILE, {port}=...)`"
                raise wrong(place, "D511", f"has no array `{port}`", remedy)
            place = f"`{key}` in {place}"
            file = member(place, file, key)
    for array in (file, file[None]):
        own = tuple(array.shape[1:])
        change = rearrangement(own, shape)
        if own == shape or change is not None:
            inputs = torch.from_numpy(numbers(place, array))
            return (inputs, "") if change is None else (change.of(inputs), change.said)
    what = f"is {list(file.shape)}, the network takes {list(shape)}"
    raise wrong(place, "D505", what, f"save the examples as [N, {', '.join(map(str, shape))}]")


def read_all(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file by their names.

    Raises:
        DiagnosticError: D510 (file), D512 (an array of objects).
    """
    with opened(path) as stream:
        file = archive(path, stream)
        return {key: member(f"`{key}` in `{path}`", file, key) for key in file.files}


def opened(path: Path) -> BinaryIO:
    """A file to be read by what follows.

    Raises:
        DiagnosticError: D510 (missing, or not to be opened).
    """
    if not path.is_file():
        remedy = "name a file that `numpy.savez` wrote"
        raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy))
    try:
        return path.open("rb")
    except OSError as error:
        reason = reason_of(error)
        raise wrong(f"`{path}`", "D510", "cannot be opened", "make it readable", reason) from None


def archive(path: Path, stream: BinaryIO) -> Any:
    """An archive of arrays, of which `member` reads one.

    Raises:
        DiagnosticError: D510 (broken, or a single array).
    """
    remedy = "save it with `numpy.savez(FILE, x=x, y=y)`"
    file = _loaded(path, stream, remedy)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise wrong(f"`{path}`", "D510", "holds a single array, not `x` and `y`", remedy)
    return file


def _loaded(path: Path, stream: BinaryIO, remedy: str) -> Any:
    """The array in a file of numpy's, or its archive of arrays."""
    try:
        return np.load(stream, allow_pickle=False)
    except Exception as error:  # numpy and zipfile raise many kinds for a broken file
        kind = path.suffix.lower() if path.suffix.lower() == ".npy" else ".npz"
        raise wrong(
            f"`{path}`", "D510", f"is not an {kind} file", remedy, reason_of(error)
        ) from None


def member(place: str, file: Mapping[str, Array], key: str) -> Array:
    """An array of an archive; ``place`` names it in diagnostics.

    Raises:
        DiagnosticError: D510 (broken), D512 (of objects).
    """
    remedy = "save an array of numbers, `astype(float)`, or of texts, `astype(str)`"
    objects = wrong(place, "D512", "holds Python objects, not numbers", remedy)
    try:
        array = file[key]
    except Exception as error:  # as above, and zlib too
        if "allow_pickle" in str(error):
            raise objects from None
        remedy = "save the file again"
        raise wrong(place, "D510", "cannot be read", remedy, reason_of(error)) from None
    if not isinstance(array, np.ndarray):  # something else that was put into the archive
        raise objects
    return array


def reason_of(error: Exception) -> str:
    """What an error of another library says, as a note."""
    text = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    if "allow_pickle" in text:  # what numpy says of all that it does not know
        return "it does not begin as such a file does"
    return text[:1].lower() + text[1:]
