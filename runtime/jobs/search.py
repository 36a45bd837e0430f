"""A search: train the supernet, ask the strategy what goes, and begin again; then write the result.

The strategies are in `runtime/strategies/`; docs/algorithm.md says what each does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.figure import draw, write_figure
from bayesnas.compiler.artifacts.gamma_report import gamma_report
from bayesnas.compiler.artifacts.graph_file import Annotation, graph_to_json
from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.settings import SearchSettings, unused_settings
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import dead_groups, prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, quote
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printer import print_spec
from bayesnas.dsl.terminal import visible
from bayesnas.runtime.data.dataset import held_out
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.failures import checkpoint_named, unlearned
from bayesnas.runtime.jobs.memory import Demand, watched
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.jobs.space import Space
from bayesnas.runtime.network.normalisation import check_batches
from bayesnas.runtime.network.training import absurd, check_score, check_weights
from bayesnas.runtime.runs.folder import Run, RunOptions, pick_device
from bayesnas.runtime.runs.ownership import check_out
from bayesnas.runtime.runs.progress import Progress, say_note
from bayesnas.runtime.runs.reading import (
    ANY_NUMBER,
    COUNT,
    DURATION,
    NUMBER,
    TEXT,
    Schema,
    between,
    both,
    listed,
    maybe,
    one_of,
    pair,
    record,
    rows_of,
    table,
)
from bayesnas.runtime.strategies.interface import Problem, Strategy, no_member
from bayesnas.runtime.strategies.linear_algebra import named_failures
from bayesnas.runtime.strategies.registry import strategy_class
from bayesnas.runtime.supernet.supernet import HOLDOUT, Supernet
from bayesnas.runtime.tasks.interface import Score, Task


@frozen
class SearchResult:
    """What a search ended with; ``holdout`` is the score of what is left of the supernet on
    held-out training examples."""

    strategy: str
    supernet: Cost
    found: Cost
    rounds: int
    operations: int
    operations_left: int
    holdout: Score
    task: Task
    images_trained: int  # forward and backward for the weights
    images_evaluated: int  # forward alone, or backward to the gates
    seconds: float
    seed: int
    device: str
    figure: str
    advice: str | None  # how to get the pictures, where `dot` is missing

    def record(self) -> dict[str, Any]:
        """As ``result.json`` has it: the score under its metric's name."""
        plain = asdict(self, filter=lambda field, _: field.name not in ("holdout", "task"))
        return {**plain, **self.task.entries("holdout", self.holdout)}


def search(space: Compiled | Space, settings: SearchSettings, options: RunOptions) -> SearchResult:
    """Search a space and write the found network's spec and figure into a run's folder.

    Raises:
        DiagnosticError: D431, D435 (nothing to search, another proxy), D604 (no member was
            found inside the budgets); whatever data, folders and the work itself raise.
    """
    if isinstance(space, Compiled):
        space = Space(space)
    space.check()
    prices = Prices.of(space.wanted.graph, space.limits)
    if best_member(member_space(space.wanted.graph), {}, prices) is None:
        raise no_member(prices, status=2)
    check_out(options.out, options.resume, options.force, options.inputs(space.wanted))
    device = pick_device(options.device)
    data = load_data(options.data, space.searched.graph, options.data_options).to(device)
    settings = settled(settings, data)
    say_note(_unused(space, settings))
    check_batches(
        space.searched.graph,
        space.searched.loaded.source.name,
        data.normalize(data.train.inputs[:1]),
        len(data.train) - held_out(len(data.train), HOLDOUT),
        settings.batch_size,
    )
    extra = {
        "proxy": dict(space.proxy.values) if space.proxy else None,
        "budgets": {budget.cost: budget.limit for budget in space.limits},
    }
    demand = Demand.of(space.searched.graph, settings, device)
    examples = data.train.fingerprint()
    with (
        Run.begin("search", space.wanted, settings, options, examples, extra) as run,
        watched(demand),
    ):
        net = Supernet(
            space.searched.graph,
            space.searched.loaded.source.name,
            data,
            settings,
            options.seed,
            device,
        )
        strategy = strategy_class(settings.strategy)(Problem(net, prices, settings, options.seed))
        with checkpoint_named(run):
            return _Search(space, settings, options, net, strategy, run).go()


def _unused(space: Space, settings: SearchSettings) -> str:
    """A remark on settings of the spec that do nothing: they may be there for other strategies."""
    unused = unused_settings(space.wanted.settings("search"), (settings.strategy,))
    return f"`{settings.strategy}` does not use {quote(unused)} of the spec" if unused else ""


