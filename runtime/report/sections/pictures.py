"""Inputs, targets and answers of examples as small images that a page holds, and in words."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bayesnas.runtime.jobs.maps import palette
from bayesnas.runtime.tasks.parts import Map

LARGEST: Final = 160  # pixels of a side: what a page shows at once stays small
COLOURS: Final = (1, 3)  # channels of what is shown as it is
_NAMED: Final = 3  # classes in words


def image_address(pixels: Tensor) -> str:
    """Of an image [C, H, W] of one or three channels, bytes or numbers of any scale."""
    array = pixels.cpu().numpy()
    if array.dtype != np.uint8:
        array = _bytes(array, float(array.min()), float(array.max()))
    return _address(array.transpose(1, 2, 0))


def map_addresses(maps: Sequence[Map]) -> list[str]:
    """Of maps of the same kind, the first the target: in one scale of colours.

    What is not known is transparent. Of other than one or three channels the first is shown.
    """
    if maps[0].classes:
        colours = np.array(palette(len(maps[0].classes)), np.uint8).reshape(-1, 3)
        return [_address(_with_alpha(colours[one.values], one.values >= 0)) for one in maps]
    shown = [one.values[: 1 if len(one.values) not in COLOURS else None] for one in maps]
    low, high = (0.0, 1.0) if maps[0].bytes else _range(shown[0])
    pixels = [_bytes(np.nan_to_num(values), low, high).transpose(1, 2, 0) for values in shown]
    known = [np.isfinite(values).min(axis=0) for values in shown]
    return [
        _address(_with_alpha(np.broadcast_to(p, (*p.shape[:2], 3)), k))
        for p, k in zip(pixels, known, strict=True)
    ]


def map_text(one: Map) -> str:
    """``square 61%, nothing 39%`` of classes, the least, mean and greatest number of others."""
    if one.classes:
        marks, counts = np.unique(one.values[one.values >= 0], return_counts=True)
        largest = np.argsort(-counts, kind="stable")[:_NAMED]
        shares = [f"{one.classes[marks[k]]} {counts[k] / counts.sum():.0%}" for k in largest]
        return ", ".join(shares) or "nothing is known"
    known = one.values[np.isfinite(one.values)]
    if known.size == 0:
        return "nothing is known"
    return f"from {known.min():.3g} to {known.max():.3g}, {known.mean():.3g} in the mean"


def partly_known(one: Map) -> bool:
    """Whether some of its places are not known."""
    known = one.values >= 0 if one.classes else np.isfinite(one.values)
    return not bool(known.all())


def class_colours(classes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names of classes and the colours that maps have them in."""
    colours = np.array(palette(len(classes))).reshape(-1, 3).tolist()
    return tuple(
        (name, f"rgb({r}, {g}, {b})") for name, (r, g, b) in zip(classes, colours, strict=True)
    )


def _range(values: NDArray[Any]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def _bytes(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    shares = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    return np.round(255 * shares.clip(0, 1)).astype(np.uint8)


def _with_alpha(colours: NDArray[np.uint8], known: NDArray[Any]) -> NDArray[np.uint8]:
    return np.dstack([colours, np.where(known, 255, 0).astype(np.uint8)])


def _address(pixels: NDArray[np.uint8]) -> str:
    """Of pixels [H, W, C] as PNG, made smaller where they are large."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
