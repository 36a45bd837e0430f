"""What a trained network says of files: images, folders of images, arrays."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle, quote
from bayesnas.runtime.data.archives import read_examples
from bayesnas.runtime.data.dataset import raw_batches
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.folders.images import ENDINGS, ImageError, Picture
from bayesnas.runtime.data.folders.listing import Findings, images_below
from bayesnas.runtime.data.folders.reading import Reader, check_shape, stacked
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.data.tables.source import read_rows
from bayesnas.runtime.data.texts.source import read_end
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.tasks.bundle import Inputs, bundled
from bayesnas.runtime.tasks.next_token import NextToken
from bayesnas.runtime.tasks.parts import Map, wrong

_TABLES: Final = frozenset({".csv", ".tsv", ".parquet"})
_TEXTS: Final = frozenset({".txt", ".text", ".md", ".xz"})
_ARRAYS: Final = frozenset({".npy", ".npz"})
Form: TypeAlias = Literal["image", "array", "table", "text"]

Answers: TypeAlias = Sequence[tuple[str, float]]


@frozen
class Prediction:
    """What the network says of an example, as `Task.answers` has it.

    ``example`` counts the examples of a file of arrays from 0; None for an image. ``maps`` are
    those of `Task.maps`, where they were asked for.
    """

    file: Path
    example: int | None
    answers: Answers
    maps: Mapping[str, Map] = field(factory=dict, eq=False, repr=False)


@frozen
class Fault:
    """Why a file has no prediction; a ``size`` alone would change with `--resize`."""

    file: Path
    reason: str
    size: bool = False


Outcome: TypeAlias = Prediction | Fault


@frozen
class Wanted:
    """What is asked of each example: so many answers at most, and its maps or not."""

    top: int = 1
    maps: bool = False


def predictions(
    trained: TrainedRun,
    work: Sequence[Path | Fault],
    options: DataOptions,
    top: int,
    done: Callable[[int], None],
    findings: Findings,
    maps: bool = False,
) -> Iterator[Outcome]:
    """Of every example in some files, in order.

    No more than a batch of images, or a file of arrays, is in memory at once.

    Args:
        trained: the network.
        work: images, arrays, tables and texts, as `listed`.
        options: how images are fitted; else as in the training.
        top: how many answers an example has at most.
        done: is told how many files were read.
        findings: what was done to images and arrays is added to it on the way.
        maps: whether predictions have maps.

    Raises:
        DiagnosticError: D423 (images are to be fitted, and there are only arrays), D505 (images for
            a network that takes none), before any prediction.
    """
    files = [item for item in work if isinstance(item, Path)]
    if any(_form(trained, file) == "image" for file in files):
        _check_images(trained)
    elif files:
        remedy = "leave it out: examples in arrays have the network's shape"
        check_idle(options.fitted, "with arrays", remedy)
    shape = tuple(next(iter(trained.inputs.values()))["shape"])
    reader = Reader(shape, trained.reading(options), findings)
    return _predicted(trained, work, reader, Wanted(top, maps), done)


def listed(files: Sequence[Path], findings: Findings) -> list[Path | Fault]:
    """The files that are meant: for a folder all images below it; or what is wrong with a name.

    What is passed over in folders is added to the findings.
    """
    found: list[Path | Fault] = []
    for file in files:
        try:
            kind = file.stat().st_mode
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            reason = f"no such file{_meant(file)}" if missing else str(error)
            found.append(Fault(file, reason))
            continue
        if stat.S_ISDIR(kind):
            images = images_below(file, findings)
            found += images or [Fault(file, "no images in it")]
        else:
            found.append(file)
    return found


def _meant(file: Path) -> str:
    """A hint for names of data, as other commands take them."""
    word, _, path = str(file).partition(":")
    return f"; write `{path}`" if word in ("folder", "npz") and Path(path).exists() else ""


def _form(trained: TrainedRun, file: Path) -> Form:
    """What a file is taken for: by its ending, and by what the run was trained on."""
    ending = file.suffix.lower()
    if ending in _ARRAYS:
        return "array"
    if isinstance(trained.task, NextToken):
        return "text"
    rows = any("columns" in about for about in trained.inputs.values())
    if ending in _TABLES or (rows and ending not in ENDINGS):
        return "table"
    return "text" if ending in _TEXTS else "image"


def _check_images(trained: TrainedRun) -> None:
    if len(trained.inputs) > 1:
        raise DiagnosticError(
            Diagnostic(
                "D505",
                "an image file is one input, the network takes several",
                notes=(f"it takes {quote(trained.inputs)}",),
                help=f"save the examples by port: {_saved(trained)}",
            )
        )
    check_shape(trained.shape)
    if not trained.takes_pixels():
        raise DiagnosticError(
            Diagnostic(
                "D505",
                "image files hold pixels, the network takes numbers of another scale",
                notes=(f"it was trained on `{trained.settings['data']}`",),
                help="save the examples as the training had them: `numpy.save('FILE.npy', x)`",
            )
        )


def _saved(trained: TrainedRun) -> str:
    arrays = ", ".join(f"{port}=..." for port in trained.inputs)
    return f"`numpy.savez('FILE.npz', {arrays})`"


def _predicted(
    trained: TrainedRun,
    work: Sequence[Path | Fault],
    reader: Reader,
    wanted: Wanted,
    done: Callable[[int], None],
) -> Iterator[Outcome]:
    def kind(item: Path | Fault) -> str:
        if isinstance(item, Fault):
            return "fault"
        return "image" if _form(trained, item) == "image" else "array"

    for word, items in groupby(work, kind):
        group = list(items)
        size = trained.at_once if word == "image" else 1
        for start in range(0, len(group), size):
            batch = group[start : start + size]
            files = [item for item in batch if isinstance(item, Path)]
            if word == "fault":
                yield from (item for item in batch if isinstance(item, Fault))
            elif word == "array":
                yield from _of_array(trained, files[0], wanted, reader)
            else:
                yield from _of_images(trained, files, reader, wanted)
            done(len(batch))


def _of_images(
    trained: TrainedRun, files: Sequence[Path], reader: Reader, wanted: Wanted
) -> Iterator[Outcome]:
    results = [
        _fitting(file, picture, trained.shape, reader.findings)
        for file, picture in zip(files, reader.read(files), strict=True)
    ]
    pictures = [result for result in results if isinstance(result, Tensor)]
    deep = any(picture.is_floating_point() for picture in pictures)
    answers = _answers(trained, stacked(pictures, trained.shape, deep), wanted)
    for file, result in zip(files, results, strict=True):
        yield result if isinstance(result, Fault) else _outcome(file, None, next(answers))


def _fitting(
    file: Path, picture: Picture | ImageError, shape: Shape, findings: Findings
) -> Tensor | Fault:
    """The pixels of a picture of that shape; what was done to it is added to the findings."""
    if isinstance(picture, ImageError):
        return Fault(file, str(picture))
    own = tuple(picture.pixels.shape)
    if own == shape:
        findings.remarks.update(picture.remarks)
        return picture.pixels
    return Fault(file, f"it is {list(own)}, the network takes {list(shape)}", size=True)


def _of_array(trained: TrainedRun, file: Path, wanted: Wanted, reader: Reader) -> Iterator[Outcome]:
    try:
        inputs, remark = _examples(trained, file, reader)
    except DiagnosticError as error:
        yield Fault(file, error.diagnostics[0].message.removeprefix(f"`{file}` "))
        return
    reader.findings.arrays.update([remark] if remark else ())
    for number, answers in enumerate(_answers(trained, inputs, wanted)):
        yield _outcome(file, number, answers)


def _examples(trained: TrainedRun, file: Path, reader: Reader) -> tuple[Inputs, str]:
    """The examples in a file, and what was done to them.

    Raises:
        DiagnosticError: what `read_examples` and `TrainedRun.fitted` raise, and D511 (a single
            array for several inputs), D512 (not as many of each), D516 (a table).
    """
    place, remarks, inputs = f"`{file}`", [], {}
    for port, about in trained.inputs.items():
        found, remark = _of_port(trained, file, about, port, reader)
        inputs[port] = trained.fitted(found, place, port)
        remarks.append(f"`{port}`: {remark}" if port and remark else remark)
    counts = {port: len(tensor) for port, tensor in inputs.items()}
    if len({*counts.values()}) > 1:
        told = ", ".join(f"{count:,} of `{port}`" for port, count in counts.items())
        raise wrong(place, "D512", f"has {told}", "save all inputs of each example")
    return bundled(inputs), "; ".join(filter(None, remarks))


def _of_port(
    trained: TrainedRun, file: Path, about: Mapping[str, Any], port: str, reader: Reader
) -> tuple[Tensor, str]:
    """The examples of one input in a file, and what was done to them."""
    form = _form(trained, file)
    if form == "text":
        return read_end(file, trained.task, about["shape"][0]), ""
    if form == "array":
        graph = trained.compiled.graph
        single = "" if port else graph.node(graph.root.inputs[0]).name
        return read_examples(file, tuple(about["shape"]), port, single)
    if (columns := about.get("columns")) is None:
        remedy = "save the examples as an array, `.npy`"
        raise wrong(f"`{file}`", "D516", "is a table, and the run was trained on none", remedy)
    shape = tuple(about["shape"])
    return read_rows(file, columns, shape, reader.options, reader.findings)


def _outcome(
    file: Path, number: int | None, said: tuple[Answers, Mapping[str, Map]] | None
) -> Outcome:
    if said is not None:
        return Prediction(file, number, *said)
    where = "" if number is None else f" for example {number} (counted from 0)"
    return Fault(file, f"the network's outputs{where} are not finite")


def _answers(
    trained: TrainedRun, inputs: Inputs, wanted: Wanted
) -> Iterator[tuple[Answers, Mapping[str, Map]] | None]:
    """Of each example, with its maps; None where outputs are not finite."""
    part = Part(inputs, torch.zeros(len(inputs)))
    device = next(trained.network.buffers()).device  # it has those of its inputs at least
    for batch, _ in raw_batches(part, trained.at_once):
        with torch.no_grad():
            outputs = predict(trained.network, batch.to(device)).cpu()
        finite = outputs.isfinite().all(dim=1).tolist()
        answers = trained.task.answers(outputs, wanted.top)
        maps = trained.task.maps(outputs) if wanted.maps else [dict[str, Map]() for _ in outputs]
        for good, own, seen in zip(finite, answers, maps, strict=True):
            yield (own, seen) if good else None