@define
class _Search:
    """One search; `_state` and `_restore` carry it over an interruption."""

    space: Space
    settings: SearchSettings
    options: RunOptions
    net: Supernet
    strategy: Strategy
    run: Run
    round: int = 0
    seconds: float = 0.0
    removed: dict[str, tuple[int, str]] = field(factory=dict)  # group -> round, reason
    refused: tuple[str, ...] = ()  # by the last round
    history: list[dict[str, Any]] = field(factory=list)

    # ------------------------------------------------------------------------------------- course

    def go(self) -> SearchResult:
        settings, net = self.settings, self.net
        rounds = settings.rounds if self.strategy.trains else 1
        warmup, each = (
            round(epochs * net.epoch_steps) if self.strategy.trains else 0
            for epochs in (settings.warmup_epochs, settings.epochs)
        )
        net.total_steps = max(1, warmup + rounds * each)
        if (state := self.run.checkpoint(self._schema(), net.device)) is not None:
            self._restore(state)
        else:
            self.run.write_text("supernet.py", net.emitted.source)
        with Progress(net.total_steps, "search") as progress:
            progress.skip(net.steps)
            if not self.history:
                start = time.perf_counter()
                loss = self._train(warmup, progress, searching=False)
                self._record(loss, {}, start, progress)
            while self.round < rounds and not self.strategy.stable:
                start = time.perf_counter()
                loss = self._train(each, progress, searching=True)
                self.round += 1
                self._record(loss, self._update(rounds), start, progress)
        return self._finish()

    def _train(self, steps: int, progress: Progress, searching: bool) -> float | None:
        """Steps of the strategy's training; their mean loss, if there were any."""
        total, count = 0.0, 0
        for inputs, targets in self.net.batches(steps):
            value = self.strategy.step(inputs, targets, searching)
            total, count = total + value, count + 1
            progress.step(loss=f"{value:.3f}", alive=str(self._alive()))
        return total / count if count else None

    def _alive(self) -> int:
        return len(self.net.gates.groups) - len(self.removed)

    def _update(self, rounds: int) -> dict[str, str]:
        """What goes in this round, and after the last one all that leads nowhere."""
        with named_failures(f"the update after step {self.net.steps} of the search"):
            removal = self.strategy.update(self.round, rounds)
        self.refused = removal.refused
        reasons = dict(removal.reasons)
        if self.round == rounds or self.strategy.stable:
            reasons |= self.strategy.finish().reasons
            if not self.refused:
                gone = self.removed.keys() | reasons.keys()
                left = self.net.gates.groups.keys() - gone
                reasons |= dict.fromkeys(dead_groups(self.net.graph, left), "dead")
        self.removed.update({group: (self.round, why) for group, why in reasons.items()})
        return reasons

    # ------------------------------------------------------------------------------------- record

    def _record(
        self, loss: float | None, reasons: dict[str, str], start: float, progress: Progress
    ) -> None:
        score = self.strategy.score()
        self.seconds += time.perf_counter() - start
        good = self._good(score)
        row = {
            "round": self.round,
            "train_loss": loss,
            **self.net.data.task.entries("holdout", score),
            "alive": self._alive(),
            "removed": reasons,
            "images_trained": self.net.trained,
            "images_evaluated": self.net.evaluated,
            "seconds": round(self.seconds, 3),
        }
        self.history.append(row)
        self.run.write_lines("history.jsonl", self.history)
        self.run.write_lines("gates.jsonl", self._gate_rows())
        if good:
            self.run.save_checkpoint(self._state())
        name = f"round {self.round}/{self.settings.rounds}" if self.round else "warm-up"
        trained = f"train loss {loss:.4f}, " if loss is not None else ""
        progress.say(
            f"{name}: {trained}held-out {self.net.data.task.told(score)}, "
            f"{self._alive()} of {len(self.net.gates.groups)} operations"
        )

    def _good(self, score: Score) -> bool:
        """Whether a state may be saved: an absurd loss may yet fall, but not after the last round.

        Raises:
            DiagnosticError: D602.
        """
        if not self.strategy.trains:
            return True
        place = f"round {self.round}" if self.round else "the warm-up"
        check_weights(self.net.module, f"{place} of the search")
        last = self.round == self.settings.rounds or self.strategy.stable
        check_score(score, self._chance() if last else None, f"held-out loss after {place}")
        return not absurd(score, self._chance())

    def _chance(self) -> Score | None:
        return self.net.data.task.chance(self.net.held_part.targets)

    def _gate_rows(self) -> list[dict[str, Any]]:
        rows = []
        for edge, row in zip(self.net.graph.searched(), self.strategy.rows(), strict=True):
            gone, reason = self.removed.get(edge.searched_gate.group, (None, None))
            rows.append(
                {
                    "gate": edge.searched_gate.number,
                    "group": edge.searched_gate.group,
                    "edge": edge.connection,
                    "operation": edge.operation.label,
                    **row,
                    "removed_in_round": gone,
                    "removed_by": reason,
                }
            )
        return rows

    def _state(self) -> dict[str, Any]:
        return {
            "round": self.round,
            "seconds": self.seconds,
            "removed": {group: list(why) for group, why in self.removed.items()},
            "refused": list(self.refused),
            "history": self.history,
            "strategy": self.strategy.state(),
            "net": self.net.state(),
        }

    def _schema(self) -> Schema:
        """What `_state` gives."""
        rounds, groups = between(0, self.settings.rounds), one_of(self.net.gates.groups)
        row = {
            "round": rounds,
            "train_loss": maybe(NUMBER),
            **dict.fromkeys(self.net.data.task.entry_names("holdout"), ANY_NUMBER),
            "alive": COUNT,
            "removed": table(TEXT, groups),
            "images_trained": COUNT,
            "images_evaluated": COUNT,
            "seconds": DURATION,
        }
        entries = record(
            {
                "round": rounds,
                "seconds": DURATION,
                "removed": table(pair(rounds, TEXT), groups),
                "refused": listed(groups),
                "history": listed(record(row)),
                "strategy": self.strategy.state_schema(),
                "net": self.net.state_schema(),
            }
        )
        return both(entries, rows_of("history", "round", more=1))

    def _restore(self, state: dict[str, Any]) -> None:
        self.round, self.seconds = state["round"], state["seconds"]
        self.history, self.refused = state["history"], tuple(state["refused"])
        self.removed = {group: (int(n), str(why)) for group, (n, why) in state["removed"].items()}
        self.strategy.restore(state["strategy"])
        self.net.restore(state["net"])

    # ------------------------------------------------------------------------------------- result

    def _finish(self) -> SearchResult:
        self._check_refused()
        if self.strategy.trains:
            say_note(unlearned(self.net.data.task, self._chance(), self.history))
        network = self._write_spec()
        advice = self._write_artifacts()
        figure = self.run.out / "pruned.svg"
        write_figure(draw(network.graph), figure)
        task = self.net.data.task
        result = SearchResult(
            strategy=self.settings.strategy,
            supernet=graph_cost(self.space.wanted.graph),
            found=graph_cost(network.graph),
            rounds=self.round,
            operations=len(self.net.gates.groups),
            operations_left=self._alive(),
            holdout=task.score_of("holdout", self.history[-1]),
            task=task,
            images_trained=self.net.trained,
            images_evaluated=self.net.evaluated,
            seconds=self.seconds,
            seed=self.options.seed,
            device=str(self.net.device),
            figure=str(figure if advice is None else figure.with_suffix(".dot")),
            advice=advice,
        )
        self.run.write_json("result.json", result.record())
        return result

    def _check_refused(self) -> None:
        if self.refused:
            raise DiagnosticError(
                Diagnostic(
                    "D601",
                    "the posterior keeps no operation on the only way to an output",
                    notes=(f"it would remove {quote(self.refused[:3])} and leave no network",),
                    help=self.strategy.remedy(),
                ),
                status=1,
            )

    def _write_spec(self) -> Compiled:
        """Write the found network's spec, and compile it."""
        wanted = self.space.wanted
        groups = self.net.gates.groups.keys() - self.removed.keys()
        text = self._header() + print_spec(derive_spec(wanted, prune_to(wanted.graph, groups)))
        network = compile_loaded(load_text(Source("pruned.nas", text), self.run.out))
        self.run.write_text("pruned.nas", text)
        return network

    def _write_artifacts(self) -> str | None:
        """Write what tells of the search; advice where the figure could not be drawn."""
        graph, annotation = self.space.wanted.graph, self._annotation()
        self.run.write_text("graph.json", graph_to_json(graph, annotation))
        report = gamma_report(graph)
        self.run.write_text("gamma.json", report.json)
        self.run.write_text("gamma.md", report.markdown)
        return write_figure(draw(graph, annotation), self.run.out / "search.svg")

    def _annotation(self) -> Annotation:
        """Gamma and round of removal of every edge of the wanted network, by its group."""
        groups = self.space.wanted.graph.groups()
        found = {
            str(row["group"]): row["gamma"] for row in self._gate_rows() if row["gamma"] is not None
        }
        gammas = {e.id: found[g] for g, edges in groups.items() if g in found for e in edges}
        gone = {e.id: self.removed[g][0] for g in self.removed for e in groups[g]}
        return Annotation(gammas, gone)

    def _header(self) -> str:
        name = Path(self.space.wanted.loaded.source.name).name
        shown = visible(f"{name} on {self.options.data_name}")
        return (
            f"# Found by bayesnas search of {shown}, seed {self.options.seed}: "
            f"{self._alive()} of {len(self.net.gates.groups)} operations left.\n\n"
        )
