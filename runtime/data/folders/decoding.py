"""Image files decoded batch after batch, by threads here or by processes that work ahead."""

from __future__ import annotations

import atexit
import os
import signal
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.utils.data import DataLoader

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.examples import Need, numbers
from bayesnas.runtime.data.folders.images import ImageError, Picture
from bayesnas.runtime.data.folders.reading import READERS, read_one
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.tasks.parts import Array

AHEAD: Final = 2  # batches that a process decodes before they are asked for
MOST_PROCESSES: Final = 16
_HEARD: Final = 0.2  # seconds, within which a death is heard of

Run = Callable[[Callable[[int], Picture | ImageError], Iterable[int]], Iterable[Any]]


@frozen(eq=False)
class Wanted:
    """A batch that is to be decoded.

    Args:
        places: of the images among the files, int64 [M].
        extra: what is done to each.
        seeds: by which, int64 [M].
        rows: of the batch, those that are needed.
    """

    places: Array
    extra: Extra
    seeds: Array
    rows: slice


@frozen(eq=False)
class Decoded:
    """A batch of images, and what was met in their files.

    Args:
        images: [M, C, H, W], zeros where there is none, or none is needed.
        broken: places among the files, each with what is wrong.
        odd: places of images of another shape, and that.
        sizes: all shapes.
        remarks: what was done to images.
        deep: whether one has more than 8 bits a pixel, where bytes are asked for.
    """

    images: Tensor
    broken: Sequence[tuple[int, str]]
    odd: Sequence[tuple[int, Shape]]
    sizes: frozenset[Shape]
    remarks: Counter[str]
    deep: bool

    def pin_memory(self) -> Decoded:
        """The same in memory that a GPU reads itself; `DataLoader` asks for it."""
        return evolve(self, images=self.images.pin_memory())


