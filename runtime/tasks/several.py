"""Several outputs, each with a task of its own: the loss is the sum of theirs by weight.

Outputs of the ports stand side by side, and so do their targets, flattened and as float64: all
that is downstream sees outputs [N, K] and targets [N, T] as for a single task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any, ClassVar

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.nn.functional import pad

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.tasks.interface import Reduction, Task
from bayesnas.runtime.tasks.outputs import Output, alone, drawn_of
from bayesnas.runtime.tasks.parts import Array, Factors, Map
from bayesnas.runtime.tasks.registry import task_class
from bayesnas.runtime.tasks.scores import Report, Score


@frozen
class Several(Task):
    """The tasks of two outputs or more, in the network's order.

    With outputs o_i, targets t_i and weights w_i, an example's loss is sum_i w_i l_i(o_i, t_i),
    its gradient the w_i l_i' side by side, and its curvature has the blocks w_i l_i'' and zeros
    elsewhere, since no loss sees another's outputs.

    The metric is that loss with its sign turned, so that larger is better; each output has its own
    metric besides.
    """

    outputs: tuple[Output, ...]
    objective: ClassVar[str] = "several"
    metric: ClassVar[str] = "objective"
    digits: ClassVar[int] = 4  # a loss has more than a share
    answer_columns: ClassVar[tuple[str, str]] = ("answer", "value")

    # ------------------------------------------------------------------------------- the data

    @classmethod
    def suits(cls, targets: Array) -> bool:  # noqa: ARG003
        """No array by itself: it is joined from the tasks of several."""
        return False

    @classmethod
    def of_targets(
        cls,
        targets: Array,
        place: str,
        names: Sequence[str] = (),  # noqa: ARG003
    ) -> Several:
        """An error of the caller: see `suits`."""
        raise TypeError(f"{place} {list(targets.shape)} is no task of several outputs by itself")

    def fitted(self, targets: Tensor) -> Several:
        """Each task with what it takes from its own targets of the training part."""
        outputs = tuple(
            evolve(output, task=output.task.fitted(part))
            for output, part in zip(self.outputs, self._targets(targets), strict=True)
        )
        return evolve(self, outputs=outputs)

    def targets(self, targets: Array, place: str) -> Tensor:  # noqa: ARG002
        """Targets that are joined already, as `joined` does it."""
        return torch.from_numpy(targets).to(torch.float64)

    @staticmethod
    def joined(targets: Iterable[Tensor]) -> Tensor:
        """The targets [N, ...] of all outputs, in order, as one float64 [N, T]."""
        flat = (one.reshape(len(one), -1) for one in targets)
        return torch.cat([one.to(torch.float64) for one in flat], dim=1)

    @property
    def leading(self) -> Task:
        """The task whose strata examples are dealt by: the first with classes, or the first."""
        tasks = [output.task for output in self.outputs]
        return next((task for task in tasks if task.strata_names), tasks[0])

    def strata(self, targets: Tensor) -> Array:
        """Those of the leading task."""
        for output, part in zip(self.outputs, self._targets(targets), strict=True):
            if output.task is self.leading:
                return output.task.strata(part)
        raise AssertionError("the leading task is one of them")

    @property
    def strata_names(self) -> tuple[str, ...]:
        """Those of the leading task."""
        return self.leading.strata_names

    def balanced(self, targets: Tensor) -> Several:
        """Each task that has classes is balanced."""
        outputs = tuple(
            evolve(output, task=output.task.balanced(part)) if output.task.strata_names else output
            for output, part in zip(self.outputs, self._targets(targets), strict=True)
        )
        return evolve(self, outputs=outputs)

    def smoothed(self, share: float) -> Several:
        """Each task that has classes is smoothed."""
        outputs = tuple(evolve(o, task=o.task.smoothed(share)) for o in self.outputs)
        return evolve(self, outputs=outputs)

    @property
    def placed(self) -> bool:
        """Whether any of them is."""
        return any(output.task.placed for output in self.outputs)

    @property
    def map_sizes(self) -> set[tuple[int, ...]]:
        """Those of all of them."""
        return {size for output in self.outputs for size in output.task.map_sizes}

    def moved(self, targets: Tensor, move: Callable[[Tensor, float], Tensor]) -> Tensor:
        """Those of each output."""
        if not self.placed:
            return targets
        parts = zip(self.outputs, self._targets(targets), strict=True)
        return self.joined(output.task.moved(part, move) for output, part in parts)

    @property
    def learned(self) -> Mapping[str, str]:
        """The objective and the weight of each output."""
        return {o.port: f"{o.task.objective} * {o.weight:g}" for o in self.outputs}

    def shares(self, targets: Tensor) -> Tensor | None:
        """Weights of examples and shares of outputs, as each task has them."""
        parts = list(zip(self.outputs, self._targets(targets), strict=True))
        weights = [output.task.weights(part) for output, part in parts]
        shares = [output.task.shares(part) for output, part in parts]
        if all(one is None for one in (*weights, *shares)):
            return None
        columns = []
        for (output, part), weight, share in zip(parts, weights, shares, strict=True):
            ones = torch.ones(len(part), output.size, dtype=torch.float64, device=part.device)
            column = ones if share is None else share
            columns.append(column if weight is None else weight[:, None] * column)
        return torch.cat(columns, dim=1)

    def part(self, port: str, targets: Tensor) -> tuple[Task, Tensor]:
        """What the output of that name learns, and its targets among those of all."""
        parts = zip(self.outputs, self._targets(targets), strict=True)
        return next((o.task, part) for o, part in parts if o.port == port)

    # ------------------------------------------------------------------------------- the network

    def check(self, graph: Graph, data: str) -> None:
        """Each task checks its own output.

        Raises:
            DiagnosticError: D506.
        """
        for output in self.outputs:
            output.task.check(alone(graph, output.port), data)

    def told_of(self, graph: Graph) -> str:
        """What each of them says of its output."""
        told = (o.task.told_of(alone(graph, o.port)) for o in self.outputs)
        return "; ".join(filter(None, told))

    # ------------------------------------------------------------------------------- learning

    def _parts(self, outputs: Tensor, targets: Tensor) -> Iterator[tuple[Output, Tensor, Tensor]]:
        return zip(self.outputs, self._outputs(outputs), self._targets(targets), strict=True)

    def _outputs(self, outputs: Tensor) -> Sequence[Tensor]:
        return torch.split(outputs, [output.size for output in self.outputs], dim=1)

    def _targets(self, targets: Tensor) -> list[Tensor]:
        sizes = [prod(output.shape) for output in self.outputs]
        parts = zip(self.outputs, torch.split(targets, sizes, dim=1), strict=True)
        return [part.reshape(len(part), *o.shape).to(o.dtype) for o, part in parts]

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of theirs by weight."""
        parts = self._parts(outputs, targets)
        return torch.stack([o.weight * o.task.losses(y, t) for o, y, t in parts]).sum(dim=0)

    def loss(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The same, with the weights that each task gives its examples."""
        parts = self._parts(outputs, targets)
        return torch.stack([o.weight * o.task.loss(y, t, reduction) for o, y, t in parts]).sum()

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """The sum of their losses by weight, and their metrics."""
        scores = [
            output.task.score(batches)
            for output, batches in zip(self.outputs, self._streams(predictions), strict=True)
        ]
        return self._joined_score(scores)

    def report(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Report:
        """With the report of each output."""
        reports = {
            output.port: output.task.report(batches)
            for output, batches in zip(self.outputs, self._streams(predictions), strict=True)
        }
        score = self._joined_score([report.score for report in reports.values()])
        return Report(score, parts=reports)

    def _streams(
        self, predictions: Iterable[tuple[Tensor, Tensor]]
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """Outputs and targets of each port; all of them are held, as each task wants a pass."""
        streams: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.outputs]
        for outputs, targets in predictions:
            for stream, (_, y, t) in zip(streams, self._parts(outputs, targets), strict=True):
                stream.append((y, t))
        return streams

    def _joined_score(self, scores: Sequence[Score]) -> Score:
        more: dict[str, float] = {}
        for output, score in zip(self.outputs, scores, strict=True):
            more |= output.task.entries(output.port, score)
        loss = sum(o.weight * score.loss for o, score in zip(self.outputs, scores, strict=True))
        return Score(loss, -loss, more)

    def scores(self, score: Score) -> dict[str, Score]:
        """That of each output, by its port."""
        return {o.port: o.task.score_of(o.port, score.more) for o in self.outputs}

    @property
    def more_metrics(self) -> tuple[str, ...]:
        """``label_loss``, ``label_accuracy`` of the output ``label``, and so on."""
        return tuple(name for o in self.outputs for name in o.task.columns(o.port))

    def told(self, score: Score) -> str:
        """``objective -0.31: label accuracy 95.12%, depth R2 0.93``."""
        scores = self.scores(score)
        parts = [f"{o.port} {o.task.told(scores[o.port])}" for o in self.outputs]
        return f"{super().told(score)}: {', '.join(parts)}"

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """Those of each output, behind its name."""
        each = [
            [[(f"{o.port}: {name}", number) for name, number in row] for row in rows]
            for o, part in zip(self.outputs, self._outputs(outputs), strict=True)
            for rows in [o.task.answers(part, top)]
        ]
        return [[*chain.from_iterable(rows)] for rows in zip(*each, strict=True)]

    @property
    def estimating(self) -> bool:
        """Whether any of them is."""
        return any(output.task.estimating for output in self.outputs)

    def informed(self, score: Score) -> Several:
        """Each by its own score."""
        scores = self.scores(score)
        outputs = tuple(evolve(o, task=o.task.informed(scores[o.port])) for o in self.outputs)
        return evolve(self, outputs=outputs)

    @property
    def has_maps(self) -> bool:
        """Whether any of them is."""
        return any(output.task.has_maps for output in self.outputs)

    def maps(self, outputs: Tensor) -> list[dict[str, Map]]:
        """Those of each output, by its name."""
        parts = zip(self.outputs, self._outputs(outputs), strict=True)
        return self._by_port([output.task.maps(part) for output, part in parts])

    def true_maps(self, targets: Tensor) -> list[dict[str, Map]]:
        """Those of each output, by its name."""
        parts = zip(self.outputs, self._targets(targets), strict=True)
        return self._by_port([output.task.true_maps(part) for output, part in parts])

    def _by_port(self, maps: Sequence[Sequence[Mapping[str, Map]]]) -> list[dict[str, Map]]:
        """Of each example the maps of all outputs, of those of each output by example."""
        ports = [output.port for output in self.outputs]
        return [
            {port: one for port, own in zip(ports, row, strict=True) for one in own.values()}
            for row in zip(*maps, strict=True)
        ]

    def truths(self, targets: Tensor) -> list[str]:
        """Those of each output, behind its name."""
        each = [
            [f"{output.port}: {text}" if text else "" for text in output.task.truths(part)]
            for output, part in zip(self.outputs, self._targets(targets), strict=True)
        ]
        return ["; ".join(filter(None, texts)) for texts in zip(*each, strict=True)]

    def number_text(self, name: str, number: float) -> str:
        """As the task of its output has it."""
        port, _, inner = name.partition(": ")
        return next(o.task for o in self.outputs if o.port == port).number_text(inner, number)

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Theirs by weight, side by side."""
        parts = self._parts(outputs, targets)
        return torch.cat([o.weight * o.task.slope(y, t) for o, y, t in parts], dim=1)

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """Those of each output by its weight, 0 in the outputs of others."""
        whole, start = outputs.shape[1], 0
        for output, part in zip(self.outputs, self._outputs(outputs), strict=True):
            stop = start + output.size
            for factors in output.task.factors(part):
                directions = pad(factors.directions, (start, whole - stop))
                yield Factors(output.weight * factors.weights, directions)
            start = stop

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """A direction of each output side by side, with random signs.

        Without the signs, products of two outputs' directions would not be 0 in the mean where a
        task's own have another mean.
        """
        count, several = len(outputs), len(self.outputs)
        # A seed an example and output: what is drawn does not depend on the batches.
        numbers = torch.randint(
            2**62, (count, several, samples + 1), generator=generator, device=generator.device
        )
        signs = (2 * (numbers[:, :, 1:] % 2) - 1).to(outputs.device, torch.float64)
        seeds = numbers[:, :, 0].T.tolist()
        parts = zip(self.outputs, self._outputs(outputs), seeds, strict=True)
        streams = [drawn_of(*part, samples, generator.device) for part in parts]
        for number in range(samples):
            drawn = [
                signs[:, k, number, None] * directions
                for k, directions in enumerate(map(next, streams))
            ]
            joined = torch.cat(drawn, dim=1)[:, None]
            yield Factors(joined.new_ones(count, 1), joined)

    def chance(self, targets: Tensor) -> Score | None:
        """That of each, where all are known."""
        parts = zip(self.outputs, self._targets(targets), strict=True)
        scores = [output.task.chance(part) for output, part in parts]
        losses = [o.weight * s.loss for o, s in zip(self.outputs, scores, strict=True) if s]
        return Score(sum(losses), -sum(losses)) if len(losses) == len(scores) else None

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """The same outputs, each of which fits."""
        outputs = record.get("outputs", {})
        return list(outputs) == [graph.node(n).name for n in graph.root.outputs] and all(
            task_class(one["metric"]).fits(one, alone(graph, port)) for port, one in outputs.items()
        )

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Several:
        """Of the records of the outputs."""
        return cls(tuple(Output.of_record(*item) for item in record["outputs"].items()))

    def record(self) -> dict[str, Any]:
        """That of each output, by its port."""
        return {"outputs": {output.port: output.record() for output in self.outputs}}

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse other outputs, or other tasks of them.

        Raises:
            DiagnosticError: D506.
        """
        recorded = record.get("outputs", {})
        if list(recorded) != [output.port for output in self.outputs]:
            raise DiagnosticError(
                Diagnostic(
                    "D506",
                    f"`{data}` has other outputs than the run was trained on",
                    notes=(f"trained on {quote(recorded)}",),
                    help="evaluate on data with targets for the same outputs",
                )
            )
        for output in self.outputs:
            output.task.check_record(recorded[output.port], data)


def parts_of(task: Task) -> tuple[Task, ...]:
    """The tasks of the outputs, in order: of a task of one output itself."""
    return tuple(o.task for o in task.outputs) if isinstance(task, Several) else (task,)
