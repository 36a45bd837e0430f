"""The test examples that a trained network is worst at, as pictures where they are some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeGuard

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.report.blocks import Block, Cell, Example, Gallery, Numbers, Panel, Table
from bayesnas.runtime.report.metrics import worded
from bayesnas.runtime.report.sections.pictures import (
    COLOURS,
    class_colours,
    image_address,
    map_addresses,
    map_text,
    partly_known,
)
from bayesnas.runtime.tasks.bundle import by_port
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.next_token import NextToken
from bayesnas.runtime.tasks.parts import Map
from bayesnas.runtime.tasks.pixels.places import AtPlaces
from bayesnas.runtime.tasks.scores import Score
from bayesnas.runtime.tasks.several import Several

COUNT: Final = 12
_PANELS: Final = 6  # images of an example
_LEGEND: Final = 24  # classes that are named with their colours
_IMAGE: Final = 3  # dimensions of an image: channels, rows, columns


@frozen
class Worst:
    """Examples [M] of a test part, the worst first, with what a network says of them.

    Args:
        task: what it has learned.
        numbers: places of the examples in the test part [M].
        examples: they themselves.
        outputs: of the network [M, K].
        losses: theirs [M], in nats.
    """

    task: Task
    numbers: tuple[int, ...]
    examples: Examples
    outputs: Tensor = field(eq=False, repr=False)
    losses: Tensor = field(eq=False, repr=False)

    def blocks(self) -> list[Block]:
        """A table of them, and their pictures where their inputs are images."""
        by_output = self.task.has_maps or isinstance(self.task, Several)
        table, captions = self._places() if by_output else self._answers()
        if not any(captions):
            return []
        title = "Worst examples"
        images = {
            port: inputs
            for port, inputs in by_port(self.examples.inputs).items()
            if inputs.dim() == _IMAGE + 1 and inputs.shape[1] in COLOURS
        }
        true, told = self.task.true_maps(self.examples.targets), self.task.maps(self.outputs)
        about = self._about(true)
        if not images and not self.task.has_maps:
            return [Numbers(title, about, table)]
        examples = []
        for n, caption in enumerate(captions):
            panels = [*_inputs({port: one[n] for port, one in images.items()}, caption)]
            panels += _maps(true[n], told[n])
            if len(panels) == 1:  # what it is needs no word
                panels = [evolve(panels[0], word="")]
            examples.append(Example(caption, tuple(panels[:_PANELS])))
        return [Gallery(title, about, tuple(examples), table, _legend(true[0]))]

    def _about(self, true: Sequence[dict[str, Map]]) -> str:
        maps = [one for row in true for one in row.values()]
        if isinstance(self.task, NextToken):
            return (
                "The stretches of the test part of the largest loss, and at each place the "
                "likeliest token behind what is true before it."
            )
        if not maps:
            return (
                "The test examples of the largest loss: often mislabelled, cut off, or of a rare "
                "kind."
            )
        by = "largest loss" if isinstance(self.task, Several) else f"least {_measure(self.task)}"
        about = f"The test examples of the {by}, each with what is true and what is answered."
        if any(not one.classes and len(one.values) not in COLOURS for one in maps):
            about += " Of several channels the first is drawn."
        return about + (" Hatched: not known." if any(map(partly_known, maps)) else "")

    def _answers(self) -> tuple[Table, list[str]]:
        """Truth and answer of each, and both in a line."""
        task = self.task
        truths, said = task.truths(self.examples.targets), task.said(self.outputs)
        losses = self.losses.tolist()
        captions = [
            f"is {truth}, answer {answer}" if truth else ""
            for truth, answer in zip(truths, said, strict=True)
        ]
        columns: tuple[str, ...] = ("answer",)
        answers: list[tuple[Cell, ...]] = [(answer,) for answer in said]
        if task.strata_names:  # the share in a column of its own
            word, measure = task.answer_columns
            columns = (f"answer: {word}", measure)
            answers = [(row[0][0], float(row[0][1])) for row in task.answers(self.outputs, 1)]
        rows = [
            (n, truth, *cells, loss)
            for n, truth, cells, loss in zip(self.numbers, truths, answers, losses, strict=True)
        ]
        return Table.of(_NAME, ("example", "truth", *columns, "loss, nats"), rows), captions

    def _places(self) -> tuple[Table, list[str]]:
        """The measure of the maps of each, with what else is true and answered."""
        rows: list[tuple[Cell, ...]] = []
        captions, columns = [], ["example"]
        for k, n in enumerate(self.numbers):
            one = slice(k, k + 1)
            measures = [*self._measured(one)]
            said = self._said(one)
            words = [f"{name} {task.quality_text(score.quality)}" for name, task, score in measures]
            cells = [task.scale * task.filed(score.quality) for _, task, score in measures]
            rows.append((n, *cells, *said, float(self.losses[k])))
            words += [
                f"{word}: {text}" for word, text in zip(("true", "answer"), said, strict=False)
            ]
            captions.append(f"{n}: {'; '.join(words)}")
            named = [f"{name}, {t.unit.strip()}" if t.unit else name for name, t, _ in measures]
            columns = ["example", *named, *(("truth", "answer") if said else ())]
        return Table.of(_NAME, (*columns, "loss, nats"), rows), captions

    def _measured(self, one: slice) -> Iterator[tuple[str, Task, Score]]:
        """Name, task and score of each output that has maps, of one example."""
        score = self.task.score([(self.outputs[one], self.examples.targets[one])])
        if not isinstance(self.task, Several):
            yield _measure(self.task), self.task, score
            return
        scores = self.task.scores(score)
        for output in self.task.outputs:
            if output.task.has_maps:
                name = f"{output.port} {_measure(output.task)}"
                yield name, output.task, scores[output.port]

    def _said(self, one: slice) -> tuple[str, ...]:
        """What is true and answered by outputs that have no maps, of one example."""
        [truth] = self.task.truths(self.examples.targets[one])
        if not truth:
            return ()
        named = {part.partition(":")[0] for part in truth.split("; ")}
        [answers] = self.task.answers(self.outputs[one], 1)
        kept = [answer for answer in answers if answer[0].partition(":")[0] in named]
        return truth, ", ".join(self.task.answer_texts(kept))


_NAME: Final = "worst_examples"


def worst_first(task: Task, losses: Tensor, qualities: Tensor) -> list[int]:
    """Places of the examples to be shown, of losses [N].

    ``qualities`` [N] are those of `example_qualities`; NaN where nothing is known of an example,
    which is left out then.
    """
    if not _by_quality(task):
        return losses.argsort(descending=True, stable=True)[:COUNT].tolist()
    known = (~qualities.isnan()).nonzero()[:, 0]
    by_loss = known[losses[known].argsort(descending=True, stable=True)]
    chosen: list[int] = by_loss[qualities[by_loss].argsort(stable=True)][:COUNT].tolist()
    return chosen


def example_qualities(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """The task's measure of each example by itself [N], where examples are ordered by it."""
    if not _by_quality(task):
        return torch.zeros(len(targets), dtype=torch.float64)
    return task.qualities(outputs, targets).cpu()


def _by_quality(task: Task) -> TypeGuard[AtPlaces]:
    return isinstance(task, AtPlaces) and task.has_maps


def _measure(task: Task) -> str:
    return worded(task.metric)


def _inputs(images: dict[str, Tensor], caption: str) -> Iterator[Panel]:
    for port, pixels in images.items():
        word = f"input {port}".strip()
        yield Panel(f"{word} of: {caption}", image_address(pixels), word)


def _maps(true: dict[str, Map], told: dict[str, Map]) -> Iterator[Panel]:
    for port, target in true.items():
        pair = target, told[port]
        for word, one, address in zip(
            ("target", "prediction"), pair, map_addresses(pair), strict=True
        ):
            name = f"{word} {port}".strip()
            yield Panel(f"{name}: {map_text(one)}", address, name)


def _legend(maps: dict[str, Map]) -> tuple[tuple[str, str], ...]:
    """Colours of the classes, where a single map has some, and not too many to be named."""
    named = [one.classes for one in maps.values() if 0 < len(one.classes) <= _LEGEND]
    if len(named) != 1:
        return ()
    return class_colours(named[0])
