"""Image files in a folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from attrs import evolve

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.folders.images import ENDINGS, FITTED
from bayesnas.runtime.data.folders.layout import Layout, litter
from bayesnas.runtime.data.folders.listing import Files, Findings, Labelled, images_below
from bayesnas.runtime.data.folders.reading import check_shape
from bayesnas.runtime.data.folders.survey import survey
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.data.splits import reserve_test
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task


def load(request: Request) -> Data:
    """Images of ``PATH/train/CLASS/`` and ``PATH/test/CLASS/``, those of folders inside included.

    ``val`` stands in for a missing ``test``; without either, or with ``PATH/CLASS/`` alone, a
    fifth of the images is the test part. Bytes of the network's shape; where a file has 16 bits a
    pixel, all are shares of the full scale instead.

    Raises:
        DiagnosticError: D502 (a folder is missing), D503 (no images), D504 (images cannot be
            read), D505 (their shape), D506 (other classes in the test part), D514 (a single class,
            or images), D617 (a process that decodes has died).
    """
    root = Path(request.argument)
    check_shape(request.shape)
    if request.learned is not None:
        return _to_judge(request, root, request.learned)
    layout, findings = Layout.of(root), Findings()
    parts, notes = _parts(layout, findings)
    surveyed = survey(request, parts, findings)
    train, test = surveyed.parts
    note = "; ".join([*notes, *findings.texts(), *surveyed.notes])
    data = Data.of(request.name, Classification(layout.classes), train, test, "shift", note)
    refitted = isinstance(train, Part) and bool(findings.remarks.keys() & {*FITTED.values()})
    return evolve(data, refitted=refitted)


def _to_judge(request: Request, root: Path, learned: Task) -> Data:
    layout, findings = Layout.to_judge(root, learned.strata_names), Findings()
    surveyed = survey(request, [_labelled(layout.train, layout.classes, findings)], findings)
    note = "; ".join([*_asides(layout), *findings.texts(), *surveyed.notes])
    return Data.to_judge(request.name, learned, surveyed.parts[0], note)


# ----------------------------------------------------------------------------------------- files


def _parts(layout: Layout, findings: Findings) -> tuple[list[Labelled], list[str]]:
    """The files for training and testing with the numbers of their classes, and what to say."""
    notes = _asides(layout)
    whole = _labelled(layout.train, layout.classes, findings, every=True)
    if layout.test is not None:
        return [whole, _labelled(layout.test, layout.classes, findings)], notes
    fit, held = reserve_test(whole.targets.numpy(), f"`{layout.train}`")
    notes.append(
        f"there is no `test`: {len(held):,} of the {len(whole.places):,} images, "
        "of every class a fifth and in every run the same, are the test part"
    )
    return [whole.subset(fit), whole.subset(held)], notes


def _asides(layout: Layout) -> list[str]:
    """What is said of a layout."""
    unused = [
        f"`{part.name}` is not used: {len(images_below(part, Findings())):,} images"
        for part in layout.unused
    ]
    return [layout.note, *unused] if layout.note else unused


def _labelled(
    part: Path, classes: Sequence[str], findings: Findings, every: bool = False
) -> Labelled:
    """Every image of a part with the number of its class; of ``every`` class, or of some.

    Raises:
        DiagnosticError: D503.
    """
    for path in part.iterdir():
        if path.is_dir():
            findings.skipped["hidden folders"] += litter(path.name)
        elif path.suffix.lower() in ENDINGS:
            findings.skipped["images beside the class folders"] += 1
    by_class = [images_below(part / name, findings) for name in classes]
    counts = [len(files) for files in by_class]
    if not sum(counts):
        raise _no_images(part, classes)
    if every and not all(counts):
        raise _no_images(part / classes[counts.index(0)], classes)
    labels = torch.from_numpy(np.repeat(np.arange(len(classes)), counts))
    return Labelled(Files.joined(by_class), np.arange(sum(counts)), labels)


def _no_images(folder: Path, classes: Sequence[str]) -> DiagnosticError:
    endings = ", ".join(sorted(ENDINGS))
    return DiagnosticError(
        Diagnostic(
            "D503",
            f"no images in `{folder}`",
            notes=(f"class folders: {quote(classes[:8]) or 'none'}; endings: {endings}",),
            help="put images into a folder for each class, or remove the folder",
        )
    )
