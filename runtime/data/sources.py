"""Where data comes from: `digits`, `cifar10`, `folder:PATH` and `npz:FILE`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import define
from PIL import Image, ImageOps
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.data.arrays import read_arrays
from bayesnas.runtime.data.dataset import Data, DataOptions, Part

KINDS: Final = ("digits", "cifar10", "folder:PATH", "npz:FILE")
_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_MODES: Final = {1: "L", 3: "RGB"}


def check_task(graph: Graph) -> tuple[Shape, int]:
    """Shape of an example and number of classes of a network, if it is a classifier.

    Raises:
        DiagnosticError: D430 (not one input and one vector out).
    """
    inputs, outputs = graph.root.inputs, graph.root.outputs
    shapes = [graph.node(n).shape or () for n in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or len(shapes[1]) != 1:
        raise DiagnosticError(
            Diagnostic(
                "D430",
                f"`{graph.name}` is not a classifier",
                graph.node(inputs[0]).span,
                notes=(f"inputs are {quote(inputs)}, outputs are {quote(outputs)}",),
                help="training needs one input of any shape and one output [classes]",
            )
        )
    return shapes[0], shapes[1][0]


def load_data(name: str, graph: Graph, options: DataOptions | None = None) -> Data:
    """The data set of that name, checked against the network that will see it.

    Raises:
        DiagnosticError: D501 (unknown), D502-D504 (folder), D505 (shape), D506 (classes), D507
            (cifar10 is not there), D510-D514 (arrays).
    """
    shape, classes = check_task(graph)
    data = _load(name, shape, options or DataOptions())
    found = tuple(data.train.inputs.shape[1:])
    if found != shape:
        raise _size_error(data.name, found, shape, graph)
    if len(data.classes) != classes:
        node = graph.node(graph.root.outputs[0])
        raise DiagnosticError(
            Diagnostic(
                "D506",
                f"`{data.name}` has {len(data.classes)} classes, the network predicts {classes}",
                node.span,
                help=f"declare the output as `{node.name}: [{len(data.classes)}]`, "
                f"fed by `linear({len(data.classes)})`",
            )
        )
    return data


def _size_error(
    name: str, found: Sequence[int], shape: Sequence[int], graph: Graph
) -> DiagnosticError:
    node = graph.node(graph.root.inputs[0])
    remedy = f"declare `{node.name}: {list(found)}`"
    if name.startswith("folder:"):
        remedy += ", or pass `--resize` to fit the images to the spec"
    return DiagnosticError(
        Diagnostic(
            "D505",
            f"examples of `{name}` are {list(found)}, the network takes {list(shape)}",
            node.span,
            help=remedy,
        )
    )


def _load(name: str, shape: Shape, options: DataOptions) -> Data:
    if name == "digits":
        return _digits(flat=len(shape) == 1)
    if name == "cifar10":
        return _cifar10(options)
    if name.startswith("folder:"):
        return _folder(name, Path(name.removeprefix("folder:")), shape, options.resize)
    if name.startswith("npz:"):
        return read_arrays(name, Path(name.removeprefix("npz:")))
    remedy = suggest(name, KINDS, f"choose from {quote(KINDS)}")
    if Path(name).is_dir():
        remedy = f"write `folder:{name}`"
    elif Path(name).suffix == ".npz":
        remedy = f"write `npz:{name}`"
    raise DiagnosticError(Diagnostic("D501", f"unknown data `{name}`", help=remedy))


def _digits(flat: bool) -> Data:
    """scikit-learn's 1,797 images [1, 8, 8], or [64] where ``flat``.

    A stratified fifth, the same for every seed, is the test part.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    fit, test = train_test_split(
        np.arange(len(images)), test_size=0.2, stratify=bunch.target, random_state=0
    )
    if flat:
        images = images.reshape(len(images), -1)
    whole = Part(torch.from_numpy(images), torch.from_numpy(bunch.target.astype(np.int64)))
    classes = [str(c) for c in bunch.target_names]
    train, held = (whole.subset(torch.from_numpy(np.sort(i))) for i in (fit, test))
    return Data.of("digits", classes, train, held, augment="none" if flat else "shift")


