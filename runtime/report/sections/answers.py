"""What a trained network says of its test part: the worst examples, numbers over their truth."""

from __future__ import annotations

import base64
import io
from typing import Final

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.dataset import raw_batches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.report.blocks import (
    Block,
    Cell,
    Chart,
    Gallery,
    Numbers,
    Picture,
    Table,
    Words,
)
from bayesnas.runtime.report.charts import Spec, axis, dot, figure, layer, number, tooltip
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.tasks.bundle import tensors

_COUNT: Final = 12
_MOST: Final = 20_000  # test examples that are looked at
_DOTS: Final = 1000  # examples of a figure
_SHOWN: Final = 4  # numbers of an example
_FIGURES: Final = 6  # targets that are drawn
_SIDE: Final = 96  # pixels of a picture at least
_LARGEST: Final = 256
_IMAGE: Final = 3  # dimensions of an image: channels, rows, columns
_COLOURS: Final = (1, 3)


def answers_of(run: RunFiles) -> list[Block]:
    """Numbers over their truth, and the examples of the largest loss; in words why there are none.

    Raises:
        DiagnosticError: what opening the run's spec raises.
    """
    try:
        trained = TrainedRun.open(run.folder)
        data = trained.own_data()
    except DiagnosticError as error:
        return [Words((f"No examples are shown: {error.diagnostics[0].message}.",))]
    answers = _Answers.of(trained, data.test.first(_MOST))
    return [*answers.residuals(), *answers.worst()]


@frozen
class _Answers:
    """A network's outputs [N, ...] for a part, and the loss of each example [N], on the CPU."""

    trained: TrainedRun
    part: Examples
    outputs: Tensor = field(eq=False, repr=False)
    losses: Tensor = field(eq=False, repr=False)

    @classmethod
    @torch.no_grad()
    def of(cls, trained: TrainedRun, part: Examples) -> _Answers:
        """Of a trained network."""
        losses, outputs = [], []
        for inputs, targets in raw_batches(part, trained.at_once):
            output = predict(trained.network, inputs)
            losses.append(trained.task.losses(output, targets).cpu())
            outputs.append(output.cpu())
        return cls(trained, part, torch.cat(outputs), torch.cat(losses))

    def residuals(self) -> list[Block]:
        """Where numbers are told: each over its truth, a figure a target."""
        names, targets = _targets_of(self.trained), self.part.targets
        if not names or targets.numel() != len(self.part) * len(names):
            return []
        told = self.trained.task.answers(self.outputs[:_DOTS], len(names))
        truths = targets[:_DOTS].reshape(-1, len(names)).tolist()
        rows: list[tuple[Cell, ...]] = []
        for n, (values, truth) in enumerate(zip(told, truths, strict=True)):
            answered = dict(values)
            rows += [
                (n, name, t, answered[name], answered[name] - t)
                for name, t in zip(names, truth, strict=True)
            ]
        table = Table.of("residuals", ("example", "target", "truth", "answer", "residual"), rows)
        specs = tuple(_residuals(table, name) for name in names[:_FIGURES])
        about = (
            "Each dot is a test example: what the network says over what is true. On the line it "
            "is right."
        )
        return [Chart("Answers over their truth", about, specs, table, wide=len(specs) == 1)]

    def worst(self) -> list[Block]:
        """The examples of the largest loss, where their truth has a name or is a number."""
        if not self.trained.task.strata_names and not _targets_of(self.trained):
            return []
        task, part = self.trained.task, self.part
        order = self.losses.argsort(descending=True)[:_COUNT].tolist()
        word, measure = task.answer_columns
        numbers = _targets_of(self.trained)[:_SHOWN]
        rows: list[tuple[Cell, ...]] = []
        answers: list[str] = []
        for n in order:
            [told] = task.answers(self.outputs[n : n + 1], max(1, len(numbers)))
            truth, loss = self._truth(part.targets[n : n + 1]), float(self.losses[n])
            if numbers:
                values = dict(told)
                answer = ", ".join(f"{values[name]:.4g}" for name in numbers)
                rows.append((n, truth, answer, loss))
            else:
                rows.append((n, truth, told[0][0], float(told[0][1]), loss))
                answer = task.answer_texts(told[:1])[0]
            answers.append(f"is {truth}, answer {answer}")
        columns = ("example", "truth", *(("answer",) if numbers else (f"answer: {word}", measure)))
        table = Table.of("worst_examples", (*columns, "loss, nats"), rows)
        about = (
            "The test examples of the largest loss: often mislabelled, cut off, or of a rare kind."
        )
        images = next(filter(_are_images, tensors(part.subset(torch.tensor(order)).inputs)), None)
        if images is None:
            return [Numbers("Worst examples", about, table)]
        pictures = [
            Picture(answer, address=_address(image))
            for image, answer in zip(images, answers, strict=True)
        ]
        return [Gallery("Worst examples", about, tuple(pictures), table)]

    def _truth(self, target: Tensor) -> str:
        """One target, by its name where it has one."""
        task = self.trained.task
        names = task.strata_names
        if names and (stratum := int(task.strata(target)[0])) < len(names):
            return names[stratum]
        return ", ".join(f"{value:.4g}" for value in target.flatten().tolist()[:_SHOWN])


def _are_images(inputs: Tensor) -> bool:
    return inputs.dim() == _IMAGE + 1 and inputs.shape[1] in _COLOURS


def _targets_of(trained: TrainedRun) -> list[str]:
    """Names of the numbers that a network tells; none where it tells something else."""
    targets = trained.record.get("targets")
    return list(targets) if isinstance(targets, dict) else []


def _residuals(table: Table, name: str) -> Spec:
    records = [record for record in table.records if record["target"] == name]
    truths = [number(record["truth"]) for record in records]
    x, y = axis("truth", f"{name}, true"), axis("answer", f"{name}, answered")
    ends = [{"truth": end, "answer": end} for end in (min(truths), max(truths))]
    line = layer({"type": "line", "strokeDash": [5, 3], "color": "currentColor"}, x=x, y=y)
    told = tooltip(("example", "truth", "answer", "residual"))
    return figure(
        records,
        {"data": {"values": ends}, **line},
        layer({**dot(28), "opacity": 0.6}, x=x, y=y, tooltip=told),
    )


def _address(pixels: Tensor) -> str:
    """One image [C, H, W] as an address that holds it; small ones are drawn larger."""
    from PIL import Image

    array = pixels.cpu().numpy()
    if array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        array = np.round(255 * (array - low) / max(high - low, 1e-12)).astype(np.uint8)
    image = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    image.thumbnail((_LARGEST, _LARGEST))
    times = max(1, -(-_SIDE // max(image.size)))
    image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
