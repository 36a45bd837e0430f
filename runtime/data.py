"""Images and labels: `digits`, `folder:PATH` and `cifar10`, as tensors in memory.

Images are bytes [N, channels, height, width]; `Data.normalize` turns a batch into what networks
see. The test part is for reporting alone: searches and trainings split the training part.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import define, evolve, field, frozen
from PIL import Image, ImageOps
from torch import Tensor

from bayesnas.compiler.graph import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest

KINDS: Final = ("digits", "cifar10", "folder:PATH")
_ENDINGS: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
_MODES: Final = {1: "L", 3: "RGB"}


@frozen
class Part:
    """Some examples: ``images`` bytes [N, C, H, W], ``labels`` int64 [N]."""

    images: Tensor = field(eq=False, repr=False)
    labels: Tensor = field(eq=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Part:
        """The examples at these positions."""
        return Part(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> Part:
        """The same examples on another device."""
        return Part(self.images.to(device), self.labels.to(device))


@frozen
class Data:
    """A data set; ``mean`` and ``std`` are of the training part's channels, in [0, 1]."""

    name: str
    classes: tuple[str, ...]
    train: Part
    test: Part
    mean: Tensor = field(eq=False)
    std: Tensor = field(eq=False)
    augment: str = "shift_flip"  # what `augment = auto` means for it

    def to(self, device: torch.device) -> Data:
        """The same data on another device."""
        return evolve(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def normalize(self, images: Tensor) -> Tensor:
        """Bytes [N, C, H, W] to float32 of mean 0 and deviation 1 in each channel."""
        scaled = images.to(torch.float32) / 255
        normal = (scaled - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)
        return normal.contiguous(memory_format=torch.channels_last)


@frozen
class DataOptions:
    """How data may be had: whether to resize and to download, and where downloads lie."""

    resize: bool = False
    download: bool = False
    root: Path = Path("data")


def check_task(graph: Graph) -> tuple[tuple[int, int, int], int]:
    """Image shape and number of classes of a network, if it classifies images.

    Raises:
        DiagnosticError: D430 (not one map in and one vector out).
    """
    inputs, outputs = graph.root.inputs, graph.root.outputs
    shapes = [graph.node(n).shape or () for n in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or [len(s) for s in shapes] != [3, 1]:
        raise DiagnosticError(
            Diagnostic(
                "D430",
                f"`{graph.name}` does not classify images",
                graph.node(inputs[0]).span,
                notes=(f"inputs are {quote(inputs)}, outputs are {quote(outputs)}",),
                help="training needs one input [channels, height, width] and one output [classes]",
            )
        )
    channels, height, width = shapes[0]
    return (channels, height, width), shapes[1][0]


def load_data(name: str, graph: Graph, options: DataOptions | None = None) -> Data:
    """The data set of that name, checked against the network that will see it.

    Raises:
        DiagnosticError: D501 (unknown), D502-D504 (folder), D505 (image size), D506 (classes),
            D507 (cifar10 is not there).
    """
    shape, classes = check_task(graph)
    data = _load(name, shape, options or DataOptions())
    found = tuple(data.train.images.shape[1:])
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
            f"images of `{name}` are {list(found)}, the network takes {list(shape)}",
            node.span,
            help=remedy,
        )
    )


def _load(name: str, shape: tuple[int, int, int], options: DataOptions) -> Data:
    if name == "digits":
        return _digits()
    if name == "cifar10":
        return _cifar10(options)
    if name.startswith("folder:"):
        return _folder(name, Path(name.removeprefix("folder:")), shape, options.resize)
    remedy = suggest(name, KINDS, f"choose from {quote(KINDS)}")
    if Path(name).is_dir():
        remedy = f"write `folder:{name}`"
    raise DiagnosticError(Diagnostic("D501", f"unknown data `{name}`", help=remedy))


def _data(
    name: str, classes: Sequence[str], train: Part, test: Part, augment: str = "shift_flip"
) -> Data:
    channels = train.images.to(torch.float32).div(255).transpose(0, 1).flatten(1)
    std = channels.std(dim=1).clamp_min(1e-3)  # a constant channel stays a constant
    return Data(name, tuple(classes), train, test, channels.mean(dim=1), std, augment)


def _digits() -> Data:
    """scikit-learn's 1,797 images; a stratified fifth, the same for every seed, is the test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    fit, test = train_test_split(
        np.arange(len(images)), test_size=0.2, stratify=bunch.target, random_state=0
    )
    whole = Part(torch.from_numpy(images), torch.from_numpy(bunch.target.astype(np.int64)))
    classes = [str(c) for c in bunch.target_names]
    train, held = (whole.subset(torch.from_numpy(np.sort(i))) for i in (fit, test))
    return _data("digits", classes, train, held, augment="shift")


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
    return _data("cifar10", train.classes, fit, held)


# ----------------------------------------------------------------------------------------- folders


def _folder(name: str, root: Path, shape: tuple[int, int, int], resize: bool) -> Data:
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
    return _data(name, classes, train, test)


def _read_part(
    name: str, folder: Path, classes: Sequence[str], shape: tuple[int, int, int], resize: bool
) -> Part:
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
    shape: tuple[int, int, int]
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


# ----------------------------------------------------------------------------------------- batches


def split(part: Part, fraction: float, generator: torch.Generator) -> tuple[Part, Part]:
    """A random split: all but a ``fraction``, and that fraction (at least one example each)."""
    order = torch.randperm(len(part), generator=generator).to(part.labels.device)
    held = min(max(1, round(len(part) * fraction)), len(part) - 1)
    return part.subset(order[held:]), part.subset(order[:held])


def batches(
    data: Data, part: Part, size: int, augment: str, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches of normalised images and labels, one pass.

    The last batch is left out where it is a single example, which batch normalisation refuses.
    """
    kind = data.augment if augment == "auto" else augment
    order = torch.randperm(len(part), generator=generator).to(part.labels.device)
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        if len(indices) > 1 or size == 1 or len(part) == 1:
            chosen = part.subset(indices)
            images = augmented(chosen.images, kind, generator)
            yield data.normalize(images), chosen.labels


def plain_batches(data: Data, part: Part, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in order, as they are."""
    for start in range(0, len(part), size):
        stop = start + size
        yield data.normalize(part.images[start:stop]), part.labels[start:stop]


def augmented(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Images shifted by up to an eighth of their size, and mirrored where ``kind`` says so."""
    if kind == "none":
        return images
    count, _, height, width = images.shape
    device = images.device
    reach = max(1, height // 8), max(1, width // 8)
    padded = torch.nn.functional.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    down, right = (
        torch.randint(0, 2 * r + 1, (count, 1), generator=generator).to(device) for r in reach
    )
    rows = down + torch.arange(height, device=device)
    columns = right + torch.arange(width, device=device)
    if kind == "shift_flip":
        mirrored = torch.rand(count, 1, generator=generator).to(device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    examples = torch.arange(count, device=device)[:, None, None]
    # Advanced indices around the slice put the channels last.
    chosen = padded[examples, :, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)
