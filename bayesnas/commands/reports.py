"""How good a network is by class or target, and what it says of examples: as text and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from bayesnas.commands.tables import columns
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.terminal import visible

if TYPE_CHECKING:
    from bayesnas.runtime.jobs.prediction import Fault, Prediction
    from bayesnas.runtime.tasks.interface import Task
    from bayesnas.runtime.tasks.scores import Confusion, Measures, Report

_FULL: Final = 10  # classes whose confusion matrix is shown
_ROWS: Final = 20  # classes in a table
_WIDTH: Final = 100
_FEW: Final = 3  # classes in a sentence
_NAMED: Final = 5  # files of another size


# -------------------------------------------------------------------------------------- by class


def report_lines(report: Report) -> list[str]:
    """What there is to say besides the score: a table by class, label or target."""
    lines = [] if report.confusion is None else class_lines(report.confusion)
    if report.measures is not None:
        lines += measure_lines(report.measures)
    for port, part in report.parts.items():
        lines += ["", f"{visible(port)}:", *report_lines(part)]
    return lines


def summary_lines(report: Report) -> list[str]:
    """The same in short: the recall of classes in a line."""
    if report.confusion is not None:
        return [recall_line(report.confusion)]
    if report.parts:  # whose numbers the score has told
        return [
            f"{visible(port)}: {recall_line(part.confusion)}"
            for port, part in report.parts.items()
            if part.confusion is not None
        ]
    return report_lines(report)


def report_csv(report: Report) -> str:
    """The same as CSV; empty where there is nothing but a score."""
    if report.confusion is not None:
        return class_csv(report.confusion)
    if report.parts:
        return "\n".join(f"{port}\n{report_csv(part)}" for port, part in report.parts.items())
    if report.measures is None:
        return ""
    rows = [
        (name, *("" if math.isnan(number) else number for number in numbers))
        for name, numbers in report.measures.rows.items()
    ]
    return csv_text([(report.measures.what, *report.measures.names), *rows])


def measure_lines(measures: Measures) -> list[str]:
    """A table by target or label; the first of many."""
    rows = [(visible(name), *texts) for name, *texts in measures.texts()]
    head = (measures.what, *measures.names)
    more = [f"and {len(rows) - _ROWS:,} more (`--csv` has all)"] if len(rows) > _ROWS else []
    return [*columns(head, rows[:_ROWS]), *more]


def class_lines(confusion: Confusion) -> list[str]:
    """A table by class, and which classes are taken for which; what never comes is left out."""
    count = len(confusion.classes)
    if count > _ROWS:
        chosen = confusion.worst()[:_ROWS]
        head = [f"the {len(chosen)} classes of lowest recall, of {count:,} (`--csv` has all):"]
    else:
        chosen = [k for k in range(count) if confusion.examples[k] or confusion.answered[k]]
        head = []
    shares = confusion.precision, confusion.recall, confusion.f1
    rows = [
        (
            visible(confusion.classes[k]),
            f"{confusion.examples[k]:,}",
            *(_percent(share[k]) for share in shares),
        )
        for k in chosen
    ]
    return [
        f"balanced accuracy (mean recall) {_percent(confusion.balanced)}",
        "",
        *head,
        *columns(("class", "examples", "precision", "recall", "F1"), rows),
        "",
        *_mistake_lines(confusion),
    ]


def _mistake_lines(confusion: Confusion) -> list[str]:
    """The whole confusion matrix where it is small, else the most frequent mistakes."""
    mistakes = confusion.mistakes()
    if not mistakes:
        return ["no mistakes"]
    names = [visible(name) for name in confusion.classes]
    if len(names) <= _FULL:
        matrix = _matrix(confusion, names)
        if max(map(len, matrix)) <= _WIDTH:
            return ["answers (columns) to the examples of each class (rows):", *matrix]
    rows = [(names[k], names[a], f"{n:,}") for n, k, a in mistakes[:_FULL]]
    return ["most frequent mistakes:", *columns(("class", "taken for", "examples"), rows, 2)]


def _matrix(confusion: Confusion, names: Sequence[str]) -> list[str]:
    """Classes with examples, by classes with examples or answers."""
    classes = range(len(names))
    across = [k for k in classes if confusion.examples[k] or confusion.answered[k]]
    rows = [
        (names[k], *(f"{confusion.counts[k, a]:,}" for a in across))
        for k in classes
        if confusion.examples[k]
    ]
    return columns(("class", *(names[a] for a in across)), rows)


def recall_line(confusion: Confusion) -> str:
    """The recall of each class in a line; of many classes, of the worst."""
    recall, worst = confusion.recall, confusion.worst()
    chosen = worst[:_FEW] if len(confusion.classes) > _FULL else sorted(worst)
    told = ", ".join(f"{confusion.classes[k]} {_percent(recall[k])}" for k in chosen)
    if len(confusion.classes) > _FULL:
        return f"lowest recall: {told} (`result.json` has all classes)"
    return f"recall by class: {told}"


def class_csv(confusion: Confusion) -> str:
    """The same as CSV: a row for each class, what its examples were taken for in the last columns.

    Shares are from 0 to 1, and empty where there is nothing to have a share of.
    """
    shares = zip(confusion.precision, confusion.recall, confusion.f1, strict=True)
    rows = [
        (name, sum(counts), *("" if math.isnan(share) else share for share in three), *counts)
        for name, three, counts in zip(
            confusion.classes, shares, confusion.counts.tolist(), strict=True
        )
    ]
    answers = [f"answered {name}" for name in confusion.classes]
    return csv_text([("class", "examples", "precision", "recall", "f1", *answers), *rows])


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}%"


# -------------------------------------------------------------------------------------- examples


def prediction_line(prediction: Prediction, task: Task) -> str:
    """``photo.png: cat 97.31%, dog 2.01%``."""
    told = ", ".join(task.answer_texts(prediction.answers))
    return f"{_name(prediction)}: {told}"


def _name(prediction: Prediction) -> str:
    where = "" if prediction.example is None else f"[{prediction.example}]"
    return f"{prediction.file}{where}"


def _of_several(task: Task) -> bool:
    from bayesnas.runtime.tasks.several import Several

    return isinstance(task, Several)


def prediction_header(task: Task) -> Sequence[str]:
    """The columns of `prediction_rows`."""
    output = ("output",) if _of_several(task) else ()
    return ("file", "example", *output, "rank", *task.answer_columns)


def prediction_rows(prediction: Prediction, task: Task) -> Iterator[Sequence[Any]]:
    """Rows for CSV: file, example (0 for an image), output if of several, rank from 1, answer."""
    ranks: Counter[str] = Counter()
    several = _of_several(task)
    for name, number in prediction.answers:
        output, _, answer = name.partition(": ") if several else ("", "", name)
        ranks[output] += 1
        place = [str(prediction.file), prediction.example or 0, *([output] if output else [])]
        yield (*place, ranks[output], answer, number)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def unread(faults: Sequence[Fault]) -> DiagnosticError:
    """D504 and D505 (status 1): all files that have no prediction; of sizes, some."""
    broken, sizes = (
        [f"`{fault.file}`: {fault.reason}" for fault in faults if fault.size == size]
        for size in (False, True)
    )
    found = []
    if broken:
        remedy = "check the names, and replace or leave out files that are broken"
        message = f"cannot read {_files(broken)}"
        found.append(Diagnostic("D504", message, notes=tuple(broken), help=remedy))
    if sizes:
        more = [f"and {len(sizes) - _NAMED:,} more"] if len(sizes) > _NAMED else []
        remedy = "pass `--resize` to fit images to the network"
        message = f"{_files(sizes)} of another size"
        notes = (*sizes[:_NAMED], *more)
        found.append(Diagnostic("D505", message, notes=notes, help=remedy))
    return DiagnosticError(*found, status=1)


def _files(names: Sequence[str]) -> str:
    return "a file" if len(names) == 1 else f"{len(names):,} files"
