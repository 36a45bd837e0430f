"""Augmentation: what may be done to images, besides shifts and mirrors (`movement.py`).

Blanked squares are tensor code for a whole batch. What torchvision has (`transforms.v2`) is called
an image at a time: given a batch, it draws once for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.bundle import Inputs, mapped, tensors

_OFF: Final = {"crop": 1, "policy": "none", "rotate": 0, "color_jitter": 0, "cutout": 0, "erase": 0}
_PILLOW: Final = (1, 3)  # channels of its images of bytes
HUE: Final = 0.5  # hue's share of `color_jitter`, as DARTS has it
FEW: Final = 8 * 8  # pixels: fewer hardly show what an image is of


def on_images(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Inputs with those that are images [N, C, H, W] changed."""
    return mapped(lambda x: change(x) if x.dim() == 4 else x, inputs)


@frozen
class Extra:
    """More that a training may do to images; by default nothing.

    What is done to each image by itself is drawn by a seed of its own: the same wherever it is
    done, and in whatever order. Other random numbers are PyTorch's own, whose state checkpoints
    hold.

    Args:
        crop: least share of the area that is cut out and enlarged to the whole; 1: none.
        policy: ``trivial`` (Mueller, Hutter, ICCV 2021), ``rand`` (Cubuk et al., 2020) or ``none``.
        rotate: degrees that an image is turned by at most, black around it; 0: none.
        color_jitter: of brightness, contrast and saturation; 0: none.
        cutout: side of the square that is blanked (DeVries, Taylor, 2017), pixels.
        erase: chance that a rectangle is blanked (Zhong et al., AAAI 2020).
    """

    crop: float = 1.0
    policy: str = "none"
    rotate: float = 0.0
    color_jitter: float = 0.0
    cutout: int = 0
    erase: float = 0.0

    @classmethod
    def of(cls, settings: TrainSettings) -> Extra:
        """As the settings of a training say."""
        return cls(
            settings.crop,
            settings.policy,
            settings.rotate,
            settings.color_jitter,
            settings.cutout,
            settings.erase,
        )

    def check(self, name: str, inputs: Inputs, placed: bool = False, stay: bool = False) -> None:
        """Refuse what cannot be done to a data set called ``name``.

        Policies and `rotate` turn each image by itself; targets never move with that.

        Args:
            name: of the data, for the diagnostic.
            inputs: its inputs [N, ...], or the first of them.
            placed: whether targets lie on images.
            stay: whether they do, and cannot move with them.

        Raises:
            DiagnosticError: D515.
        """
        lie = f"images, targets of `{name}` lie on them and would stay"
        if stay and self.crop != 1:
            raise _refused(["crop"], "cut", lie)
        turning = self._asked("policy", "rotate")
        if placed and turning:
            raise _refused(turning, "turn", lie)
        given = tensors(inputs)
        images = [x for x in given if x.dim() == 4]
        if len(images) > 1 and turning:
            what = f"each image by itself, and those of an example of `{name}` belong together"
            raise _refused(turning, "turn", what)
        for some in images or given[:1]:
            self._check(name, some)

    def _asked(self, *names: str) -> list[str]:
        """Those of some settings that are not off."""
        return [name for name in names if getattr(self, name) != _OFF[name]]

    def _check(self, name: str, images: Tensor) -> None:
        shape = list(images.shape[1:])
        colours = self._asked("policy", "color_jitter")
        shapes = self._asked("crop", "rotate", "cutout", "erase")
        asked = colours + shapes
        if asked and len(shape) != 3:
            raise _refused(asked, "change", f"images, examples of `{name}` are {shape}")
        if colours and (images.dtype != torch.uint8 or shape[0] not in _PILLOW):
            what = f"{str(images.dtype).removeprefix('torch.')} in {shape[0]} channels"
            raise _refused(
                colours,
                "change",
                f"images of bytes in 1 or 3 channels, examples of `{name}` are {what}",
            )
        if self.cutout >= 2 * max(shape[1:], default=1):
            raise _refused(["cutout"], "blank", f"all of images of {shape[1]} x {shape[2]} pixels")

    def notes(self, inputs: Inputs) -> tuple[str, ...]:
        """What is done to images that it was hardly made for: small ones, grey ones.

        A recipe may ask for it, so nothing is refused.
        """
        found = []
        images = [x for x in tensors(inputs) if x.dim() == 4]
        sizes = {(x.shape[2], x.shape[3]) for x in images}
        for height, width in sorted(sizes):
            least = round(self.crop * height * width)
            if self.crop != 1 and least < FEW:
                found.append(
                    f"`crop = {self.crop:g}` cuts as little as {least} of the {height} x {width} "
                    "pixels out of an image and enlarges that; `crop = 1` leaves it whole"
                )
        if self.color_jitter and any(x.shape[1] == 1 for x in images):
            found.append(
                "`color_jitter` changes brightness and contrast alone of images of one channel, "
                "which have no saturation and no hue"
            )
        return (*found,)

    @property
    def alone(self) -> bool:
        """Whether something is done to each image by itself, as the data have it."""
        return bool(self.crop != 1 or self._asked("policy", "rotate", "color_jitter"))

    def of_image(self, image: Tensor, size: Sequence[int], seed: int) -> Tensor:
        """An image [C, H, W] cut, brought to a size, turned and recoloured.

        Images of one example have one seed, so that those of one size are cut alike.
        """
        from torchvision.transforms.v2 import functional

        with drawing(seed):
            if self.crop != 1:
                window = window_of(image, self.crop)
                image = functional.resized_crop(image, **window, size=[*size], antialias=True)
            transforms = _transforms(self)
            # Pillow takes a third to two thirds of the time of tensor code.
            pillow = transforms and image.dtype == torch.uint8 and image.shape[0] in _PILLOW
            changed: Any = functional.to_pil_image(image) if pillow else image
            for transform in transforms:
                changed = transform(changed)
            result: Tensor = functional.pil_to_tensor(changed) if pillow else changed
        return result

    def of_images(self, inputs: Inputs, seeds: Tensor) -> Inputs:
        """Inputs with each image [N, C, H, W] changed by the seed [N] of its example."""

        def changed(images: Tensor) -> Tensor:
            pairs = zip(images.cpu(), seeds.tolist(), strict=True)
            return torch.stack([self.of_image(x, x.shape[1:], s) for x, s in pairs]).to(images)

        return on_images(changed, inputs) if self.alone else inputs

    def blanked(self, inputs: Inputs) -> Inputs:
        """Inputs, normalised, images [N, C, H, W] with zeros in the square or rectangle."""
        if self.cutout:
            inputs = on_images(lambda x: cut_out(x, self.cutout), inputs)
        if self.erase:
            from torchvision.transforms import v2

            erasing = v2.RandomErasing(self.erase)
            inputs = on_images(lambda x: torch.stack([erasing(image) for image in x]), inputs)
        return inputs


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """PyTorch's own numbers on the CPU begin at a seed, and go on as before afterwards."""
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


