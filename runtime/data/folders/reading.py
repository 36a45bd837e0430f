"""Image files read to pixels of one shape, or refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.examples import numbers
from bayesnas.runtime.data.folders.images import MODES, ImageError, Picture, read_picture
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.registry import FITS, DataOptions, Request

_SHOWN: Final = 5  # of many files
READERS: Final = min(8, os.cpu_count() or 1)  # each holds a decoded image


def check_shape(shape: Shape) -> None:
    """Refuse a network for which image files cannot be read.

    Raises:
        DiagnosticError: D505.
    """
    if len(shape) != 3:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                f"image files are [channels, height, width], the network takes {list(shape)}",
                help="declare the input as an image, or save the data as arrays: `npz:FILE`",
            )
        )
    if shape[0] not in MODES:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                f"image files have 1 or 3 channels, the network takes {shape[0]}",
                help="declare the image with 1 channel (grey) or 3 (colour)",
            )
        )


@frozen
class Reader:
    """Reads image files to pixels of one shape."""

    shape: Shape
    options: DataOptions
    findings: Findings

    def read(self, paths: Sequence[Path]) -> list[Picture | ImageError]:
        """Each of them, or why it cannot be read."""
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._read, paths))

    def _read(self, path: Path) -> Picture | ImageError:
        return read_one(path, self.shape, self.options)


def read_one(
    path: Path, shape: Shape, options: DataOptions, whole: bool = False
) -> Picture | ImageError:
    """The picture in a file, of as many channels as the shape [C, H, W], or why there is none.

    ``whole`` leaves it of its own size.
    """
    channels, height, width = shape
    size = (height, width) if options.resizes and not whole else None
    try:
        return read_picture(path, channels, size, options.fit or FITS[0])
    except ImageError as error:
        return error


def other_size(path: Path | str, own: Shape, request: Request, one_size: bool) -> DiagnosticError:
    """D505: an image is of another shape than the network takes.

    The network may be given that shape, unless sizes vary, or it has learned.
    """
    remedy = "pass `--resize` to fit the images to the network"
    if one_size and request.learned is None:
        remedy = (
            f"declare the image as {list(own)}, or pass `--resize` to fit the images to the spec"
        )
    return DiagnosticError(
        Diagnostic(
            "D505",
            f"`{path}` is {list(own)}, the network takes {list(request.shape)}",
            notes=() if one_size else ("the images are of several sizes",),
            help=remedy,
        )
    )


def unreadable(broken: Sequence[str], name: str) -> DiagnosticError:
    """D504: files of the data called ``name`` that cannot be read, each with its reason."""
    more = (f"and {len(broken) - _SHOWN:,} more",) if len(broken) > _SHOWN else ()
    what = "an image" if len(broken) == 1 else f"{len(broken):,} images"
    return DiagnosticError(
        Diagnostic(
            "D504",
            f"cannot read {what} of `{name}`",
            notes=(*broken[:_SHOWN], *more),
            help="replace the files, or move them out of the class folders",
        )
    )


def stacked(pictures: Sequence[Tensor], shape: Shape, deep: bool) -> Tensor:
    """All pictures [N, C, H, W]: bytes, or shares of the full scale where one is ``deep``."""
    images = torch.empty(len(pictures), *shape, dtype=torch.float32 if deep else torch.uint8)
    for image, picture in zip(images, pictures, strict=True):
        image.copy_(numbers(picture) if deep else picture)
    return images
