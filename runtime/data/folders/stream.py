"""Images read when they are needed: `Examples` of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from hashlib import sha256

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.runtime.data.examples import CHUNK, Examples, Need, Part, form, moments, raw
from bayesnas.runtime.data.folders.decoding import Decoded, Decoding
from bayesnas.runtime.data.folders.reading import other_size, unreadable
from bayesnas.runtime.data.free_memory import fits
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.parts import Array


@frozen
class Summary:
    """What is known of all examples of a stream, in their order, since all were read once."""

    mean: Tensor = field(eq=False)
    std: Tensor = field(eq=False)
    fingerprint: str


@frozen
class Stream(Examples):
    """Images [N, C, H, W] that lie in files, with their targets [N, ...].

    Args:
        request: whose images they are.
        decoding: of all files.
        places: of the images among the files, int64 [N].
        targets: in memory, on the device that batches are put on.
        summary: of these examples, where it is known.
        changes: what is done to each batch, in order.
    """

    request: Request = field(repr=False)
    decoding: Decoding = field(eq=False, repr=False)
    places: Array = field(eq=False, repr=False)
    targets: Tensor = field(eq=False, repr=False)
    summary: Summary | None = None
    changes: tuple[Callable[[Inputs], Inputs], ...] = ()

    @property
    def inputs(self) -> Inputs:
        """[N, C, H, W], read; ask it for few."""
        whole, start = torch.empty(0, *self.request.shape), 0
        for inputs, _ in self.in_order(CHUNK):
            assert isinstance(inputs, Tensor)
            if start == 0:
                whole = inputs.new_empty(len(self), *inputs.shape[1:])
            # Copied, since each batch that is kept would keep a file of shared memory open.
            whole[start : start + len(inputs)] = inputs
            start += len(inputs)
        return whole

    def subset(self, positions: Tensor) -> Stream:
        """The examples at these positions [M]."""
        places = self.places[positions.cpu().numpy()]
        return evolve(self, places=places, targets=self.targets[positions], summary=None)

    def batches(
        self, positions: Sequence[Tensor], need: Need | None = None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets batch by batch: those at the positions [M] of each.

        Raises:
            DiagnosticError: D504, D505 (a file is not what it was when all were read), D617 (a
                process that decodes has died).
        """
        places = [self.places[chosen.cpu().numpy()] for chosen in positions]
        # An error that is raised here keeps this frame, and with it what is not closed: processes
        # that decode, for which Python would wait at its end.
        with closing(self.decoding.batches(places, need)) as batches:
            for chosen, decoded in zip(positions, batches, strict=True):
                self._check(decoded)
                inputs: Inputs = decoded.images.to(self.targets.device, non_blocking=True)
                for change in self.changes:
                    inputs = change(inputs)
                yield inputs, self.targets[chosen]

    def _check(self, decoded: Decoded) -> None:
        files = self.decoding.pictures.files
        broken = [f"`{files[place]}`: {reason}" for place, reason in decoded.broken]
        if broken:
            raise unreadable(broken, self.request.name)
        for place, shape in decoded.odd:
            raise other_size(files[place], shape, self.request, len(decoded.sizes) == 1)
        if decoded.deep:
            raise unreadable(["one has more bits a pixel than it had"], self.request.name)

    def changed(self, change: Callable[[Inputs], Inputs]) -> Stream:
        """The same examples, each batch changed by itself when it is read."""
        return evolve(self, changes=(*self.changes, change), summary=None)

    def retargeted(self, targets: Tensor) -> Stream:
        """The same inputs with other targets [N, ...]."""
        return evolve(self, targets=targets, summary=None)

    def to(self, device: torch.device) -> Stream:
        """The same examples, whose batches are put on another device."""
        return evolve(self, targets=self.targets.to(device))

    def at_hand(self) -> Examples:
        """In memory, where they take a small share of what is free."""
        pictures = self.decoding.pictures
        size = len(self) * image_bytes(pictures.shape, pictures.dtype)
        if not len(self) or not fits(size, self.targets.device):
            return self
        return Part(self.inputs, self.targets)

    def statistics(self) -> tuple[Inputs, Inputs]:
        """Mean and deviation [C] of each channel; see `Examples`."""
        if self.summary is not None:
            return self.summary.mean, self.summary.std
        return moments(x for x, _ in self.in_order(CHUNK) if isinstance(x, Tensor))

    def fingerprint(self) -> str:
        """A hash of inputs and targets: that of a `Part` of the same."""
        if self.summary is not None:
            return self.summary.fingerprint
        digest, begun = sha256(), False
        for inputs, _ in self.in_order(CHUNK):
            assert isinstance(inputs, Tensor)
            if not begun:
                digest.update(form(inputs.dtype, (len(self), *inputs.shape[1:])))
                begun = True
            digest.update(raw(inputs))
        digest.update(form(self.targets.dtype, (*self.targets.shape,)))
        digest.update(raw(self.targets))
        return digest.hexdigest()


def image_bytes(shape: Sequence[int], dtype: torch.dtype) -> int:
    """Of one decoded image."""
    return dtype.itemsize * torch.Size(shape).numel()