def window_of(image: Tensor, least: float) -> dict[str, int]:
    """What `RandomResizedCrop` cuts out of an image of this size."""
    cut = _crop(least)
    window: dict[str, int] = cut.make_params([image])
    return window


@cache
def _crop(least: float) -> Any:
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(1, scale=(least, 1.0))


@cache
def _transforms(extra: Extra) -> tuple[Callable[[Any], Any], ...]:
    """torchvision's, for one image, of Pillow or a tensor."""
    from torchvision.transforms import v2

    chosen: list[Callable[[Any], Any]] = []
    if extra.policy == "trivial":
        chosen.append(v2.TrivialAugmentWide())
    if extra.policy == "rand":
        chosen.append(v2.RandAugment())
    if extra.rotate:
        smooth = v2.InterpolationMode.BILINEAR
        chosen.append(v2.RandomRotation(extra.rotate, interpolation=smooth))
    if extra.color_jitter:
        amount = extra.color_jitter
        chosen.append(v2.ColorJitter(amount, amount, amount, HUE * amount))
    return tuple(chosen)


def _refused(settings: list[str], verb: str, what: str) -> DiagnosticError:
    names, does = quote(settings), verb if len(settings) > 1 else f"{verb}s"
    off = quote([f"{name} = {_OFF[name]}" for name in settings], "and")
    help_ = f"leave {names} out; where a recipe asks for it, write {off}"
    return DiagnosticError(Diagnostic("D515", f"{names} {does} {what}", help=help_))


def cut_out(inputs: Tensor, side: int) -> Tensor:
    """Inputs [N, C, H, W] with zeros in a square of ``side`` pixels, one per example.

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
