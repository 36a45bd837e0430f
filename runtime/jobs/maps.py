"""What a network says of the pixels of an image, as images: colours for classes, shades else."""

from __future__ import annotations

import colorsys
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from attrs import define, field
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bayesnas.dsl.files import check_empty, write_bytes
from bayesnas.runtime.jobs.prediction import Prediction
from bayesnas.runtime.tasks.parts import Array, Map

LIST: Final = "maps.csv"  # in the folder of the maps
_COLUMNS: Final = ("file", "example", "output", "map")
_COLOURS: Final = 256  # of a palette
_GOLDEN: Final = 0.618033988749895  # turns of hue from class to class, so that few are alike
_MODES: Final = {1: "L", 3: "RGB"}


@define
class MapFolder:
    """The folder that maps are written to, each under the name of its file.

    Classes are PNG files whose pixels are the numbers of classes, with a colour each; bytes are
    shades or RGB. Other numbers are shades of 16 bits from the least to the greatest of the map,
    and stand beside it as they are, in their own units, as ``.npy`` [C, H, W]. Texts in the PNG say
    what is what. `LIST` has a line for each file written: of which file and example it is.
    """

    folder: Path
    names: dict[str, int] = field(factory=dict)
    count: int = 0
    lines: list[tuple[str, int, str, str]] = field(factory=list)

    @classmethod
    def of(cls, folder: Path, force: bool) -> MapFolder:
        """A folder that is empty, or may be written over.

        Raises:
            DiagnosticError: D413.
        """
        check_empty(folder, force)
        return cls(folder)

    def write(self, prediction: Prediction) -> None:
        """Write the maps of an example."""
        stem = prediction.file.stem
        if prediction.example is not None:
            stem += f"_{prediction.example}"
        stem = self._free(stem)
        of = str(prediction.file), prediction.example or 0
        for port, one in prediction.maps.items():
            name = f"{stem}_{port}" if port else stem
            for end, data in files_of(one):
                write_bytes(self.folder / f"{name}{end}", data)
                self.lines.append((*of, port, f"{name}{end}"))
            self.count += 1

    def write_list(self) -> None:
        """Write which file is of what, of all that was written so far."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *self.lines])
        write_bytes(self.folder / LIST, text.getvalue().encode("utf-8", "surrogateescape"))

    def _free(self, name: str) -> str:
        """The name, or one with a number where a file of that name came before."""
        count = self.names[name] = self.names.get(name, 0) + 1
        return name if count == 1 else self._free(f"{name}_{count}")


def files_of(one: Map) -> Iterator[tuple[str, bytes]]:
    """Endings and contents of the files of a map."""
    if one.classes:
        coloured = len(one.classes) <= _COLOURS
        image = Image.fromarray(one.values.astype(np.uint8 if coloured else np.uint16))
        if coloured:
            image.putpalette(palette(len(one.classes)))
        yield ".png", _png(image, {str(k): name for k, name in enumerate(one.classes)})
        return
    channels = one.values.shape[0]
    if one.bytes and channels in _MODES:
        pixels = np.round(255 * one.values.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
        yield ".png", _png(Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels), {})
        return
    for k, channel in enumerate(one.values):
        least, most = float(channel.min()), float(channel.max())
        shades = np.round(65535 * (channel - least) / ((most - least) or 1)).astype(np.uint16)
        end = ".png" if channels == 1 else f"_{k}.png"
        yield end, _png(Image.fromarray(shades), {"black": f"{least:g}", "white": f"{most:g}"})
    yield ".npy", _npy(one.values)


def _png(image: Image.Image, texts: dict[str, str]) -> bytes:
    about, file = PngInfo(), io.BytesIO()
    for key, text in texts.items():
        about.add_itxt(key, text)
    image.save(file, "png", pnginfo=about)
    return file.getvalue()


def _npy(values: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def palette(classes: int) -> list[int]:
    """Red, green and blue of each class, 0 to 255: the first is black."""
    colours = [0, 0, 0]
    for k in range(1, classes):
        value = 1.0 - 0.25 * (k // 8 % 3)
        colours += [round(255 * c) for c in colorsys.hsv_to_rgb(k * _GOLDEN % 1, 0.75, value)]
    return colours
