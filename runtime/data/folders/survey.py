"""All images read once, before anything is learned: into memory, or for what a stream must know.

So all broken images are told at once, and a stream has statistics and a hash of what was seen.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import torch
from attrs import define, field, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.runtime.data.examples import CHUNK, Examples, Part, form, moments, raw
from bayesnas.runtime.data.folders.decoding import (
    Decoded,
    Decoding,
    Pictures,
    consecutive,
    default_workers,
)
from bayesnas.runtime.data.folders.listing import Findings, Labelled
from bayesnas.runtime.data.folders.reading import other_size, unreadable
from bayesnas.runtime.data.folders.remembered import Memory, place_of, recalled, remember
from bayesnas.runtime.data.folders.stream import Stream, Summary, image_bytes
from bayesnas.runtime.data.free_memory import SHARE, fits
from bayesnas.runtime.data.registry import Request

LONG: Final = 10.0  # seconds, from which a reading is worth to be remembered


@frozen
class Surveyed:
    """The parts of a data set, and what is said of where they are."""

    parts: list[Examples]
    notes: list[str]


class _DeepError(Exception):
    """An image has more than 8 bits a pixel, and bytes were read so far."""


def survey(
    request: Request,
    parts: Sequence[Labelled],
    findings: Findings,
    streams: bool = True,
) -> Surveyed:
    """The images of some parts, in memory or streamed; what was done to them is found.

    Where one has 16 bits a pixel, all of all parts are shares of full scale.

    Args:
        request: what they are read for.
        parts: their files.
        findings: what is met is added to it.
        streams: whether they may be, where they are to or do not fit into memory.

    Raises:
        DiagnosticError: D504, D505, D617 (a process that decodes has died).
    """
    for deep in (False, True):
        dtype = torch.float32 if deep else torch.uint8
        count = sum(len(part.places) for part in parts)
        size = count * image_bytes(request.shape, dtype)
        read = _Survey(request, deep, streams and _streams(request, size))
        try:
            notes = [_said(read, count, size)] if read.streams else []
            return Surveyed(read.all(parts, findings), notes)
        except _DeepError:
            continue
    raise AssertionError("shares of full scale hold every image")


def _streams(request: Request, size: int) -> bool:
    devices = () if request.device is None else (request.device,)
    return request.options.stream or not fits(size, *devices)


def _said(read: _Survey, count: int, size: int) -> str:
    workers = read.workers
    by = f"{workers:,} process{'es' if workers > 1 else ''}" if workers else "this process"
    told = f"the {count:,} images are read when they are needed, by {by} (`--workers`)"
    if read.request.options.stream:
        return told
    return f"{told}: decoded they take {size / 2**30:.1f} GiB, over {SHARE:.0%} of free memory"


@define
class _Survey:
    """One reading of all images, and what was met so far."""

    request: Request
    deep: bool
    streams: bool
    broken: list[str] = field(factory=list)
    odd: tuple[str, Shape] | None = None  # the first of another shape
    sizes: set[Shape] = field(factory=set)
    remarks: Counter[str] = field(factory=Counter)

    @property
    def workers(self) -> int:
        """Processes that decode; what is read once, into memory, is read by threads."""
        given = self.request.options.workers
        return given if given is not None else default_workers() if self.streams else 0

    def all(self, parts: Sequence[Labelled], findings: Findings) -> list[Examples]:
        """All parts.

        Raises:
            DiagnosticError: D504, D505.
            _DeepError: they are not what they were taken for.
        """
        decodings: dict[int, Decoding] = {}  # parts of the same files share the processes
        for part in parts:
            pictures = Pictures(part.files, self.request.shape, self.request.options, self.deep)
            decodings.setdefault(id(part.files), Decoding.of(pictures, self.workers))
        pairs = [(part, decodings[id(part.files)]) for part in parts]
        read: list[Examples] = []
        if not self.streams:
            read += [self._kept(*pair) for pair in pairs]
            self._check()
        else:
            summaries = self._summaries(pairs)
            for (part, decoding), summary in zip(pairs, summaries, strict=True):
                read.append(Stream(self.request, decoding, part.places, part.targets, summary))
        findings.remarks.update(self.remarks)
        return read

    def _summaries(self, pairs: Sequence[tuple[Labelled, Decoding]]) -> Sequence[Summary]:
        """What is known of each part: remembered, or found by reading all."""
        place = place_of(self.request, [part for part, _ in pairs])
        memory = recalled(place, self.request, len(pairs))
        if memory is None:
            start = time.monotonic()
            summaries = [self._summary(*pair) for pair in pairs]
            self._check()
            memory = Memory(self.deep, summaries, self.remarks)
            if time.monotonic() - start > LONG:
                remember(place, memory)
        elif memory.deep != self.deep:
            raise _DeepError
        self.remarks = Counter(memory.remarks)
        return memory.summaries

    def _kept(self, part: Labelled, decoding: Decoding) -> Examples:
        pictures = decoding.pictures
        images = torch.empty(len(part.places), *pictures.shape, dtype=pictures.dtype)
        start = 0
        for some in self._images(part, decoding):
            images[start : start + len(some)] = some
            start += len(some)
        return Part(images, part.targets)

    def _summary(self, part: Labelled, decoding: Decoding) -> Summary:
        pictures, targets = decoding.pictures, part.targets
        digest = sha256(form(pictures.dtype, (len(part.places), *pictures.shape)))

        def hashed() -> Iterator[Tensor]:
            for some in self._images(part, decoding):
                if not self.broken:
                    self._check()  # sizes are refused at once: reading all takes long
                digest.update(raw(some))
                yield some

        mean, std = moments(hashed())
        digest.update(form(targets.dtype, (*targets.shape,)))
        digest.update(raw(targets))
        return Summary(mean, std, digest.hexdigest())

    def _images(self, part: Labelled, decoding: Decoding) -> Iterator[Tensor]:
        """The images of a part, batch by batch; what was met is noted."""
        places = [part.places[some] for some in consecutive(len(part.places), CHUNK)]
        for decoded in decoding.batches(places):
            if decoded.deep:
                raise _DeepError
            self._note(decoded, part.files)
            yield decoded.images

    def _note(self, decoded: Decoded, files: Sequence[Path]) -> None:
        self.broken += [f"`{files[place]}`: {reason}" for place, reason in decoded.broken]
        self.sizes |= decoded.sizes
        self.remarks.update(decoded.remarks)
        if self.odd is None and decoded.odd:
            place, shape = decoded.odd[0]
            self.odd = str(files[place]), shape

    def _check(self) -> None:
        """Refuse what was met.

        Raises:
            DiagnosticError: D504, D505.
        """
        if self.broken:
            raise unreadable(self.broken, self.request.name)
        if self.odd is not None:
            path, shape = self.odd
            raise other_size(path, shape, self.request, len(self.sizes) == 1)
