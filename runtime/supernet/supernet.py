"""The supernet at work: training steps, derivatives in the gates, judgement of members.

Every strategy works on one. It counts the images that went through it, so that strategies can be
compared by what they cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from math import prod
from typing import Any

import torch
from attrs import evolve
from torch import Tensor, nn

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import STRATEGIES, SearchSettings
from bayesnas.compiler.space.choices import Member
from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.data.dataset import Batches, Data, plain_batches
from bayesnas.runtime.data.examples import Examples
from bayesnas.runtime.data.free_memory import release_memory
from bayesnas.runtime.data.splits import HOLDOUT, split
from bayesnas.runtime.network.device import random_states, restore_random_states
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.learning.rates import cosine
from bayesnas.runtime.network.memory import JUDGEMENT, AtOnce, Footprint
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.normalisation import norms_of, renew
from bayesnas.runtime.network.precision import precisely, wide
from bayesnas.runtime.network.recompute import recompute_blocks
from bayesnas.runtime.network.recording import Recording
from bayesnas.runtime.network.together.ranks import Share, own_rows, world
from bayesnas.runtime.network.together.synchronised import parted
from bayesnas.runtime.network.training import check_loss, diverged, evaluate, example_losses, sgd
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import (
    COUNT,
    CUDA_STATE,
    TORCH_STATE,
    Schema,
    between,
    like_all,
    like_optimizer,
    listed,
    one_of,
    record,
)
from bayesnas.runtime.supernet.curvature import (
    ESTIMATORS,
    EXACT,
    EXACT_MAPS,
    SAMPLES,
    affordable,
    gradient,
)
from bayesnas.runtime.supernet.gates import Gates
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.scores import Score

RECALIBRATION = 1024  # examples that normalisation is estimated from anew
RECORDED = 0.25  # share of the groups, from which a step runs all of them, recorded, on a GPU
LARGE = 2**30  # bytes of a training step, from which it pays to give memory back before each pass


class Supernet:
    """An emitted supernet with its data, its optimizer and its random numbers."""

    def __init__(
        self,
        graph: Graph,
        origin: str,
        data: Data,
        settings: SearchSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        self.graph, self.data, self.settings, self.device = graph, data, settings, device
        self.gates = Gates.of(graph, device)
        module, self.emitted = build(graph, origin, seed, layout=layout(graph, device))
        self.module: nn.Module = module.to(device)
        if settings.recompute == "yes" and not recompute_blocks(module, self.emitted):
            say_note("`recompute` has no effect: there are no cells to be computed one by one")
        footprint = Footprint.of(graph, settings.recompute == "yes")
        self.at_once = AtOnce.on(device, footprint, settings.batch_size)
        self._recording: Recording | None = None
        if settings.recompute == "no":  # else Python runs in the backward pass
            self._recording = Recording.of(self.module, graph, settings.batch_size)
        weights = self.module.parameters()
        self.optimizer = sgd(
            weights, settings.learning_rate, settings.momentum, settings.weight_decay
        )
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # for dropout
        self.fit_part, held = split(data.train, data.task, HOLDOUT, self.generator)
        self.held_part = held.at_hand()
        self._batches = Batches(
            data,
            self.fit_part,
            settings.batch_size,
            settings.augment,
            self.generator,
            rows=own_rows,
        )
        self.epoch_steps = math.ceil(len(self.fit_part) / settings.batch_size)
        shapes = [graph.node(node).shape or () for node in graph.root.outputs]
        self.outputs = sum(map(prod, shapes))
        self.curvature_name = ""  # of the estimator, for strategies that ask for the curvature
        if "curvature" in STRATEGIES[settings.strategy].settings:
            self.curvature_name = self._estimator(maps=any(len(shape) > 1 for shape in shapes))
        self.steps = 0  # taken so far
        self.total_steps = 1  # of the whole search, for the learning rate
        self.trained = 0  # images forward and backward for the weights
        self.evaluated = 0  # images forward alone, or backward to the gates
        self.after_step: Callable[[], None] = lambda: None  # what a step of the weights ends with
        self.on_look: Callable[[int], None] | None = None  # is told how many were evaluated
        self._kept: frozenset[str] = frozenset(self.gates.groups)
        self._first = self.fit_part.first(0)  # of the examples that train: see `_calibrating`

    def _estimator(self, maps: bool) -> str:
        """The estimator of the curvature that its outputs, maps or not, leave affordable."""
        most, asked = EXACT_MAPS if maps else EXACT, self.settings.curvature
        name = affordable(asked, self.outputs, most)
        if name != asked:
            say_note(
                f"the curvature is sampled, {SAMPLES} times an example: of {self.outputs:,} "
                f"outputs it would take as many backward passes, and is exact up to {most:,}"
            )
        return name

    # ------------------------------------------------------------------------------------- gates

    def keep(self, groups: Collection[str]) -> None:
        """Leave all other groups' operations out of the forward passes that follow."""
        kept = frozenset(groups)
        for group in kept ^ self._kept:
            for gate in self.gates.groups[group]:
                path, candidate = self.emitted.gates[gate]
                pruned: set[str] = self.module.get_submodule(path).pruned  # type: ignore[assignment]
                pruned.symmetric_difference_update({candidate})
        self._kept = kept

    @contextmanager
    def _keeping(self, groups: Collection[str]) -> Iterator[None]:
        """The same for a while."""
        before = self._kept
        self.keep(groups)
        try:
            yield
        finally:
            self.keep(before)

    # ---------------------------------------------------------------------------------- training

    def batches(self, steps: int, taken: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """This many batches of the part that trains, less those taken before: `Batches.series`."""
        return self._batches.series(steps, taken)

    def inform(self, score: Score) -> None:
        """Estimate the noise of targets, where that is asked for, by held-out examples."""
        self.data = evolve(self.data, task=self.data.task.informed(score))

    def held_batch(self, size: int) -> tuple[Inputs, Tensor]:
        """A random batch of held-out training examples."""
        chosen = self.sample(self.held_part, size)
        return self.data.normalize(chosen.inputs), chosen.targets

    def descend(
        self, inputs: Inputs, targets: Tensor, gates: Tensor, penalty: Tensor | None = None
    ) -> float:
        """One step of the weights; the loss. Gates that ask for a gradient get theirs.

        A ``penalty`` is descended with the loss and is no part of what is returned.

        Raises:
            DiagnosticError: D602 if the loss is not finite.
        """
        pace = self.data.task.pace
        rate = pace * cosine(self.settings.learning_rate, self.steps, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        with parted(len(targets)) as share:
            with precisely(self.settings.precision, self.device):
                outputs, recorded = self._outputs(share.of(inputs), share.gates(gates))
            loss = share.loss(self.data.task, wide(outputs), targets)
            value = check_loss(
                world().sum(loss.detach().clone()), f"step {self.steps + 1} of the search"
            )
            world().backward(loss, penalty, self.module)
        if recorded:
            self._spare_pruned()
        nn.utils.clip_grad_norm_(self.module.parameters(), 5.0 / pace)
        self.optimizer.step()
        self.after_step()
        self.optimizer.zero_grad(set_to_none=True)  # now: they would lie about in other passes
        self.steps += 1
        self.trained += len(targets)
        return value

    def loss(self, share: Share, inputs: Inputs, targets: Tensor, gates: Tensor) -> Tensor:
        """What a rank's share of a batch adds to its mean loss, in the mode the module is in."""
        with precisely(self.settings.precision, self.device):
            outputs = predict(self.module, share.of(inputs), share.gates(gates))
        return share.loss(self.data.task, wide(outputs), targets)

    def _outputs(self, inputs: Inputs, gates: Tensor) -> tuple[Tensor, bool]:
        """As `predict`, and whether the pass was recorded.

        A recorded one runs all groups; those that are not kept have gates of 0, and count for
        nothing.
        """
        many = len(self._kept) >= RECORDED * len(self.gates.groups)
        if self._recording is None or not many:
            return predict(self.module, inputs, gates), False
        present = gates * self.gates.at(dict.fromkeys(self._kept, 1.0))
        if not self._recording.has(inputs, present):
            whole = self._keeping(self.gates.groups)
            if not self._recording.record(inputs, present, whole):
                return predict(self.module, inputs, gates), False
        return self._recording(inputs, present), True

    def _spare_pruned(self) -> None:
        """Take the gradients, which are 0, from groups that are not kept: their weights rest."""
        for group in self.gates.groups.keys() - self._kept:
            for weight in self._weights[group]:
                weight.grad = None

    @cached_property
    def _weights(self) -> dict[str, list[nn.Parameter]]:
        """Of the operations of every group."""
        weights: dict[str, list[nn.Parameter]] = {}
        for group, gates in self.gates.groups.items():
            places = [self.emitted.gates[gate] for gate in gates]
            edges: list[tuple[Any, str]] = [(self.module.get_submodule(p), c) for p, c in places]
            weights[group] = [w for edge, c in edges for w in edge.candidates[c].parameters()]
        return weights

    def release(self) -> None:
        """Before a pass of another kind than the last, where steps are large: `release_memory`."""
        if self.at_once.footprint.step_bytes(self.settings.batch_size) > LARGE:
            release_memory(self.device)

    # ------------------------------------------------------------------------------- derivatives

    def sample(self, part: Examples, count: int) -> Examples:
        """Some examples of a part, at random, to be looked at more than once."""
        return part.sample(count, self.generator).at_hand()

    def passes(self, part: Examples, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Batches of a part for derivatives in something else than the gates."""
        self._look(part)
        return self._in_order(part, min(size, self.at_once.derivative()))

    def _look(self, part: Examples) -> None:
        self.evaluated += len(part)
        if self.on_look is not None:
            self.on_look(len(part))

    def _in_order(self, part: Examples, size: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Batches of a part for a pass of another size than training steps."""
        release_memory(self.device)
        return plain_batches(self.data, part, size)

    def gradient(self, gates: Tensor, part: Examples) -> Tensor:
        """Of the mean loss over a part in the gates [G], float64.

        Raises:
            DiagnosticError: D602 if it is not finite.
        """
        self._look(part)
        batches = self._in_order(part, self.at_once.derivative())
        return self._finite(gradient(self.module, self.data.task, batches, gates), "gradient")

    def curvature(self, gates: Tensor, part: Examples) -> Tensor:
        """Of the mean loss over a part in the gates [G, G], float64, as the settings say.

        Raises:
            DiagnosticError: D602 if it is not finite.
        """
        self._look(part)
        estimator = ESTIMATORS[self.curvature_name]
        size = self.at_once.curvature(self.curvature_name, self.outputs)
        batches = self._in_order(part, size)
        curvature = estimator(self.module, self.data.task, batches, gates, self.generator)
        curvature = self._finite(curvature, "curvature")
        return torch.diag(curvature) if curvature.dim() == 1 else curvature

    def _finite(self, derivative: Tensor, what: str) -> Tensor:
        """A derivative in the gates, [G] or [G, G], if it is finite."""
        bad = ~torch.isfinite(derivative)
        if count := int(bad.sum()):
            gates = bad.reshape(len(self.gates), -1).any(dim=1).nonzero()[:, 0].tolist()
            edges = [edge for n, edge in enumerate(self.graph.searched()) if n in set(gates)]
            shown = quote([f"{e.connection}: {e.operation.label}" for e in edges[:3]])
            raise diverged(
                f"{count:,} of {derivative.numel():,} entries of the {what} of the gates are not "
                f"finite after step {self.steps} of the search",
                f"{len(edges)} of {len(self.gates)} operations have some: {shown}"
                + (", ..." if len(edges) > 3 else ""),
            )
        return derivative

    # --------------------------------------------------------------------------------- judgement

    @contextmanager
    def recalibrated(self, gates: Tensor, examples: int | None = None) -> Iterator[None]:
        """Batch normalisation with the statistics of these gates; the old ones come back after.

        They are estimated from so many training examples, `RECALIBRATION` unless told otherwise.

        Running averages mix the sub-networks of many steps; they fit no one of them.
        """
        norms = norms_of(self.module)
        before = [{k: v.clone() for k, v in m.named_buffers()} for m in norms]
        try:
            count = RECALIBRATION if examples is None else examples
            self._estimate(self.module, gates, count)
            yield
        finally:
            for norm, buffers in zip(norms, before, strict=True):
                for name, value in norm.named_buffers():
                    value.copy_(buffers[name])

    def calibrate(self, network: nn.Module) -> None:
        """Estimate the statistics of a network that has weights of this one, from its examples."""
        self._estimate(network, None, RECALIBRATION)

    def _estimate(self, module: nn.Module, gates: Tensor | None, examples: int) -> None:
        """Set the statistics of batch normalisation to their mean over batches at these gates."""
        part = self._calibrating(examples)
        size = self.at_once.forward(JUDGEMENT)

        def forward(inputs: Inputs) -> None:
            with parted(len(inputs)) as share:
                predict(module, share.of(inputs), gates)

        renew(module, (inputs for inputs, _ in self._in_order(part, size)), forward)
        self._look(part)

    def _calibrating(self, examples: int) -> Examples:
        """The first training examples; they are asked for again and again."""
        if examples > len(self._first):
            self._first = self.fit_part.first(max(examples, RECALIBRATION)).at_hand()
        return self._first.first(examples)

    def score(self, gates: Tensor, part: Examples | None = None) -> Score:
        """What held-out examples say at these gates, normalisation in evaluation mode.

        All of them, unless some are given.
        """
        part = self.held_part if part is None else part
        self._look(part)
        size = self.at_once.forward(JUDGEMENT)
        return evaluate(self.module, self.data, part, size, gates)

    def judge(self, member: Member) -> Score:
        """A member by the weights it shares, with normalisation of its own."""
        with self._judging(member) as gates:
            return self.score(gates)

    def losses(self, member: Member, part: Examples, normalisation: int) -> Tensor:
        """What a member loses on each example of a part [N], nats, float64 on the CPU.

        Judged as `judge` does, normalisation estimated from so many training examples.
        """
        with self._judging(member, normalisation) as gates:
            self._look(part)
            size = self.at_once.forward(JUDGEMENT)
            return example_losses(self.module, self.data, part, size, gates)

    @contextmanager
    def _judging(self, member: Member, normalisation: int | None = None) -> Iterator[Tensor]:
        """A member alone, with normalisation of its own; its gates [G]."""
        gates = self.gates.at(dict.fromkeys(member, 1.0))
        with self._keeping(member), self.recalibrated(gates, normalisation):
            yield gates

    # ------------------------------------------------------------------------------ interruption

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "steps": self.steps,
            "trained": self.trained,
            "evaluated": self.evaluated,
            "kept": sorted(self._kept),
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": self._batches.order,
            **random_states(self.device),
        }

    def state_schema(self) -> Schema:
        """What `state` gives."""
        return record(
            {
                "steps": between(0, self.total_steps),
                "trained": COUNT,
                "evaluated": COUNT,
                "kept": listed(one_of(self.gates.groups)),
                "model": like_all(self.module.state_dict()),
                "optimizer": like_optimizer(self.optimizer),
                "generator": TORCH_STATE,
                "order": TORCH_STATE,
                "dropout": TORCH_STATE,
                "dropout_cuda": CUDA_STATE,
            },
            optional=("dropout_cuda",),
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        self.steps, self.trained = state["steps"], state["trained"]
        self.evaluated = state["evaluated"]
        self.keep(state["kept"])
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self._batches.order = state["order"].cpu()
        restore_random_states(state, self.device)
