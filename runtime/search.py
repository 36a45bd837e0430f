"""The search: train the supernet, update the posterior over its gates, prune, and begin again.

Algorithms 1 and 2 of BayesNAS (Zhou et al., ICML 2019) with the conventions and deviations that
docs/algorithm.md lists.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, frozen
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayesnas.compiler.artifacts import Annotation, gamma_report, graph_to_json
from bayesnas.compiler.cost import Cost, graph_cost
from bayesnas.compiler.derive import derive_spec
from bayesnas.compiler.figure import draw, write_figure
from bayesnas.compiler.gamma import Dependency, derive_gamma
from bayesnas.compiler.graph import Graph
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.settings import SearchSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, quote
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printer import print_spec
from bayesnas.runtime.curvature import ggn
from bayesnas.runtime.data import Data, batches, check_augment, plain_batches, split
from bayesnas.runtime.modules import build, logits, set_pruned
from bayesnas.runtime.posterior import Layout, Posterior
from bayesnas.runtime.progress import Progress, say_note
from bayesnas.runtime.pruning import Pruner
from bayesnas.runtime.runs import Run, RunOptions, check_out, pick_device
from bayesnas.runtime.sources import load_data
from bayesnas.runtime.training import check_loss, cosine, evaluate, sgd

HOLDOUT = 0.2  # share of the training part that trains nothing and judges
CURVATURE_BATCH = 128
RETAINED_BY = 0.75  # share of the rounds after which `retain` holds; the rest trains what is left


@frozen
class SearchResult:
    """What a search ended with; accuracy is of the supernet on held-out training examples."""

    supernet: Cost
    found: Cost
    rounds: int
    operations: int
    operations_left: int
    holdout_accuracy: float
    seconds: float
    seed: int
    device: str
    figure: str
    advice: str | None  # how to get the pictures, where `dot` is missing


def search(compiled: Compiled, settings: SearchSettings, options: RunOptions) -> SearchResult:
    """Search a space and write the found network's spec and figure into a run's folder.

    Raises:
        DiagnosticError: D431 if the network has nothing to search; whatever data, folders and
            the work itself raise.
    """
    if not compiled.graph.searched():
        raise DiagnosticError(
            Diagnostic(
                "D431",
                f"`{compiled.network.name}` has no searched edges",
                compiled.network.span,
                help="write `~>` where operations shall be chosen, or use `bayesnas train`",
            )
        )
    check_out(options.out, options.resume, options.force)
    device = pick_device(options.device)
    data = load_data(options.data, compiled.graph, options.data_options).to(device)
    check_augment(data, settings.augment)
    say_note(data.note)
    run = Run.begin("search", compiled, settings, options)
    return _Search(compiled, settings, options, data, run, device).go()


class _Search:
    def __init__(
        self,
        compiled: Compiled,
        settings: SearchSettings,
        options: RunOptions,
        data: Data,
        run: Run,
        device: torch.device,
    ) -> None:
        self.compiled, self.settings, self.options = compiled, settings, options
        self.data, self.run, self.device = data, run, device
        self.graph: Graph = compiled.graph
        dependency: Dependency = "recursive" if settings.dependency == "recursive" else "local"
        self.gammas = derive_gamma(self.graph, dependency)
        self.pruner = Pruner(self.graph)
        module, self.emitted = build(self.graph, compiled.loaded.source.name, options.seed)
        self.module: nn.Module = module.to(device)
        self.posterior = Posterior.start(Layout.of(self.graph, device))
        self.optimizer = sgd(
            self.module, settings.learning_rate, settings.momentum, settings.weight_decay
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        torch.manual_seed(options.seed)  # for dropout
        self.fit_part, self.held_part = split(data.train, HOLDOUT, self.generator)
        self.steps = math.ceil(len(self.fit_part) / settings.batch_size)
        self.epochs = settings.warmup_epochs + settings.rounds * settings.epochs
        self.step = 0
        self.round = 0
        self.seconds = 0.0
        self.removed: dict[str, tuple[int, str]] = {}  # group -> round, reason
        self.refused: tuple[str, ...] = ()  # by the last round
        self.changes: Tensor = torch.zeros(self.posterior.layout.gates, dtype=torch.float64)
        self.history: list[dict[str, Any]] = []

    # ------------------------------------------------------------------------------------- course

    def go(self) -> SearchResult:
        if self.options.resume:
            self._restore(self.run.load("checkpoint.pt", self.device))
        else:
            self.run.write_text("supernet.py", self.emitted.source)
        with Progress(self.epochs * self.steps, "search") as progress:
            progress.skip(self.step)
            if not self.history:
                start = time.perf_counter()
                loss = self._train(self.settings.warmup_epochs, progress, search=False)
                self._record(loss, self._judge(), {}, start, progress)
            while self.round < self.settings.rounds:
                start = time.perf_counter()
                loss = self._train(self.settings.epochs, progress, search=True)
                self.round += 1
                self._record(loss, self._judge(), self._update(), start, progress)
        return self._finish()

    def _train(self, epochs: int, progress: Progress, search: bool) -> float:
        """Epochs over the part that trains; the gates move only while ``search``."""
        self.module.train()
        total, count = 0.0, 0
        for _ in range(epochs):
            passes = batches(
                self.data,
                self.fit_part,
                self.settings.batch_size,
                self.settings.augment,
                self.generator,
            )
            for inputs, labels in passes:
                value = self._one_step(inputs, labels, search)
                total, count = total + value, count + 1
                progress.step(loss=f"{value:.3f}", alive=str(self._alive()))
        return total / max(count, 1)

    def _one_step(self, inputs: Tensor, labels: Tensor, search: bool) -> float:
        settings = self.settings
        total_steps = self.epochs * self.steps
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(settings.learning_rate, self.step, total_steps)
        gates = self.posterior.gates().requires_grad_(search)
        loss = cross_entropy(logits(self.module, inputs, gates), labels)
        value = check_loss(loss, f"round {self.round}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), 5.0)
        self.optimizer.step()
        if search:
            assert gates.grad is not None
            rate = settings.gate_learning_rate
            self.posterior.w = self.posterior.w - rate * gates.grad.to(torch.float64)
            self.posterior.fix_gauge()
        self.step += 1
        return value

    def _alive(self) -> int:
        return len(self.pruner.groups) - len(self.removed)

    def _update(self) -> dict[str, str]:
        """One round's end: curvature, the posterior's update, and what is pruned by it."""
        settings = self.settings
        sample = self.fit_part.subset(
            torch.randperm(len(self.fit_part), generator=self.generator)[
                : settings.curvature_examples
            ].to(self.device)
        )
        gates = self.posterior.gates()
        passes = plain_batches(self.data, sample, CURVATURE_BATCH)
        curvature = ggn(self.module, passes, gates)
        gradient = self._gradient(gates)
        self.changes = self.posterior.evidence_change(gradient, curvature).cpu()
        self.posterior.infer(
            gradient / settings.lambda_w, curvature / settings.lambda_w, self.gammas
        )
        removal = self.pruner.decide(
            self.posterior,
            self.changes,
            frozenset(self.removed),
            settings.prune_fraction,
            min(1.0, self.round / (RETAINED_BY * settings.rounds)),
        )
        self.refused = removal.refused
        for group, reason in removal.reasons.items():
            self.removed[group] = (self.round, reason)
        self._apply(removal.reasons)
        self.posterior.fix_gauge()
        return dict(removal.reasons)

    def _gradient(self, gates: Tensor) -> Tensor:
        """Gradient of the mean loss in the gates [G], batch normalisation in evaluation mode."""
        self.module.eval()
        total = torch.zeros(len(gates), dtype=torch.float64, device=self.device)
        for inputs, labels in plain_batches(self.data, self.fit_part, CURVATURE_BATCH):
            point = gates.clone().requires_grad_()
            loss = cross_entropy(logits(self.module, inputs, point), labels, reduction="sum")
            total += torch.autograd.grad(loss, point)[0].to(torch.float64)
        self.module.train()
        return total / len(self.fit_part)

    def _apply(self, groups: Any) -> None:
        numbers = [e.gate for g in groups for e in self.pruner.groups[g] if e.gate is not None]
        self.posterior.remove(numbers)
        set_pruned(self.module, self.emitted, numbers)

    # ------------------------------------------------------------------------------------- record

    def _judge(self) -> float:
        """Accuracy of the supernet on the part of the training data that trains nothing."""
        return evaluate(self.module, self.data, self.held_part, self.posterior.gates())

    def _record(
        self, loss: float, held: float, reasons: dict[str, str], start: float, progress: Progress
    ) -> None:
        self.seconds += time.perf_counter() - start
        row = {
            "round": self.round,
            "train_loss": loss,
            "holdout_accuracy": held,
            "alive": self._alive(),
            "removed": reasons,
            "seconds": round(self.seconds, 3),
        }
        self.history.append(row)
        self.run.write_lines("history.jsonl", self.history)
        self.run.write_lines("gates.jsonl", self._gate_rows())
        self.run.save("checkpoint.pt", self._state())
        name = f"round {self.round}/{self.settings.rounds}" if self.round else "warm-up"
        progress.say(
            f"{name}: train loss {loss:.4f}, held-out accuracy {held:.2%}, "
            f"{self._alive()} of {len(self.pruner.groups)} operations"
        )

    def _gate_rows(self) -> list[dict[str, Any]]:
        rows = []
        for edge, numbers in zip(self.graph.searched(), self.posterior.rows(), strict=True):
            gone, reason = self.removed.get(str(edge.group), (None, None))
            rows.append(
                {
                    "gate": edge.gate,
                    "group": edge.group,
                    "edge": edge.connection,
                    "operation": edge.operation.label,
                    **numbers,
                    "evidence_change": float(self.changes[edge.gate or 0]),
                    "removed_in_round": gone,
                    "removed_by": reason,
                }
            )
        return rows

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "round": self.round,
            "seconds": self.seconds,
            "removed": {group: list(why) for group, why in self.removed.items()},
            "changes": self.changes,
            "refused": list(self.refused),
            "history": self.history,
            "posterior": self.posterior.state(),
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.round, self.seconds = state["step"], state["round"], state["seconds"]
        self.history, self.changes = state["history"], state["changes"].cpu()
        self.refused = tuple(state["refused"])
        self.posterior.restore(state["posterior"])
        removed = {group: (int(n), str(why)) for group, (n, why) in state["removed"].items()}
        self.removed = removed
        self._apply(removed)
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["dropout"].cpu())

    # ------------------------------------------------------------------------------------- result

    def _finish(self) -> SearchResult:
        if self.refused:
            raise DiagnosticError(
                Diagnostic(
                    "D601",
                    "the posterior keeps no operation on the only way to an output",
                    notes=(f"it would remove {quote(self.refused[:3])} and leave no network",),
                    help="lower `lambda_w`, for instance "
                    f"`--option lambda_w={self.settings.lambda_w / 10:g}`",
                ),
                status=1,
            )
        pruned = self.pruner.alive_graph(self.removed)
        spec = derive_spec(self.compiled, pruned)
        text = self._header() + print_spec(spec)
        found = compile_loaded(load_text(Source("pruned.nas", text), self.run.out))
        self.run.write_text("pruned.nas", text)
        gammas = {
            e.id: float(self.posterior.gamma[e.gate])
            for e in self.graph.searched()
            if e.gate is not None
        }
        gone = frozenset(e.id for g in self.removed for e in self.pruner.groups[g])
        annotation = Annotation(gammas, gone)
        self.run.write_text("graph.json", graph_to_json(self.graph, annotation))
        report = gamma_report(self.graph)
        self.run.write_text("gamma.json", report.json)
        self.run.write_text("gamma.md", report.markdown)
        advice = write_figure(draw(self.graph, annotation), self.run.out / "search.svg")
        figure = self.run.out / "pruned.svg"
        write_figure(draw(found.graph), figure)
        result = SearchResult(
            graph_cost(self.graph),
            graph_cost(found.graph),
            self.round,
            len(self.pruner.groups),
            self._alive(),
            self.history[-1]["holdout_accuracy"],
            self.seconds,
            self.options.seed,
            str(self.device),
            str(figure if advice is None else figure.with_suffix(".dot")),
            advice,
        )
        self.run.write_json("result.json", asdict(result))
        return result

    def _header(self) -> str:
        name = Path(self.compiled.loaded.source.name).name
        shown = "".join(c for c in f"{name} on {self.options.data}" if c.isprintable())
        return (
            f"# Found by bayesnas search of {shown}, seed {self.options.seed}: "
            f"{self._alive()} of {len(self.pruner.groups)} operations left.\n\n"
        )
