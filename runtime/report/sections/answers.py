"""What a trained network says of its test part: the worst examples, numbers over their truth."""

from __future__ import annotations

from typing import Final

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.dataset import raw_batches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.report.blocks import Block, Cell, Chart, Table, Words
from bayesnas.runtime.report.charts import Spec, axis, dot, figure, layer, number, tooltip
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.report.sections.worst import Worst, example_qualities, worst_first

_MOST: Final = 20_000  # test examples that are looked at
_DOTS: Final = 1000  # examples of a figure
_FIGURES: Final = 6  # targets that are drawn


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
    """What a network says of a part, on the CPU.

    Args:
        trained: the network.
        part: N examples.
        told: its outputs [M, K] of the first ones, where they tell numbers.
        losses: of each example [N].
        qualities: of each example [N]: see `example_qualities`.
    """

    trained: TrainedRun
    part: Examples
    told: Tensor = field(eq=False, repr=False)
    losses: Tensor = field(eq=False, repr=False)
    qualities: Tensor = field(eq=False, repr=False)

    @classmethod
    @torch.no_grad()
    def of(cls, trained: TrainedRun, part: Examples) -> _Answers:
        """Of a trained network; outputs for all examples would not lie in memory."""
        told: list[Tensor] = []
        losses, qualities = [], []
        for inputs, targets in raw_batches(part, trained.at_once):
            output = predict(trained.network, inputs)
            losses.append(trained.task.losses(output, targets).cpu())
            qualities.append(example_qualities(trained.task, output, targets))
            if _targets_of(trained) and len(told) * trained.at_once < _DOTS:
                told.append(output.cpu())
        outputs = torch.cat(told)[:_DOTS] if told else torch.empty(0)
        return cls(trained, part, outputs, torch.cat(losses), torch.cat(qualities))

    def residuals(self) -> list[Block]:
        """Where numbers are told: each over its truth, a figure a target."""
        names, targets = _targets_of(self.trained), self.part.targets
        if not names or targets.numel() != len(self.part) * len(names):
            return []
        told = self.trained.task.answers(self.told, len(names))
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

    @torch.no_grad()
    def worst(self) -> list[Block]:
        """The examples that it is worst at."""
        task, order = self.trained.task, worst_first(self.trained.task, self.losses, self.qualities)
        if not order:
            return []
        places = torch.tensor(order)
        examples = self.part.subset(places.to(self.part.targets.device))
        [(inputs, _)] = raw_batches(examples, len(order))
        outputs = predict(self.trained.network, inputs).cpu()
        return Worst(task, tuple(order), examples, outputs, self.losses[places]).blocks()


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
