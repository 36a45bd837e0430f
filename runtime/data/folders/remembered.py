"""What a reading of many images found, kept in the user's cache: the next run need not read all.

It holds for the same files (by path, size and time of change) read in the same way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import PIL
import torch
from attrs import field, frozen

from bayesnas.dsl.files import cache_folder, write_text
from bayesnas.runtime.data.examples import raw
from bayesnas.runtime.data.folders.listing import Labelled
from bayesnas.runtime.data.folders.stream import Summary
from bayesnas.runtime.data.registry import FITS, Request

_VERSION: Final = 1  # of what is kept, and of how images are read
_DIGITS: Final = 64  # of a hash


@frozen
class Memory:
    """What was found of all parts.

    Args:
        deep: whether they are shares of the full scale.
        summaries: of each part.
        remarks: how often each was made of an image.
    """

    deep: bool
    summaries: Sequence[Summary]
    remarks: Mapping[str, int] = field(factory=dict)

    def record(self) -> dict[str, Any]:
        """As the file has it."""
        parts = [
            {"mean": s.mean.tolist(), "std": s.std.tolist(), "fingerprint": s.fingerprint}
            for s in self.summaries
        ]
        return {"deep": self.deep, "parts": parts, "remarks": dict(self.remarks)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any], parts: int, channels: int) -> Memory:
        """From what `record` gave.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is no record of as many parts.
        """
        summaries = []
        for entry in record["parts"]:
            mean, std = (torch.tensor([float(x) for x in entry[n]]) for n in ("mean", "std"))
            summaries.append(Summary(mean, std, str(entry["fingerprint"])))
            whole = len(mean) == len(std) == channels and bool((std > 0).all())
            if not whole or len(summaries[-1].fingerprint) != _DIGITS:
                raise ValueError(entry)
        if len(summaries) != parts:
            raise ValueError(record)
        remarks = {str(text): int(count) for text, count in record["remarks"].items()}
        return cls(bool(record["deep"]), summaries, remarks)


def place_of(request: Request, parts: Sequence[Labelled]) -> Path | None:
    """The file that remembers these parts as they are read now; None where there is none.

    Each file is asked for its size and time of change, which takes microseconds.
    """
    folder = cache_folder()
    if folder is None:
        return None
    options = request.options
    fit = (options.fit or FITS[0]) if options.resizes else None
    digest = sha256(repr((_VERSION, PIL.__version__, tuple(request.shape), fit)).encode())
    try:
        for part in parts:
            digest.update(repr(tuple(part.targets.shape)).encode())
            digest.update(raw(part.targets))
            for place in part.places.tolist():
                path = part.files[place].absolute()
                about = path.stat()
                told = f"\0{about.st_size} {about.st_mtime_ns}\n"
                digest.update(os.fsencode(path) + told.encode())
    except OSError:  # it will be told when it is read
        return None
    return folder / f"images-{digest.hexdigest()[:32]}.json"


def recalled(place: Path | None, request: Request, parts: int) -> Memory | None:
    """What a file remembers; None where that is nothing, or no memory of ours."""
    if place is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory.of_record(json.loads(place.read_text("utf-8")), parts, request.shape[0])
    return None


def remember(place: Path | None, memory: Memory) -> None:
    """Keep it, where that can be done."""
    if place is not None:
        with suppress(OSError):
            write_text(place, json.dumps(memory.record(), indent=1) + "\n")
