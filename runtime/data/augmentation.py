"""Augmentation: what is done to images before a network learns from them.

Shifts, mirrors and blanked squares are tensor code for a whole batch. What torchvision has
(`transforms.v2`) is called an image at a time: given a batch, it draws once for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.bundle import Inputs, mapped, tensors

_MEANINGS: Final = {
    "flip": "images are mirrored",
    "shift": "images are moved by up to an eighth",
    "shift_flip": "images are moved by up to an eighth and mirrored",
}
_OFF: Final = {"crop": 1, "policy": "none", "color_jitter": 0, "cutout": 0, "erase": 0}
HUE: Final = 0.5  # hue's share of `color_jitter`, as DARTS has it


def settled_augment(
    name: str, auto: str, augment: str, shapes: Sequence[tuple[int, ...]], placed: bool = False
) -> str:
    """What an ``augment`` setting means for a data set called ``name``, whose own is ``auto``.

    ``shapes`` are those of one example of every input; ``placed`` says that targets lie on images.

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


def augmented(inputs: Inputs, kind: str, generator: torch.Generator) -> Inputs:
    """Images [N, C, H, W] shifted by up to an eighth or mirrored or both, as ``kind`` says.

    What is no image stays as it is; images of one size that belong together move together.
    """
    if kind == "none":
        return inputs
    moves: dict[torch.Size, Callable[[Tensor], Tensor]] = {}

    def moved(images: Tensor) -> Tensor:
        size = images.shape[2:]
        if size not in moves:
            moves[size] = _move(images, kind, generator)
        return moves[size](images)

    return _of_images(moved, inputs)


def _of_images(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Inputs with those that are images [N, C, H, W] changed."""
    return mapped(lambda x: change(x) if x.dim() == 4 else x, inputs)


def _move(images: Tensor, kind: str, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """What is done to these images and to others of their size that belong to them."""
    if kind == "flip":
        flipped = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device) < 0.5
        return lambda images: torch.where(flipped, images.flip(3), images)
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

    def move(images: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(images, (reach[1], reach[1], reach[0], reach[0]))
        # Advanced indices around the slice put the channels last.
        chosen = padded[examples, :, rows[:, :, None], columns[:, None, :]]
        return chosen.permute(0, 3, 1, 2)

    return move


@frozen
class Extra:
    """More that a training may do to images; by default nothing.

    Random numbers are PyTorch's own, whose state checkpoints hold.

    Args:
        crop: least share of the area that is cut out and enlarged to the whole; 1: none.
        policy: ``trivial`` (Mueller, Hutter, ICCV 2021), ``rand`` (Cubuk et al., 2020) or ``none``.
        color_jitter: of brightness, contrast and saturation; 0: none.
        cutout: side of the square that is blanked (DeVries, Taylor, 2017), pixels.
        erase: chance that a rectangle is blanked (Zhong et al., AAAI 2020).
    """

    crop: float = 1.0
    policy: str = "none"
    color_jitter: float = 0.0
    cutout: int = 0
    erase: float = 0.0

    @classmethod
    def of(cls, settings: TrainSettings) -> Extra:
        """As the settings of a training say."""
        return cls(
            settings.crop,
            settings.policy,
            settings.color_jitter,
            settings.cutout,
            settings.erase,
        )

    def check(self, name: str, inputs: Inputs, placed: bool = False) -> None:
        """Refuse what cannot be done to a data set called ``name``.

        Args:
            name: of the data, for the diagnostic.
            inputs: its inputs [N, ...], or the first of them.
            placed: whether targets lie on images.

        Raises:
            DiagnosticError: D515.
        """
        if placed and self.crop != 1:
            raise _refused(["crop"], f"cuts images, targets of `{name}` lie on them and would stay")
        given = tensors(inputs)
        for images in [x for x in given if x.dim() == 4] or given[:1]:
            self._check(name, images)

    def _check(self, name: str, images: Tensor) -> None:
        shape = list(images.shape[1:])
        colours = [n for n in ("policy", "color_jitter") if getattr(self, n) not in ("none", 0.0)]
        shapes = [n for n in ("crop", "cutout", "erase") if getattr(self, n) not in (1.0, 0)]
        asked = colours + shapes
        if asked and len(shape) != 3:
            raise _refused(asked, f"changes images, examples of `{name}` are {shape}")
        if colours and (images.dtype != torch.uint8 or shape[0] not in (1, 3)):
            what = f"{str(images.dtype).removeprefix('torch.')} in {shape[0]} channels"
            raise _refused(
                colours,
                f"changes images of bytes in 1 or 3 channels, examples of `{name}` are {what}",
            )
        if self.cutout >= 2 * max(shape[1:], default=1):
            raise _refused(["cutout"], f"blanks all of images of {shape[1]} x {shape[2]} pixels")

    def changed(self, inputs: Inputs) -> Inputs:
        """Inputs as the data have them, images [N, C, H, W] cut out and recoloured."""
        if self.crop == 1 and not _transforms(self):
            return inputs
        return _of_images(lambda x: torch.stack([self._changed(image) for image in x]), inputs)

    def _changed(self, image: Tensor) -> Tensor:
        if self.crop < 1:
            from torchvision.transforms import v2

            size = (image.shape[1], image.shape[2])
            image = v2.RandomResizedCrop(size, scale=(self.crop, 1.0), antialias=True)(image)
        for transform in _transforms(self):
            image = transform(image)
        return image

    def blanked(self, inputs: Inputs) -> Inputs:
        """Inputs, normalised, images [N, C, H, W] with zeros in the square or rectangle."""
        if self.cutout:
            inputs = _of_images(lambda x: cut_out(x, self.cutout), inputs)
        if self.erase:
            from torchvision.transforms import v2

            erasing = v2.RandomErasing(self.erase)
            inputs = _of_images(lambda x: torch.stack([erasing(image) for image in x]), inputs)
        return inputs


@cache
def _transforms(extra: Extra) -> tuple[Callable[[Tensor], Tensor], ...]:
    """torchvision's, for one image."""
    from torchvision.transforms import v2

    chosen: list[Callable[[Tensor], Tensor]] = []
    if extra.policy == "trivial":
        chosen.append(v2.TrivialAugmentWide())
    if extra.policy == "rand":
        chosen.append(v2.RandAugment())
    if extra.color_jitter:
        amount = extra.color_jitter
        chosen.append(v2.ColorJitter(amount, amount, amount, HUE * amount))
    return tuple(chosen)


def _refused(settings: list[str], what: str) -> DiagnosticError:
    names = quote(settings)
    off = quote([f"{name} = {_OFF[name]}" for name in settings], "and")
    help_ = f"leave {names} out; where a recipe asks for it, write {off}"
    return DiagnosticError(Diagnostic("D515", f"{names} {what}", help=help_))


def cut_out(inputs: Tensor, side: int) -> Tensor:
    """Inputs [N, C, H, W] with zeros in a square of ``side`` pixels, one an example.

    Its middle is anywhere in the image, so that it may reach over the border.
    """
    count, _, height, width = inputs.shape
    device = inputs.device
    inside = torch.ones(count, 1, 1, 1, dtype=torch.bool, device=device)
    for axis, size in ((2, height), (3, width)):
        first = torch.randint(size, (count, 1, 1, 1)).to(device) - side // 2
        shape = [1, 1, 1, 1]
        shape[axis] = size
        place = torch.arange(size, device=device).view(shape)
        inside = inside & (place >= first) & (place < first + side)
    return inputs.masked_fill(inside, 0)
