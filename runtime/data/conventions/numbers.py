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
    with np.errstate(over="ignore"):  # networks compute in 32 bits
        bad = ~np.isfinite(array.astype(np.float32)) if array.dtype != np.uint8 else array[:0]
    if bad.any():
        count = int(bad.sum())
        first = int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])
        raise wrong(
            place,
            "D513",
            f"has {count:,} numbers that are not finite" if count > 1 else "has a NaN or infinity",
            "fill them in, or leave those examples out",
            f"the first stands in example {first} (counted from 0)",
        )
    return np.ascontiguousarray(array)
