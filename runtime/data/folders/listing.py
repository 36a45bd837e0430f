"""Image files below folders: found fast, and named by few bytes each."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from attrs import define, field, frozen
from torch import Tensor

from bayesnas.runtime.data.folders.images import ENDINGS
from bayesnas.runtime.data.folders.layout import litter
from bayesnas.runtime.tasks.parts import Array


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


@frozen(eq=False, repr=False)
class Files(Sequence[Path]):
    """Paths of files, one after the other: about 12 bytes each besides those of the name.

    Args:
        folders: that hold them.
        names: of all files, joined, as the system has them.
        ends: of each name in ``names``, int64 [N].
        places: of the folder of each in ``folders``, int32 [N].
    """

    folders: tuple[str, ...]
    names: bytes
    ends: Array
    places: Array

    @classmethod
    def joined(cls, parts: Iterable[Files]) -> Files:
        """Those of all parts, one after the other."""
        folders: list[str] = []
        names, ends, places = bytearray(), [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for part in parts:
            ends.append(part.ends + len(names))
            places.append(part.places + np.int32(len(folders)))
            names += part.names
            folders += part.folders
        return cls((*folders,), bytes(names), np.concatenate(ends), np.concatenate(places))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start = int(self.ends[index - 1]) if index else 0
        name = os.fsdecode(self.names[start : int(self.ends[index])])
        return Path(self.folders[self.places[index]], name)


@frozen
class Labelled:
    """Files of images, with a target each.

    Args:
        files: some of these.
        places: which of them, int64 [N].
        targets: [N, ...].
    """

    files: Sequence[Path] = field(repr=False)
    places: Array = field(eq=False, repr=False)
    targets: Tensor = field(eq=False, repr=False)

    def subset(self, positions: Array) -> Labelled:
        """Those at these positions [M]."""
        return Labelled(self.files, self.places[positions], self.targets[positions])


def images_below(folder: Path, findings: Findings) -> Files:
    """The images below a folder, in order: those in it by their names, then those of its folders.

    What is passed over is added to the findings. Folders that cannot be read count as empty, and
    links to folders are not followed, so that no circle is.
    """
    folders: list[str] = []
    names, ends, places = bytearray(), array("q"), array("i")
    waiting = [str(folder)]
    while waiting:
        where = waiting.pop()
        images, inside, others = _in_folder(where)
        findings.skipped["files that are no images"] += others
        waiting += [os.path.join(where, name) for name in reversed(inside)]  # noqa: PTH118 - fast
        for name in images:
            names += os.fsencode(name)
            ends.append(len(names))
        places.extend([len(folders)] * len(images))
        folders.append(where)
    numbers: list[Array] = [np.array(ends, np.int64), np.array(places, np.int32)]
    return Files((*folders,), bytes(names), *numbers)


def _in_folder(where: str) -> tuple[list[str], list[str], int]:
    """Names of the images and of the folders in one, sorted, and the number of other files."""
    images, inside, others = [], [], 0
    for entry in _entries(where):
        name = entry.name
        if entry.is_dir():
            if not litter(name) and not entry.is_symlink():
                inside.append(name)
        elif litter(name) or os.path.splitext(name)[1].lower() not in ENDINGS:  # noqa: PTH122
            others += 1
        else:
            images.append(name)
    return sorted(images), sorted(inside), others


def _entries(where: str) -> Iterable[os.DirEntry[Any]]:
    try:
        with os.scandir(where) as entries:
            yield from entries
    except OSError:
        return
