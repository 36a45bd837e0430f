"""One image file as numbers, and what had to be done to it.

Only the formats that are documented are opened: others run programs to be decoded. Pixels become
bytes, or shares of the full scale where a file has more than 8 bits a channel.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from attrs import frozen
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from bayesnas.runtime.data.registry import Fit
from bayesnas.runtime.tasks.parts import Array
from bayesnas.runtime.tasks.pixels.classes import IGNORED

FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
MODES: Final[Mapping[int, Literal["L", "RGB"]]] = {1: "L", 3: "RGB"}
MAX_PIXELS: Final = 2**26  # of one image: 200 MB decoded
_BROKEN: Final = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
_ORIENTATION: Final = 0x0112  # of EXIF's entries
_LYING: Final = (5, 6, 7, 8)  # orientations in which width and height are exchanged
_GREY: Final = ("1", "L", "LA", "I", "I;16", "F")  # modes
_SIXTEEN: Final = 2**16 - 1


class ImageError(Exception):
    """Why a file is no image that can be taken."""


@frozen
class Picture:
    """An image, and what was done to it.

    Args:
        pixels: uint8 [C, H, W], or float32 in 0..1 where the file is deeper than 8 bits.
        remarks: in words, each once.
    """

    pixels: Tensor
    remarks: tuple[str, ...]


def read_picture(path: Path, channels: int, size: tuple[int, int] | None, fit: Fit) -> Picture:
    """The image in a file, turned as its EXIF says.

    Args:
        path: of a regular file.
        channels: 1 (grey) or 3 (colour).
        size: height and width to fit it to; None leaves it as it is.
        fit: how.

    Raises:
        ImageError: it is no regular file, of another format, too large, broken, or its numbers have
            no scale.
    """
    image, remarks = _open(path)
    image = _flat(image, remarks)
    if image.mode == "RGB" and channels == 1:
        remarks.append("colour made grey")
    if size is not None:
        turned = (size[1], size[0])
        if image.size != turned:
            remarks.append(FITTED[fit])
            image = _FITS[fit](image, turned)
    if image.mode == "F":
        grey = torch.from_numpy(np.array(image) / np.float32(_SIXTEEN))
        return Picture(grey.expand(channels, *grey.shape), tuple(remarks))
    array = np.array(image.convert(MODES[channels]), dtype=np.uint8)
    array = array.reshape(image.height, image.width, channels)
    return Picture(torch.from_numpy(array).permute(2, 0, 1), tuple(remarks))


def read_map(path: Path, size: Sequence[int] | None, fit: Fit) -> Array:
    """The numbers in a file, turned as its EXIF says: a class per pixel, or colours.

    Args:
        path: of a regular file.
        size: height and width to fit it to; None leaves it as it is. Classes are not mixed, and
            what is added round them is `IGNORED`.
        fit: how.

    Returns:
        [H, W] of a grey or palette image, uint8 or int32 of 16 bits; [3, H, W] of others, uint8.

    Raises:
        ImageError: as of `read_picture`.
    """
    image, _ = _open(path)
    if image.mode == "LA":  # grey, and what is seen through counts for nothing here
        image = image.getchannel(0)
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        turned = (size[0], size[1]) if size is not None else None
        return read_picture(path, 3, turned, fit).pixels.numpy()
    array = np.array(image)  # of a palette, the numbers and not the colours
    if size is not None and image.size != (size[1], size[0]):
        whole = Image.fromarray(array.astype(np.int32))
        fitted = np.array(_MAP_FITS[fit](whole, (size[1], size[0])))
        array = fitted.astype(np.uint8) if array.dtype.itemsize == 1 else fitted
    return array.astype(np.int32 if array.dtype.itemsize > 1 else np.uint8)


def picture_size(path: Path) -> tuple[int, int, bool] | None:
    """Height and width as its EXIF turns it, and whether it is grey; None of what is no image.

    Its pixels are not decoded.
    """
    try:
        with _opened(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) in _LYING
            width, height = image.size[::-1] if turned else image.size
            return height, width, image.mode in _GREY
    except (ImageError, *_BROKEN):
        return None


def _opened(path: Path) -> Image.Image:
    """The image of a regular file, in a format that is documented, not yet decoded.

    Raises:
        ImageError: it is no regular file, or too large.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ImageError("not a regular file")
    file = Image.open(path, formats=FORMATS)
    if file.width * file.height > MAX_PIXELS:
        file.close()
        raise ImageError(f"{file.width} x {file.height} pixels, more than {MAX_PIXELS:,}")
    return file


def _open(path: Path) -> tuple[Image.Image, list[str]]:
    """The decoded image, turned, and remarks."""
    remarks: list[str] = []
    try:
        with _opened(path) as file:
            file.load()
            turned = ImageOps.exif_transpose(file)
            if file.getexif().get(_ORIENTATION, 1) != 1:
                remarks.append("turned as EXIF says")
            if _goes_on(file):
                remarks.append("the first of several frames or pages taken")
    except _BROKEN as error:
        raise ImageError(_fault(path, error)) from None
    return turned, remarks


def _fault(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in words for people: Pillow's are for programs."""
    if isinstance(error, UnidentifiedImageError):
        if not path.stat().st_size:
            return "the file is empty"
        return f"it is no image of a format that is read: {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MAX_PIXELS:,} pixels"
    if "truncated" in str(error):
        return "the file ends before the image does: it is cut off"
    return "the file is damaged: its pixels cannot be decoded"


def _goes_on(file: Image.Image) -> bool:
    """Whether there are more frames; a broken second one counts as none, the first is good."""
    try:
        file.seek(1)
    except Exception:  # a decoder raises many kinds, EOFError among them
        return False
    return True


def _flat(image: Image.Image, remarks: list[str]) -> Image.Image:
    """The image as ``L``, as ``RGB``, or as ``F``: the numbers of 16 bits."""
    if image.mode == "F":
        raise ImageError("floating-point pixels, which have no scale; save them with numpy.savez")
    if image.mode.startswith("I"):
        numbers = np.array(image)
        if numbers.min() < 0 or numbers.max() > _SIXTEEN:
            raise ImageError("pixels of 32 bits, which have no scale; save them with numpy.savez")
        remarks.append("16 bits a pixel kept")
        return Image.fromarray(numbers.astype(np.float32))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        remarks.append("transparency laid on white")
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
        return image.convert("RGB")
    return image if image.mode == "L" else image.convert("L" if image.mode == "1" else "RGB")


def _squeeze(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)


def _pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.pad(image, size, Image.Resampling.BILINEAR)


def _crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(image, size, Image.Resampling.BILINEAR)


_FITS: Final[Mapping[Fit, Callable[[Image.Image, tuple[int, int]], Image.Image]]] = {
    "squeeze": _squeeze,
    "pad": _pad,
    "crop": _crop,
}
_MAP_FITS: Final[Mapping[Fit, Callable[[Image.Image, tuple[int, int]], Image.Image]]] = {
    "squeeze": lambda image, size: image.resize(size, Image.Resampling.NEAREST),
    "pad": lambda image, size: ImageOps.pad(image, size, Image.Resampling.NEAREST, color=IGNORED),
    "crop": lambda image, size: ImageOps.fit(image, size, Image.Resampling.NEAREST),
}
FITTED: Final[Mapping[Fit, str]] = {
    "squeeze": "squeezed to the spec's size",
    "pad": "padded with black to the spec's size",
    "crop": "cropped in the middle to the spec's size",
}
