"""The data `folder:PATH`: image files in a folder a class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import define
from PIL import Image, ImageOps
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data, Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.tasks.classification import Classification

_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_MODES: Final = {1: "L", 3: "RGB"}


def load(request: Request) -> Data:
    """Images of ``PATH/train/CLASS/`` and ``PATH/test/CLASS/``, as bytes of the network's shape.

    Raises:
        DiagnosticError: D502 (a folder is missing), D503 (no images), D504 (an image cannot be
            read), D505 (its shape), D506 (other classes in the test part).
    """
    name, root = request.name, Path(request.argument)
    shape, resize = request.shape, request.options.resize
    _check_shape(shape)
    classes = _classes(root)
    train, test = (
        _read_part(name, root / part, classes, shape, resize) for part in ("train", "test")
    )
    return Data.of(name, Classification(tuple(classes)), train, test)


def _check_shape(shape: Shape) -> None:
    if len(shape) != 3:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                f"image files are [channels, height, width], the network takes {list(shape)}",
                help="declare the input as an image, or save the data as arrays: `npz:FILE`",
            )
        )
    if shape[0] not in _MODES:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                f"image files have 1 or 3 channels, the network takes {shape[0]}",
                help="declare the image with 1 channel (grey) or 3 (colour)",
            )
        )


def _classes(root: Path) -> list[str]:
    """The folders in ``train``, by name."""
    for part in ("train", "test"):
        if not (root / part).is_dir():
            remedy = "lay out `PATH/train/CLASS/*.png` and `PATH/test/CLASS/*.png`"
            raise DiagnosticError(Diagnostic("D502", f"no folder `{root / part}`", help=remedy))
    classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())
    extra = sorted({p.name for p in (root / "test").iterdir() if p.is_dir()} - set(classes))
    if extra:
        raise DiagnosticError(
            Diagnostic(
                "D506",
                f"`{root / 'test'}` has classes that `train` has not: {quote(extra[:5])}",
                help="give both the same class folders",
            )
        )
    return classes


def _read_part(name: str, folder: Path, classes: Sequence[str], shape: Shape, resize: bool) -> Part:
    by_class = [list(_images(folder / name_)) for name_ in classes]
    files = [(path, n) for n, paths in enumerate(by_class) for path in paths]
    if not files:
        raise _no_images(folder, classes)
    if folder.name == "train" and not all(by_class):
        raise _no_images(folder / classes[by_class.index([])], classes)
    images = torch.empty((len(files), *shape), dtype=torch.uint8)
    reader = _Reader(name, shape, resize)
    with ThreadPoolExecutor() as pool:
        for k, image in enumerate(pool.map(reader.read, (path for path, _ in files))):
            images[k] = image
    return Part(images, torch.tensor([label for _, label in files]))


def _no_images(folder: Path, classes: Sequence[str]) -> DiagnosticError:
    endings = ", ".join(sorted(_ENDINGS))
    return DiagnosticError(
        Diagnostic(
            "D503",
            f"no images in `{folder}`",
            notes=(f"class folders: {quote(classes[:8]) or 'none'}; endings: {endings}",),
            help="put images into a folder for each class",
        )
    )


def _images(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in _ENDINGS)


@define
class _Reader:
    """Reads one image file to bytes [C, H, W]."""

    name: str
    shape: Shape
    resize: bool

    def read(self, path: Path) -> Tensor:
        channels, height, width = self.shape
        try:
            with Image.open(path) as file:
                image = file.convert(_MODES[channels])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DiagnosticError(
                Diagnostic(
                    "D504",
                    f"cannot read the image `{path}`",
                    notes=(str(error).splitlines()[0] if str(error) else type(error).__name__,),
                    help="replace the file, or move it out of the class folder",
                )
            ) from None
        if self.resize:
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        if image.size != (width, height):
            found = [channels, image.size[1], image.size[0]]
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"`{path}` is {found}, the network takes {list(self.shape)}",
                    help=f"declare the image as {found}, or pass `--resize` to fit the images "
                    "to the spec",
                )
            )
        array = np.array(image, dtype=np.uint8).reshape(height, width, channels)
        return torch.from_numpy(array).permute(2, 0, 1)
