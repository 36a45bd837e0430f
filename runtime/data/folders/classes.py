"""The data `folder:PATH`: image files in a folder a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from attrs import define, field, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part, numbers
from bayesnas.runtime.data.folders.images import ENDINGS, MODES, ImageError, Picture, read_picture
from bayesnas.runtime.data.folders.layout import Layout, litter
from bayesnas.runtime.data.registry import FITS, DataOptions, Request
from bayesnas.runtime.data.splits import reserve_test
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task

_SHOWN: Final = 5  # of many files or folders
_READERS: Final = min(8, os.cpu_count() or 1)  # each holds a decoded image


def load(request: Request) -> Data:
    """Images of ``PATH/train/CLASS/`` and ``PATH/test/CLASS/``, those of folders inside included.

    ``val`` stands in for a missing ``test``; without either, or with ``PATH/CLASS/`` alone, a
    fifth of the images is the test part. Bytes of the network's shape; where a file has 16 bits a
    pixel, all are shares of the full scale instead.

    Raises:
        DiagnosticError: D502 (a folder is missing), D503 (no images), D504 (images cannot be
            read), D505 (their shape), D506 (other classes in the test part), D514 (a single class,
            or images).
    """
    root = Path(request.argument)
    check_shape(request.shape)
    if request.learned is not None:
        return _to_judge(request, root, request.learned)
    layout, findings = Layout.of(root), Findings()
    parts, notes = _parts(layout, findings)
    train, test = _read(request, parts, findings)
    note = "; ".join([*notes, *findings.texts()])
    return Data.of(request.name, Classification(layout.classes), train, test, "shift", note)


def _to_judge(request: Request, root: Path, learned: Task) -> Data:
    layout, findings = Layout.to_judge(root, learned.strata_names), Findings()
    files = _files(layout.train, layout.classes, findings)
    [part] = _read(request, [files], findings)
    note = "; ".join([*_asides(layout), *findings.texts()])
    return Data.to_judge(request.name, learned, part, note)


def _read(request: Request, parts: Sequence[_Files], findings: Findings) -> list[Part]:
    """The images of some parts; where one has 16 bits a pixel, all are shares of full scale."""
    reader = Reader(request.shape, request.options, findings)
    pictures = iter(reader.read_all([path for files in parts for path, _ in files], request))
    read = [[next(pictures) for _ in files] for files in parts]
    deep = any(picture.is_floating_point() for images in read for picture in images)
    return [
        Part(stacked(images, request.shape, deep), torch.tensor([label for _, label in files]))
        for images, files in zip(read, parts, strict=True)
    ]


@define
class Findings:
    """What lies in the folders besides plain images, and what was done to these."""

    skipped: Counter[str] = field(factory=Counter)  # by reason
    remarks: Counter[str] = field(factory=Counter)  # of images
    arrays: Counter[str] = field(factory=Counter)  # remarks of files of arrays

    def texts(self) -> list[str]:
        """In words, with numbers."""
        lines = [
            f"{count:,} {what}{'s' if count > 1 else ''}: {remark}"
            for what, remarks in (("image", self.remarks), ("file", self.arrays))
            for remark, count in remarks.items()
        ]
        lines += [f"skipped: {count:,} {reason}" for reason, count in (+self.skipped).items()]
        return lines


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


# ----------------------------------------------------------------------------------------- files


_Files: TypeAlias = list[tuple[Path, int]]


def _parts(layout: Layout, findings: Findings) -> tuple[tuple[_Files, _Files], list[str]]:
    """The files for training and testing with the numbers of their classes, and what to say."""
    notes = _asides(layout)
    files = _files(layout.train, layout.classes, findings, every=True)
    if layout.test is not None:
        return (files, _files(layout.test, layout.classes, findings)), notes
    labels = np.array([label for _, label in files])
    fit, held = ([files[k] for k in p] for p in reserve_test(labels, f"`{layout.train}`"))
    notes.append(
        f"there is no `test`: {len(held):,} of the {len(files):,} images, "
        "of every class a fifth and in every run the same, are the test part"
    )
    return (fit, held), notes


def _asides(layout: Layout) -> list[str]:
    """What is said of a layout."""
    unused = [
        f"`{part.name}` is not used: {len(images_below(part, Findings())):,} images"
        for part in layout.unused
    ]
    return [layout.note, *unused] if layout.note else unused


def _files(part: Path, classes: Sequence[str], findings: Findings, every: bool = False) -> _Files:
    """Every image of a part with the number of its class; of ``every`` class, or of some.

    Raises:
        DiagnosticError: D503.
    """
    for path in part.iterdir():
        if path.is_dir():
            findings.skipped["hidden folders"] += litter(path.name)
        elif path.suffix.lower() in ENDINGS:
            findings.skipped["images beside the class folders"] += 1
    by_class = [images_below(part / name, findings) for name in classes]
    files = [(path, number) for number, paths in enumerate(by_class) for path in paths]
    if not files:
        raise _no_images(part, classes)
    if every and not all(by_class):
        raise _no_images(part / classes[by_class.index([])], classes)
    return files


def images_below(folder: Path, findings: Findings) -> list[Path]:
    """The images below a folder, in order."""
    images = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not litter(name))
        for name in sorted(names):
            if litter(name) or Path(name).suffix.lower() not in ENDINGS:
                findings.skipped["files that are no images"] += 1
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
class Reader:
    """Reads image files to pixels of one shape."""

    shape: Shape
    options: DataOptions
    findings: Findings

    def read_all(self, paths: Sequence[Path], request: Request) -> list[Tensor]:
        """All of the data asked for, or a diagnostic that names those that cannot be read.

        Raises:
            DiagnosticError: D504, D505.
        """
        results = self.read(paths)
        broken = [
            f"`{path}`: {result}"
            for path, result in zip(paths, results, strict=True)
            if isinstance(result, ImageError)
        ]
        if broken:
            raise unreadable(broken, request.name)
        pictures = [result for result in results if isinstance(result, Picture)]
        one_size = len({picture.pixels.shape for picture in pictures}) == 1
        for path, picture in zip(paths, pictures, strict=True):
            self._check(path, picture, one_size, trained=request.learned is not None)
            self.findings.remarks.update(picture.remarks)
        return [picture.pixels for picture in pictures]

    def read(self, paths: Sequence[Path]) -> list[Picture | ImageError]:
        """Each of them, or why it cannot be read."""
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(self._read, paths))

    def _read(self, path: Path) -> Picture | ImageError:
        channels, height, width = self.shape
        size = (height, width) if self.options.resizes else None
        try:
            return read_picture(path, channels, size, self.options.fit or FITS[0])
        except ImageError as error:
            return error

    def _check(self, path: Path, picture: Picture, one_size: bool, trained: bool) -> None:
        """Refuse another shape; a network may be given it unless sizes vary, or it has learned."""
        shape = tuple(picture.pixels.shape)
        if shape != self.shape:
            remedy = "pass `--resize` to fit the images to the network"
            if one_size and not trained:
                remedy = (
                    f"declare the image as {list(shape)}, or pass `--resize` to fit the images "
                    "to the spec"
                )
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"`{path}` is {list(shape)}, the network takes {list(self.shape)}",
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
