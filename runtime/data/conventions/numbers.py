"""The numbers of examples, as people save them: of which type, and how many axes."""

from __future__ import annotations

from typing import Final

import numpy as np

from bayesnas.runtime.tasks.parts import Array, wrong

# What to do with arrays of no numbers, by the kind of their type.
_ENCODINGS: Final = {
    "c": "save real and imaginary parts as channels: `np.stack([x.real, x.imag], 1)`",
    "M": "save seconds: `x.astype('datetime64[s]').astype(float)`",
    "V": "save the fields as columns: `numpy.lib.recfunctions.structured_to_unstructured(x)`",
}
_LAYOUTS: Final = "[N, features], [N, channels, length] or [N, channels, height, width]"


def numbers(place: str, array: Array) -> Array:
    """The numbers of examples, contiguous: bytes stay bytes, others become floating point.

    Args:
        place: names them in diagnostics.
        array: [N, features], [N, channels, length] or [N, channels, height, width].

    Raises:
        DiagnosticError: D512 (type or shape), D513 (numbers that are not finite).
    """
    if array.dtype.kind not in "biuf":
        remedy = _ENCODINGS.get(array.dtype.kind, "encode it as numbers")
        raise wrong(place, "D512", f"holds `{array.dtype}`, not numbers", remedy)
    if not 2 <= array.ndim <= 4:
        raise wrong(place, "D512", f"is {list(array.shape)}", f"save it as {_LAYOUTS}")
    if array.size == 0:
        raise wrong(place, "D512", f"is empty: {list(array.shape)}", "save some examples")
    if array.dtype != np.uint8:
        small = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
        array = array.astype(np.float32 if small else np.float64)
    if array.dtype != np.uint8:
        _check_range(place, array)
    return np.ascontiguousarray(array)


def _check_range(place: str, array: Array) -> None:
    """Refuse numbers that are not finite in 32 bits, in which networks compute.

    Raises:
        DiagnosticError: D513.
    """
    unknown = ~np.isfinite(array)
    if unknown.any():
        count = int(unknown.sum())
        what = f"{count:,} numbers that are not finite" if count > 1 else "a NaN or infinity"
        remedy = "fill them in, or leave those examples out"
        raise wrong(place, "D513", f"has {what}", remedy, _first(unknown))
    with np.errstate(over="ignore"):
        large = ~np.isfinite(array.astype(np.float32))
    if large.any():
        what = f"has {array[large][0]:g}, which is too large for the 32 bits of a network's numbers"
        raise wrong(place, "D513", what, "divide all by the same number", _first(large))


def _first(bad: Array) -> str:
    example = int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
    return f"the first stands in example {example} (counted from 0)"