@frozen(eq=False)
class Pictures:
    """Image files as pixels of one shape: what a process needs to decode some.

    Args:
        files: of all images.
        shape: [C, H, W].
        options: how they are fitted to it.
        deep: they are shares of the full scale, in float32; else bytes.
    """

    files: Sequence[Path]
    shape: Shape
    options: DataOptions
    deep: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of the pixels."""
        return torch.float32 if self.deep else torch.uint8

    def decoded(self, wanted: Wanted, run: Run = map) -> Decoded:
        """A batch of images; ``run`` maps over their files."""
        places, extra, rows = wanted.places, wanted.extra, wanted.rows
        whole = extra.crop != 1  # windows are cut out of what is in the file
        images = torch.zeros(len(places), *self.shape, dtype=self.dtype)
        broken, odd = [], []
        sizes: set[Shape] = set()
        remarks: Counter[str] = Counter()
        deep = False
        named = [int(place) for place in places[rows]]
        files = run(partial(self._read, whole), named)
        seeds = wanted.seeds[rows].tolist()
        for image, place, read, seed in zip(images[rows], named, files, seeds, strict=True):
            if isinstance(read, ImageError):
                broken.append((place, str(read)))
                continue
            remarks.update(read.remarks)
            if read.pixels.is_floating_point() and not self.deep:
                deep = True
                continue
            pixels = numbers(read.pixels) if self.deep else read.pixels
            if extra.alone:  # here, since threads share PyTorch's own random numbers
                pixels = extra.of_image(pixels, self.shape[1:], seed)
            shape = (*pixels.shape,)
            sizes.add(shape)
            if shape == self.shape:
                image.copy_(pixels)
            else:
                odd.append((place, shape))
        return Decoded(images, broken, odd, frozenset(sizes), remarks, deep)

    def _read(self, whole: bool, place: int) -> Picture | ImageError:
        return read_one(self.files[place], self.shape, self.options, whole)

    def __getitems__(self, wanted: Wanted) -> Decoded:
        """A batch, for `DataLoader`."""
        return self.decoded(wanted)


@frozen(eq=False)
class Decoding:
    """Decodes batches of pictures.

    Args:
        pictures: all there are.
        workers: processes that decode; 0: threads of this one.
        started: loaders that have processes.
        idle: those whose processes wait for work.
    """

    pictures: Pictures
    workers: int
    started: list[DataLoader[Any]]
    idle: list[DataLoader[Any]]

    @classmethod
    def of(cls, pictures: Pictures, workers: int) -> Decoding:
        """By so many processes; they are started when they are first needed."""
        decoding = cls(pictures, workers, [], [])
        weakref.finalize(decoding, _end, decoding.started, decoding.idle)
        return decoding

    def batches(self, places: Sequence[Array], need: Need | None = None) -> Generator[Decoded]:
        """Images at some places among the files, int64 [M] a batch, in order.

        A lone batch is not worth a process. Where batches are taken in the midst of others, as a
        search does, each has processes of its own.

        Raises:
            DiagnosticError: D617 (status 1; a process has died).
        """
        need = need or Need([slice(None)] * len(places))
        seeds = [some.numpy() for some in need.seeds] or [np.zeros(len(some)) for some in places]
        each = zip(places, seeds, need.rows, strict=True)
        wanted = [Wanted(some, need.extra, drawn, rows) for some, drawn, rows in each]
        if not self.workers or len(places) == 1:
            with ThreadPoolExecutor(READERS) as pool:
                for some in wanted:
                    yield self.pictures.decoded(some, pool.map)
            return
        fresh = not self.idle
        loader = self._loader() if fresh else self.idle.pop()
        try:
            plan: Any = loader.batch_sampler
            plan[:] = wanted
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # here too
                batches = iter(loader)
            if fresh:
                # After PyTorch's own, so before: at its exit Python would wait for processes.
                atexit.register(_end, self.started, self.idle)
            yield from batches
            self.idle.append(loader)
        except RuntimeError as error:
            raise died(error) or error from error
        except (OSError, EOFError) as error:  # those of files are told in what is decoded
            with suppress(RuntimeError):
                time.sleep(_HEARD)  # PyTorch raises when it hears of the death: here, not later
            raise _death(f"its connection has ended: {type(error).__name__}") from error
        finally:
            if loader not in self.idle and loader in self.started:
                self.started.remove(loader)  # left in the midst: no other pass can go on from there

    def _loader(self) -> DataLoader[Any]:
        pictures: Any = self.pictures  # has what `DataLoader` asks of a data set
        with warnings.catch_warnings():  # of more processes than cores: they were asked for
            warnings.simplefilter("ignore")
            loader: DataLoader[Any] = DataLoader(
                pictures,
                batch_sampler=[],
                num_workers=self.workers,
                collate_fn=_as_it_is,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=_begin,
                generator=torch.Generator(),  # or each pass would draw from the run's own numbers
                prefetch_factor=AHEAD,
                persistent_workers=True,
            )
        self.started.append(loader)
        return loader


def default_workers() -> int:
    """Processes that decode where nobody says how many: a core each, shared among `torchrun`'s."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    here = os.environ.get("LOCAL_WORLD_SIZE", "")
    ranks = int(here) if here.isdigit() else 1
    return min(MOST_PROCESSES, max(1, cores // max(1, ranks)))


def consecutive(count: int, size: int) -> list[Array]:
    """Places from 0 to ``count``, so many a batch."""
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


def _as_it_is(decoded: Any) -> Any:
    return decoded


def _begin(_number: int) -> None:
    """In a process that decodes: what stops the run is for who it works for.

    Ctrl-C and batch systems tell all processes of a group, and the run would lose its decoders
    before it is saved.
    """
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, signal.SIG_IGN)


def _end(started: list[DataLoader[Any]], idle: list[DataLoader[Any]]) -> None:
    """Let go of loaders, and so of their processes.

    Loaders that are collected together with their queues could tell their processes no more; these
    lists are held from outside, so they are not.
    """
    started.clear()
    idle.clear()


def died(error: BaseException) -> DiagnosticError | None:
    """D617 where a process that decodes has died, most often for want of memory.

    PyTorch says so when the system does, which may be in the midst of anything.
    """
    text = str(error)
    if "DataLoader worker" not in text and "shared memory" not in text:
        return None
    return _death(text.splitlines()[0].rstrip(". "))


def _death(note: str) -> DiagnosticError:
    remedy = "pass fewer `--workers`, or `--workers 0`: then the run decodes by itself"
    message = "a process that decodes images has died"
    return DiagnosticError(Diagnostic("D617", message, notes=(note,), help=remedy), status=1)
