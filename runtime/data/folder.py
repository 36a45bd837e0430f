"""The data `folder:PATH`: image files in a folder a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import torch
from attrs import define, field, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data, Part
from bayesnas.runtime.data.images import ENDINGS, MODES, ImageError, Picture, read_picture
from bayesnas.runtime.data.registry import DataOptions, Request
from bayesnas.runtime.tasks.classification import Classification

_SHOWN: Final = 5  # of many files or folders
_READERS: Final = min(8, os.cpu_count() or 1)  # each holds a decoded image


def load(request: Request) -> Data:
    """Images of ``PATH/train/CLASS/`` and ``PATH/test/CLASS/``, those of folders inside included.

    Bytes of the network's shape; where a file has 16 bits a pixel, all are shares of the full
    scale instead.

    Raises:
        DiagnosticError: D502 (a folder is missing), D503 (no images), D504 (images cannot be
            read), D505 (their shape), D506 (other classes in the test part).
    """
    root = Path(request.argument)
    _check_shape(request.shape)
    census = Census()
    classes = _classes(root, census)
    parts = [_files(root / part, classes, census) for part in ("train", "test")]
    reader = _Reader(request.name, request.shape, request.options, census)
    pictures = [reader.read_all([path for path, _ in files]) for files in parts]
    deep = any(picture.is_floating_point() for part in pictures for picture in part)
    train, test = (
        Part(_stacked(images, request.shape, deep), torch.tensor([label for _, label in files]))
        for images, files in zip(pictures, parts, strict=True)
    )
    note = census.text(classes, train, test)
    return Data.of(request.name, Classification(tuple(classes)), train, test, "shift", note)


@define
class Census:
    """What lies in the folders and what was done to it: for the note at the start of a run."""

    skipped: Counter[str] = field(factory=Counter)  # by reason
    remarks: Counter[str] = field(factory=Counter)  # of images

    def text(self, classes: Sequence[str], train: Part, test: Part) -> str:
        """In words, with numbers."""
        counts = [part.targets.bincount(minlength=len(classes)).tolist() for part in (train, test)]
        shown = [f"{name} {fit} + {held}" for name, fit, held in zip(classes, *counts, strict=True)]
        rest = f" and {len(shown) - 2 * _SHOWN} more" if len(shown) > 2 * _SHOWN else ""
        lines = [
            f"{len(train):,} images to train on and {len(test):,} to test, "
            f"in {len(classes)} classes: {', '.join(shown[: 2 * _SHOWN])}{rest}"
        ]
        empty = [name for name, held in zip(classes, counts[1], strict=True) if not held]
        if empty:
            lines.append(f"the test part has no images of {quote(empty[:_SHOWN])}")
        lines += [f"{count:,} images: {remark}" for remark, count in self.remarks.items()]
        lines += [f"skipped: {count:,} {reason}" for reason, count in self.skipped.items()]
        return "; ".join(lines)


def _check_shape(shape: Shape) -> None:
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


# ----------------------------------------------------------------------------------------- files


def _classes(root: Path, census: Census) -> list[str]:
    """The folders in ``train``, by name."""
    for part in ("train", "test"):
        if not (root / part).is_dir():
            remedy = "lay out `PATH/train/CLASS/*.png` and `PATH/test/CLASS/*.png`"
            raise DiagnosticError(Diagnostic("D502", f"no folder `{root / part}`", help=remedy))
    classes = _folders(root / "train", census)
    extra = sorted(set(_folders(root / "test", census)) - set(classes))
    if extra:
        raise DiagnosticError(
            Diagnostic(
                "D506",
                f"`{root / 'test'}` has classes that `train` has not: {quote(extra[:_SHOWN])}",
                help="give both the same class folders",
            )
        )
    return classes


def _folders(part: Path, census: Census) -> list[str]:
    """Those that may be classes; what programs leave beside them is none."""
    names = sorted(path.name for path in part.iterdir() if path.is_dir())
    census.skipped["hidden folders"] += sum(map(_litter, names))
    return [name for name in names if not _litter(name)]


def _litter(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "__pycache__", "@eaDir")


def _files(part: Path, classes: Sequence[str], census: Census) -> list[tuple[Path, int]]:
    """Every image of a part with the number of its class."""
    by_class = [_images(part / name, census) for name in classes]
    files = [(path, number) for number, paths in enumerate(by_class) for path in paths]
    if not files:
        raise _no_images(part, classes)
    if part.name == "train" and not all(by_class):
        raise _no_images(part / classes[by_class.index([])], classes)
    return files


def _images(folder: Path, census: Census) -> list[Path]:
    """The images below a folder, in order."""
    images = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _litter(name))
        for name in sorted(names):
            if _litter(name) or Path(name).suffix.lower() not in ENDINGS:
                census.skipped["files that are no images"] += 1
            else:
                images.append(Path(where, name))
    return images


def _no_images(folder: Path, classes: Sequence[str]) -> DiagnosticError:
    endings = ", ".join(sorted(ENDINGS))
    return DiagnosticError(
        Diagnostic(
            "D503",
            f"no images in `{folder}`",
            notes=(f"class folders: {quote(classes[:8]) or 'none'}; endings: {endings}",),
            help="put images into a folder for each class, or remove the folder",
        )
    )


# ---------------------------------------------------------------------------------------- pixels


@frozen
class _Reader:
    """Reads image files to pixels of one shape."""

    name: str
    shape: Shape
    options: DataOptions
    census: Census

    def read_all(self, paths: Sequence[Path]) -> list[Tensor]:
        """All of them, or a diagnostic that names those that cannot be read.

        Raises:
            DiagnosticError: D504, D505.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            results = list(pool.map(self._read, paths))
        broken = [
            f"`{path}`: {result}"
            for path, result in zip(paths, results, strict=True)
            if isinstance(result, ImageError)
        ]
        if broken:
            raise self._unreadable(broken)
        pictures = [result for result in results if isinstance(result, Picture)]
        for path, picture in zip(paths, pictures, strict=True):
            self._check(path, picture)
            self.census.remarks.update(picture.remarks)
        return [picture.pixels for picture in pictures]

    def _read(self, path: Path) -> Picture | ImageError:
        channels, height, width = self.shape
        size = (height, width) if self.options.resize else None
        try:
            return read_picture(path, channels, size, self.options.fit)
        except ImageError as error:
            return error

    def _unreadable(self, broken: Sequence[str]) -> DiagnosticError:
        more = (f"and {len(broken) - _SHOWN:,} more",) if len(broken) > _SHOWN else ()
        what = "an image" if len(broken) == 1 else f"{len(broken):,} images"
        return DiagnosticError(
            Diagnostic(
                "D504",
                f"cannot read {what} of `{self.name}`",
                notes=(*broken[:_SHOWN], *more),
                help="replace the files, or move them out of the class folders",
            )
        )

    def _check(self, path: Path, picture: Picture) -> None:
        shape = tuple(picture.pixels.shape)
        if shape != self.shape:
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"`{path}` is {list(shape)}, the network takes {list(self.shape)}",
                    help=f"declare the image as {list(shape)}, or pass `--resize` to fit the "
                    "images to the spec",
                )
            )


def _stacked(pictures: Sequence[Tensor], shape: Shape, deep: bool) -> Tensor:
    """All pictures [N, C, H, W]: bytes, or shares of the full scale where one is ``deep``."""
    images = torch.empty(len(pictures), *shape, dtype=torch.float32 if deep else torch.uint8)
    for image, picture in zip(images, pictures, strict=True):
        image.copy_(picture / 255 if deep and picture.dtype == torch.uint8 else picture)
    return images
