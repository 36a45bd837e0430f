"""Shifts and mirrors of a whole batch, and maps that follow what was done to their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.augmentation.extra import drawing, on_images, window_of
from bayesnas.runtime.tasks.bundle import Inputs

_MEANINGS: Final = {
    "flip": "images are mirrored",
    "shift": "images are moved by up to an eighth",
    "shift_flip": "images are moved by up to an eighth and mirrored",
}
_Move: TypeAlias = Callable[[Tensor, float], Tensor]  # of maps; what comes in at the border


def settled_augment(
    name: str, auto: str, augment: str, shapes: Sequence[tuple[int, ...]], placed: bool = False
) -> str:
    """What an ``augment`` setting means for a data set called ``name``, whose own is ``auto``.

    ``shapes`` are those of one example of every input; ``placed`` says that targets lie on images
    and cannot move with them, being of another size.

    Raises:
        DiagnosticError: D515 (it shifts or mirrors what is no image, or what targets lie on).
    """
    if augment == "auto":
        return "none" if placed else auto
    images = any(len(shape) == 3 for shape in shapes)
    if augment != "none" and (placed or not images):
        what, asked = "shifts" if "shift" in augment else "mirrors", f"augment = {augment}"
        why = f"examples of `{name}` are {' and '.join(str(list(shape)) for shape in shapes)}"
        if images:
            why = f"targets of `{name}` lie on them and would stay"
        raise DiagnosticError(
            Diagnostic(
                "D515",
                f"`{asked}` {what} images, {why}",
                help="leave `augment` out, or write `augment = none`",
            )
        )
    return augment


def augmentation_note(given: str, augment: str) -> str:
    """What is done to images unasked: ``augment`` is what the setting ``given`` came to mean."""
    if given != "auto" or augment == "none":
        return ""
    return f"augment = {augment}, unless told otherwise: {_MEANINGS[augment]}"


@frozen
class Cuts:
    """What was cut out of the images of a batch.

    Args:
        crop: least share of the area that is cut out and enlarged to the whole.
        seeds: of its examples, int64 [N].
    """

    crop: float
    seeds: Tensor

    def followed(self, maps: Tensor) -> Tensor:
        """Maps [N, C, H, W] of the images' size, cut as these were, no numbers mixed."""
        cut = []
        for one, seed in zip(maps, self.seeds.tolist(), strict=True):
            with drawing(seed):
                window = window_of(one, self.crop)
            cut.append(_nearest(one, **window))
        return torch.stack(cut)


class Movement:
    """How the images of one batch are moved, drawn once for all maps of one size.

    Args:
        kind: images are shifted by up to an eighth or mirrored or both.
        generator: of shifts and mirrors.
        cuts: what was cut out of each image before, which maps that belong to it have yet to
            follow.
    """

    def __init__(self, kind: str, generator: torch.Generator, cuts: Cuts | None = None) -> None:
        self.kind, self.generator, self.cuts = kind, generator, cuts
        self.drawn: dict[torch.Size, _Move] = {}

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self.kind == "none" and self.cuts is None

    def images(self, inputs: Inputs) -> Inputs:
        """Inputs, those that are images [N, C, H, W] moved."""
        if self.kind == "none":
            return inputs
        return on_images(lambda images: self._moved(images, 0.0), inputs)

    def __call__(self, maps: Tensor, fill: float) -> Tensor:
        """Maps [N, C, H, W] cut and moved as the images of their size.

        Their numbers are not mixed; ``fill`` is what comes in at the border.
        """
        if self.cuts is not None:
            maps = self.cuts.followed(maps)
        return maps if self.kind == "none" else self._moved(maps, fill)

    def _moved(self, maps: Tensor, fill: float) -> Tensor:
        size = maps.shape[2:]
        if size not in self.drawn:
            self.drawn[size] = _move(maps, self.kind, self.generator)
        return self.drawn[size](maps, fill)


def augmented(inputs: Inputs, kind: str, generator: torch.Generator) -> Inputs:
    """Images [N, C, H, W] shifted by up to an eighth or mirrored or both, as ``kind`` says.

    What is no image stays as it is; images of one size that belong together move together.
    """
    return Movement(kind, generator).images(inputs)


def _move(images: Tensor, kind: str, generator: torch.Generator) -> _Move:
    """What is done to these images and to others of their size that belong to them."""
    if kind == "flip":
        flipped = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device) < 0.5
        return lambda images, _fill: torch.where(flipped, images.flip(3), images)
    count, _, height, width = images.shape
    device = images.device
    reach = max(1, height // 8), max(1, width // 8)
    down, right = (
        torch.randint(0, 2 * r + 1, (count, 1), generator=generator).to(device) for r in reach
    )
    rows = down + torch.arange(height, device=device)
    columns = right + torch.arange(width, device=device)
    if kind == "shift_flip":
        mirrored = torch.rand(count, 1, generator=generator).to(device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    examples = torch.arange(count, device=device)[:, None, None]

    def move(images: Tensor, fill: float) -> Tensor:
        around = (reach[1], reach[1], reach[0], reach[0])
        padded = torch.nn.functional.pad(images, around, value=fill)
        # Advanced indices around the slice put the channels last.
        chosen = padded[examples, :, rows[:, :, None], columns[:, None, :]]
        return chosen.permute(0, 3, 1, 2)

    return move


def _nearest(one: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A window of a map [C, H, W] enlarged to the whole, each place as the nearest one in it."""
    rows, columns = (
        first + (torch.arange(size, device=one.device) + 0.5).mul(part / size).long()
        for first, part, size in ((top, height, one.shape[1]), (left, width, one.shape[2]))
    )
    return one[:, rows[:, None], columns]
