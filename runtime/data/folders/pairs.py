"""Pairs of files: images, and for each a mask or a target image of the same name.

A mask is a grey or palette image whose numbers are classes: 255 is what counts for nothing, and
masks of 0 and 255 alone have two classes. Colour images are targets themselves: numbers to be
predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle, quote
from bayesnas.runtime.data.arrays import data_of_parts
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.folders.images import ImageError, picture_size, read_map
from bayesnas.runtime.data.folders.layout import ROLES, no_folder
from bayesnas.runtime.data.folders.listing import Findings, Labelled, images_below
from bayesnas.runtime.data.folders.reading import check_shape, unreadable
from bayesnas.runtime.data.folders.survey import survey
from bayesnas.runtime.data.registry import FITS, Request
from bayesnas.runtime.tasks.bundle import by_port
from bayesnas.runtime.tasks.parts import Array

_IMAGES: Final = ("images", "image", "imgs", "inputs")
_TARGETS: Final = ("masks", "mask", "labels", "annotations", "targets", "target")
_ENDS: Final = tuple(f"_{word}" for word in ("mask", "label", "labels", "target", "gt", "seg"))
_SHOWN: Final = 5
_WHITE: Final = 255


@frozen
class Pairs:
    """The folders of a part: ``images``, and the ``targets`` of the same names."""

    images: Path
    targets: Path

    def files(self, findings: Findings) -> list[tuple[Path, Path]]:
        """Each image with its target, in the order of the names.

        Raises:
            DiagnosticError: D503 (no images), D522 (an image without a target, or the other way,
                or two of one name).
        """
        images, targets = (_named(folder, findings) for folder in (self.images, self.targets))
        if not images:
            remedy = f"put images there, and into `{self.targets}` one of the same name for each"
            raise DiagnosticError(Diagnostic("D503", f"no images in `{self.images}`", help=remedy))
        for own, others, folder in (
            (images, targets, self.targets),
            (targets, images, self.images),
        ):
            alone = [str(path) for key, path in own.items() if key not in others]
            if alone:
                several = "files have" if len(alone) > 1 else "file has"
                raise DiagnosticError(
                    Diagnostic(
                        "D522",
                        f"{len(alone):,} {several} no other of the same name in `{folder}`",
                        notes=(quote(alone[:_SHOWN]),),
                        help="give each image its mask or target under its own name, "
                        "or move it away",
                    )
                )
        return [(path, targets[key]) for key, path in images.items()]


def load(request: Request) -> Data:
    """Images and targets of ``PATH/train/images`` and ``PATH/train/masks``, likewise of ``test``.

    ``val`` stands in for ``test``; without either, or with ``PATH/images`` alone, a fifth is held
    out.

    Raises:
        DiagnosticError: D502 (no such folders), D503, D504 (images cannot be read), D505 (their
            shape), D522 (pairs), D423 (they are to be streamed), and what is wrong with the
            targets.
    """
    check_shape(request.shape)
    check_idle(request.options.streamed, "with masks", "leave it out: they are read into memory")
    root, findings, said = Path(request.argument), Findings(), []
    parts = paired_parts(root)
    if request.learned is not None:
        judged = next(role for role in ("test", "val", "train") if role in parts)
        parts, said = {"train": parts[judged]}, [f"`{parts[judged].images}` is judged"]
    names = {"train": "", "test": "_test", "val": "_val"}
    files = {role: pairs.files(findings) for role, pairs in parts.items()}
    images = survey(request, [_images(pairs) for pairs in files.values()], findings, streams=False)
    targets = [_targets(request, pairs) for pairs in files.values()]
    maps = _alike(targets, request.objective == "regression")
    arrays: dict[str, Array] = {}
    for role, part, numbers in zip(files, images.parts, maps.arrays, strict=True):
        arrays["x" + names[role]] = by_port(part.inputs)[""].numpy()
        arrays["y" + names[role]] = numbers
    notes = [*said, *maps.notes, *findings.texts()]
    return data_of_parts(request, arrays, notes)


def paired_parts(root: Path) -> dict[str, Pairs]:
    """The folders of each part, by role; without a training part, those of the root itself.

    Raises:
        DiagnosticError: D502.
    """
    found: dict[str, Pairs] = {}
    for role, words in ROLES.items():
        for word in words:
            inside, outside = _pair(root / word), _pair(root, word)
            pair = inside or outside
            if pair is not None and role not in found:
                found[role] = pair
    if "train" not in found and (whole := _pair(root)) is not None:
        found["train"] = whole
    if "train" not in found:
        remedy = "lay out `PATH/train/images/*.png` and `PATH/train/masks/*.png`, of the same names"
        if not root.is_dir():
            raise no_folder(root, remedy)
        message = f"no images with masks in `{root}`"
        raise DiagnosticError(Diagnostic("D502", message, help=remedy))
    return found


def paired(root: Path) -> bool:
    """Whether these are images with targets, and not classes."""
    try:
        paired_parts(root)
    except DiagnosticError:
        return False
    return True


def glance_of_targets(parts: Mapping[str, Pairs]) -> tuple[list[Path], int]:
    """The images of the training part, and how many classes the masks of all parts have.

    Returns:
        The images' files; 0 classes where the targets are colour images.

    Raises:
        DiagnosticError: D504 (a target cannot be read), and what `Pairs.files` raises.
    """
    files = {role: pairs.files(Findings()) for role, pairs in parts.items()}
    images = [image for image, _ in files["train"]]
    values: set[int] = set()
    for _, path in chain.from_iterable(files.values()):
        try:
            target = read_map(path, None, FITS[0])
        except ImageError as error:
            raise unreadable([f"`{path}`: {error}"], str(parts["train"].targets)) from None
        if target.ndim == 3:
            return images, 0
        values |= {int(value) for value in np.unique(target)}
    return images, max({2, *(value + 1 for value in values if value != _WHITE)})


def _pair(folder: Path, part: str = "") -> Pairs | None:
    """The two folders below one; their folder ``part``, if it is named."""
    images = _first(folder, _IMAGES, part)
    targets = _first(folder, _TARGETS, part)
    return Pairs(images, targets) if images is not None and targets is not None else None


def _first(folder: Path, names: Sequence[str], part: str) -> Path | None:
    paths = (folder / name / part for name in names)
    return next((path for path in paths if path.is_dir()), None)


def _named(folder: Path, findings: Findings) -> dict[str, Path]:
    """The images below a folder, by what they have alike with their targets.

    Raises:
        DiagnosticError: D522 (two of one name).
    """
    named: dict[str, Path] = {}
    for path in images_below(folder, findings):
        other = named.setdefault(_key(path, folder), path)
        if other != path:
            remedy = "move one away: endings and words such as `_mask` do not tell them apart"
            message = f"`{other}` and `{path}` go by the same name"
            raise DiagnosticError(Diagnostic("D522", message, help=remedy))
    return named


def _key(path: Path, folder: Path) -> str:
    """What an image and its target have alike: the name without its ending, and the folder."""
    stem = path.stem
    for end in _ENDS:
        stem = stem.removesuffix(end)
    return str(path.relative_to(folder).with_name(stem))


# ------------------------------------------------------------------------------------- the numbers


def _images(files: Sequence[tuple[Path, Path]]) -> Labelled:
    """The images of a part; what belongs to them is read by itself."""
    return Labelled([image for image, _ in files], np.arange(len(files)), torch.zeros(len(files)))


def _targets(request: Request, files: Sequence[tuple[Path, Path]]) -> list[Array]:
    """The targets of a part, each [H, W] or [3, H, W].

    Raises:
        DiagnosticError: D504, D505.
    """
    targets, broken = [], []
    size = request.shape[1:] if request.options.resizes else None
    for _, path in files:
        try:
            targets.append(read_map(path, size, request.options.fit or FITS[0]))
        except ImageError as error:
            broken.append(f"`{path}`: {error}")
    if broken:
        raise unreadable(broken, request.name)
    if size is not None:
        _check_forms(files)
    for (_, path), target in zip(files, targets, strict=True):
        if target.shape[-2:] != targets[0].shape[-2:]:
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"`{path}` is {_by(target)}, the first of its folder is {_by(targets[0])}",
                    help="pass `--resize` to fit images and masks to the network",
                )
            )
    return targets


def _check_forms(files: Sequence[tuple[Path, Path]]) -> None:
    """Refuse targets that are not their image on another scale: fitted, they would not lie on it.

    Raises:
        DiagnosticError: D505.
    """
    for image, target in files:
        whole, own = picture_size(image), picture_size(target)
        if whole is None or own is None:
            continue  # what is broken is said where it is decoded
        (height, width, _), (own_height, own_width, _) = whole, own
        # Each side of the target may be rounded by a pixel.
        if abs(own_height * width - own_width * height) > max(height, width):
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"`{target}` is {own_height} x {own_width}, "
                    f"its image `{image}` {height} x {width}",
                    help="save each mask or target in the size of its image",
                )
            )


def _by(target: Array) -> str:
    return " x ".join(map(str, target.shape[-2:]))


@frozen
class _Maps:
    """The targets of each part as one array, and what was done to them."""

    arrays: list[Array]
    notes: list[str]


def _alike(parts: Sequence[Sequence[Array]], regression: bool) -> _Maps:
    """Masks [N, H, W] where all are, else pictures [N, 3, H, W]; grey ones are repeated."""
    coloured = any(target.ndim == 3 for targets in parts for target in targets)
    if coloured:
        return _Maps([np.stack([*_coloured(targets)]) for targets in parts], [])
    arrays = [np.stack(targets) for targets in parts]
    values = {int(value) for array in arrays for value in np.unique(array)}
    if regression or values != {0, _WHITE}:
        return _Maps(arrays, [])
    classes = [(array == _WHITE).astype(np.uint8) for array in arrays]
    return _Maps(classes, ["masks of 0 and 255 are taken as the classes 0 and 1"])


def _coloured(targets: Sequence[Array]) -> Iterator[Array]:
    for target in targets:
        yield target if target.ndim == 3 else np.repeat(target[None], 3, axis=0)