def _cifar10(options: DataOptions) -> Data:
    from torchvision.datasets import CIFAR10

    try:
        with warnings.catch_warnings():
            # torchvision's pickle reader warns about numpy's own spelling of dtypes.
            warnings.simplefilter("ignore")
            train, test = (
                CIFAR10(str(options.root), train=flag, download=options.download)
                for flag in (True, False)
            )
    except (RuntimeError, OSError) as error:
        remedy = "pass `--download`, or `--data-root` where it lies"
        if options.download:
            remedy = "check the network, or fetch it elsewhere and pass `--data-root`"
        raise DiagnosticError(
            Diagnostic(
                "D507",
                f"CIFAR-10 is not at `{options.root}`",
                notes=(str(error).splitlines()[0].lower(),),
                help=remedy,
            ),
            status=1 if options.download else 2,
        ) from None
    fit, held = (
        Part(torch.from_numpy(d.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(d.targets))
        for d in (train, test)
    )
    return Data.of("cifar10", train.classes, fit, held)


# ----------------------------------------------------------------------------------------- folders


def _folder(name: str, root: Path, shape: Shape, resize: bool) -> Data:
    if len(shape) != 3:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                f"image files are [channels, height, width], the network takes {list(shape)}",
                help="declare the input as an image, or save the data as arrays: `npz:FILE`",
            )
        )
    if shape[0] not in _MODES:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                f"image files have 1 or 3 channels, the network takes {shape[0]}",
                help="declare the image with 1 channel (grey) or 3 (colour)",
            )
        )
    for part in ("train", "test"):
        if not (root / part).is_dir():
            remedy = "lay out `PATH/train/CLASS/*.png` and `PATH/test/CLASS/*.png`"
            raise DiagnosticError(Diagnostic("D502", f"no folder `{root / part}`", help=remedy))
    classes = sorted(p.name for p in (root / "train").iterdir() if p.is_dir())
    extra = sorted({p.name for p in (root / "test").iterdir() if p.is_dir()} - set(classes))
    if extra:
        raise DiagnosticError(
            Diagnostic(
                "D506",
                f"`{root / 'test'}` has classes that `train` has not: {quote(extra[:5])}",
                help="give both the same class folders",
            )
        )
    train, test = (
        _read_part(name, root / part, classes, shape, resize) for part in ("train", "test")
    )
    return Data.of(name, classes, train, test)


def _read_part(name: str, folder: Path, classes: Sequence[str], shape: Shape, resize: bool) -> Part:
    by_class = [list(_images(folder / name_)) for name_ in classes]
    files = [(path, n) for n, paths in enumerate(by_class) for path in paths]
    if not files:
        raise _no_images(folder, classes)
    if folder.name == "train" and not all(by_class):
        raise _no_images(folder / classes[by_class.index([])], classes)
    images = torch.empty((len(files), *shape), dtype=torch.uint8)
    reader = _Reader(name, shape, resize)
    with ThreadPoolExecutor() as pool:
        for k, image in enumerate(pool.map(reader.read, (path for path, _ in files))):
            images[k] = image
    return Part(images, torch.tensor([label for _, label in files]))


def _no_images(folder: Path, classes: Sequence[str]) -> DiagnosticError:
    endings = ", ".join(sorted(_ENDINGS))
    return DiagnosticError(
        Diagnostic(
            "D503",
            f"no images in `{folder}`",
            notes=(f"class folders: {quote(classes[:8]) or 'none'}; endings: {endings}",),
            help="put images into a folder for each class",
        )
    )


def _images(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in _ENDINGS)


@define
class _Reader:
    """Reads one image file to bytes [C, H, W]."""

    name: str
    shape: Shape
    resize: bool

    def read(self, path: Path) -> Tensor:
        channels, height, width = self.shape
        try:
            with Image.open(path) as file:
                image = file.convert(_MODES[channels])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DiagnosticError(
                Diagnostic(
                    "D504",
                    f"cannot read the image `{path}`",
                    notes=(str(error).splitlines()[0] if str(error) else type(error).__name__,),
                    help="replace the file, or move it out of the class folder",
                )
            ) from None
        if self.resize:
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        if image.size != (width, height):
            found = [channels, image.size[1], image.size[0]]
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"`{path}` is {found}, the network takes {list(self.shape)}",
                    help=f"declare the image as {found}, or pass `--resize` to fit the images "
                    "to the spec",
                )
            )
        array = np.array(image, dtype=np.uint8).reshape(height, width, channels)
        return torch.from_numpy(array).permute(2, 0, 1)
