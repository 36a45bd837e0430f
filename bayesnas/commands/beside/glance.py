"""What data looks like before there is a network for it: sizes, classes, numbers of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote

if TYPE_CHECKING:
    from bayesnas.runtime.data.dataset import Data
    from bayesnas.runtime.data.registry import DataOptions

_LOOKED_AT: Final = 200  # image files whose size is read
_WINDOW: Final = 64  # tokens
_SIDES: Final = (64, 48, 32, 24, 16)  # that images of different sizes are fitted to, the first that
_EXACT: Final = 64  # is no larger; images of one size up to here stay as they are
_QUARTERS: Final = 4  # sides of images with masks are halved twice
_LOPSIDED: Final = 4  # times as many examples of one class as of another


@frozen
class Glance:
    """What a spec has to fit.

    Args:
        shape: of one example as a network declares it: features, channels and length, or channels,
            height and width.
        outputs: that a network has, one a class or a number to tell.
        classes: their names; none where numbers are told.
        examples: of the training part; of all where it is still to be divided.
        counts: of each class.
        resized: whether image files are fitted to the shape.
        told: what was seen, in words.
        tokens: whether they are windows of a text, and the next token is learned.
        maps: whether a class or numbers are told of each pixel.
        divided: whether there is a test part beside the examples.
        inputs: by their names, where there are several inputs or outputs; none else.
        answers: how many numbers each output has, likewise.
    """

    shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...]
    examples: int
    counts: tuple[int, ...]
    resized: bool
    told: str
    tokens: bool = False
    maps: bool = False
    divided: bool = True
    inputs: Mapping[str, tuple[int, ...]] = {}
    answers: Mapping[str, int] = {}

    @property
    def lopsided(self) -> bool:
        """Whether some classes are rare."""
        return bool(self.counts) and max(self.counts) > _LOPSIDED * max(1, min(self.counts))


def glance(name: str, options: DataOptions, outputs: Sequence[str] = ()) -> Glance:
    """Look at data by its name.

    Args:
        name: as on the command line.
        options: how it may be had.
        outputs: the arrays of an .npz file that are predicted; none where `x` and `y` are meant.

    Raises:
        DiagnosticError: D501 (unknown), D503 (no image that can be read), D511 (arrays of several
            inputs or outputs), and what the source raises.
    """
    from bayesnas.runtime.data.folders.pairs import paired
    from bayesnas.runtime.data.loading import unknown
    from bayesnas.runtime.data.registry import Ports, Request, source_of

    source = source_of(name)
    if source is None:
        raise unknown(name)
    argument = name.partition(":")[2]
    if source.streams:
        return _of_pairs(Path(argument)) if paired(Path(argument)) else _of_folder(Path(argument))
    if source.spells:
        ports = Ports({"tokens": (_WINDOW,)}, {"next": (0, _WINDOW)})
        data = source.load(Request(name, argument, (_WINDOW,), options, ports=ports))
        tokens: tuple[str, ...] = getattr(data.task, "tokens", ())
        shape, told = (_WINDOW,), f"{options.level}s"
        return Glance(shape, len(tokens), (), len(data.train), (), False, told, True)
    if outputs:
        from bayesnas.commands.beside.several import data_of_ports

        return _of_ports(*data_of_ports(Path(argument), outputs), outputs)
    try:
        return _of_data(source.load(Request(name, argument, (), options)))
    except DiagnosticError as error:
        raise DiagnosticError(*(_with_target(found) for found in error.diagnostics)) from None


def _with_target(found: Diagnostic) -> Diagnostic:
    """D511 with what `init` takes besides, arrays of any names."""
    if found.code != "D511":
        return found
    remedy = f"{found.help}, or name the arrays that are predicted: `--target NAME`"
    return evolve(found, help=remedy)


def _of_ports(data: Data, names: Sequence[str], outputs: Sequence[str]) -> Glance:
    """Of arrays by the names of ports.

    Raises:
        DiagnosticError: D512 (targets a pixel).
    """
    from bayesnas.runtime.tasks.bundle import Bundle
    from bayesnas.runtime.tasks.several import Several, parts_of

    read = data.train.inputs
    tasks = dict(zip(outputs, parts_of(data.task), strict=True))
    if maps := [name for name, task in tasks.items() if task.placed]:
        remedy = "begin with `specs/two_tasks.nas`, and write your ports into it"
        message = f"{quote(maps)} of `{data.name}` has targets a pixel: there is no start"
        raise DiagnosticError(Diagnostic("D512", message, help=remedy))
    arrays = read.ports if isinstance(read, Bundle) else {names[0]: read}
    shapes = {name: _declared(tuple(array.shape[1:])) for name, array in arrays.items()}
    own = data.train.targets.shape[1:]
    rows = [o.shape for o in data.task.outputs] if isinstance(data.task, Several) else [own]
    answers = {
        name: len(task.strata_names) or prod(row)
        for (name, task), row in zip(tasks.items(), rows, strict=True)
    }
    first = next(iter(shapes.values()))[0]
    told = ", ".join(f"{name}: {said}" for name, (_, said) in shapes.items())
    inputs = {name: shape for name, (shape, _) in shapes.items()}
    examples = len(data.train)
    return Glance(first, 1, (), examples, (), False, told, inputs=inputs, answers=answers)


def _of_data(data: Any) -> Glance:
    """Of a data set that is read whole, whatever the network."""
    import numpy as np

    own = tuple(data.train.inputs.shape[1:])
    shape, said = _declared(own)
    targets = data.train.targets
    if data.task.placed:
        return _of_maps(data, shape, said)
    names = data.task.strata_names
    counts: tuple[int, ...] = ()
    outputs = len(names)
    if names:
        strata = data.task.strata(targets)
        counts = tuple(np.bincount(strata, minlength=len(names)).tolist())
    else:
        outputs = 1 if targets.dim() == 1 else int(targets.shape[1])
    return Glance(shape, outputs, names, len(data.train), counts, False, said)


def _of_maps(data: Any, shape: tuple[int, ...], said: str) -> Glance:
    """Of arrays with targets a pixel.

    Raises:
        DiagnosticError: D512 (sizes that the start cannot halve twice).
    """
    if len(shape) != 3 or any(side % _QUARTERS for side in shape[1:]):
        remedy = "begin with `examples/segmentation/space.nas`, or pad to multiples of 4"
        message = f"`{data.name}` has a target per pixel, and examples of {list(shape)}"
        raise DiagnosticError(Diagnostic("D512", message, help=remedy))
    names: tuple[str, ...] = getattr(data.task, "classes", ())
    numbers = data.train.targets.shape[1] if data.train.targets.dim() == 4 else 1
    outputs, examples = len(names) or numbers, len(data.train)
    return Glance(shape, outputs, names, examples, (), False, f"{said}, with maps", maps=True)


def _declared(own: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """How a network declares examples of arrays, channels first, and what they are."""
    if len(own) == 3:
        last = own[-1] in (1, 3, 4) and own[0] not in (1, 3, 4)
        return ((own[2], own[0], own[1]) if last else own), "images"
    if len(own) == 2 and abs(own[0] - own[1]) * 4 <= max(own) and min(own) >= 8:
        return (1, *own), "images of one channel"
    if len(own) == 2:
        return (min(own), max(own)), "series, channels and length"
    if len(own) == 1:
        return own, "rows of numbers"
    return (1,), "single numbers"


def _of_pairs(root: Path) -> Glance:
    """Of images with masks, or with target images; all of the targets are read.

    Raises:
        DiagnosticError: D503 (no image can be read), D504 (nor can a target), and what
            `paired_parts` and `Pairs.files` raise.
    """
    from bayesnas.runtime.data.folders.pairs import glance_of_targets, paired_parts

    parts = paired_parts(root)
    images, outputs = glance_of_targets(parts)
    shape, resized, told = _fitted(parts["train"].images, images, _QUARTERS)
    classes = tuple(map(str, range(outputs)))
    beside = "with masks" if classes else "with target images"
    return Glance(
        shape, outputs or 3, classes, len(images), (), resized, f"{told}, {beside}", maps=True
    )


def _of_folder(root: Path) -> Glance:
    """Of image files in class folders; their sizes are read, not their pixels.

    Raises:
        DiagnosticError: D503 (none of them can be read), and what `Layout.of` raises.
    """
    from bayesnas.runtime.data.folders.layout import Layout
    from bayesnas.runtime.data.folders.listing import Files, Findings, images_below

    layout = Layout.of(root)
    files = [images_below(layout.train / name, Findings()) for name in layout.classes]
    shape, resized, told = _fitted(layout.train, Files.joined(files))
    counts = tuple(map(len, files))
    divided = layout.test is not None
    return Glance(
        shape, len(files), layout.classes, sum(counts), counts, resized, told, divided=divided
    )


def _fitted(
    folder: Path, files: Sequence[Path], multiple: int = 1
) -> tuple[tuple[int, int, int], bool, str]:
    """The shape that images are declared as, whether they are fitted to it, and what they are.

    Args:
        folder: where they lie.
        files: the images.
        multiple: that their sides have to be multiples of.

    Raises:
        DiagnosticError: D503 (none of them can be read).
    """
    from bayesnas.runtime.data.folders.images import picture_size

    seen = [size for path in _spread(files) if (size := picture_size(path)) is not None]
    if not seen:
        remedy = "put images (PNG, JPEG, ...) into a folder for each class"
        raise DiagnosticError(Diagnostic("D503", f"no images in `{folder}`", help=remedy))
    channels = 1 if all(grey for _, _, grey in seen) else 3
    sizes = Counter((height, width) for height, width, _ in seen)
    [(height, width), _] = sizes.most_common(1)[0]
    exact = len(sizes) == 1 and max(height, width) <= _EXACT
    exact = exact and height % multiple == width % multiple == 0
    if not exact:
        median = sorted(min(h, w) for h, w, _ in seen)[len(seen) // 2]
        height = width = next((side for side in _SIDES if side <= median), _SIDES[-1])
    kind = "grey" if channels == 1 else "colour"
    told = f"{kind} images" if exact else f"{kind} images of {_span(seen)} pixels, fitted to that"
    return (channels, height, width), not exact, told


def _spread(files: Sequence[Path]) -> Sequence[Path]:
    """Some of many files, from all over."""
    return files[:: max(1, len(files) // _LOOKED_AT)]


def _span(seen: Sequence[tuple[int, int, bool]]) -> str:
    """Widths and heights from the smallest to the largest."""
    least, most = (
        " x ".join(str(choose(size[k] for size in seen)) for k in (1, 0)) for choose in (min, max)
    )
    return least if least == most else f"{least} to {most}"
