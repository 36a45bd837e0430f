"""A search: train the supernet, ask the strategy what goes, and begin again; then write the result.

The strategies are in `runtime/strategies/`; docs/algorithm.md says what each does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import asdict, define, evolve, field

from bayesnas.compiler.artifacts.figure import draw
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import (
    STRATEGIES,
    SearchSettings,
    TrainSettings,
    make_settings,
    searches_widths,
    unused_settings,
)
from bayesnas.compiler.space.members import dead_groups
from bayesnas.compiler.space.prices import Prices
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.splits import HOLDOUT
from bayesnas.runtime.jobs.failures import explained, plugins_named, unlearned
from bayesnas.runtime.jobs.memory import Demand, fitted, watched
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.jobs.search.course import Course, judging
from bayesnas.runtime.jobs.search.gates import gate_rows, living_means, round_rows
from bayesnas.runtime.jobs.search.result import SearchResult
from bayesnas.runtime.jobs.search.selection import Selection
from bayesnas.runtime.jobs.search.space import Space, check_result, priced
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.together.ranks import joined, world
from bayesnas.runtime.network.training import absurd, check_score, check_weights
from bayesnas.runtime.runs.events import Event, Kind, numbers_of, tell
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.interruption import Watch
from bayesnas.runtime.runs.machine import machine_record
from bayesnas.runtime.runs.ownership import (
    FOUND,
    LATENCIES,
    RESULT,
    ROUNDS,
    check_out,
)
from bayesnas.runtime.runs.progress import Progress, Stopwatch, say_note
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.runs.seals import file_hash
from bayesnas.runtime.runs.status import run_progress
from bayesnas.runtime.strategies.interface import Problem, Strategy
from bayesnas.runtime.strategies.linear_algebra import named_failures
from bayesnas.runtime.strategies.registry import strategy_class
from bayesnas.runtime.strategies.widths.decisions import Widths
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.scores import Score


@plugins_named()
def search(space: Compiled | Space, settings: SearchSettings, options: RunOptions) -> SearchResult:
    """Search a space and write the found network's spec and figure into a run's folder.

    Raises:
        DiagnosticError: D431, D435 (nothing to search, another proxy), D604 (no member was
            found inside the budgets); whatever data, folders and the work itself raise.
    """
    if isinstance(space, Compiled):
        space = Space(space)
    space.check(searches_widths(settings))
    check_result(space, settings)
    device = pick_device(options.device)
    with joined(device) as ranks:
        if ranks.writes:
            check_out(options.out, options.resume, options.force, options.inputs(space.wanted))
        space, prices = priced(space, settings, device, options.out if options.resume else None)
        return _search(space, prices, settings, options, device)


def _search(
    space: Space,
    prices: Prices,
    settings: SearchSettings,
    options: RunOptions,
    device: torch.device,
) -> SearchResult:
    read = options.data_options
    data = load_data(options.data, space.searched.graph, read, None, device).to(device)
    fit = round(len(data.train) * (1 - HOLDOUT))
    settings = fitted(settings, space.searched.graph, fit, options)
    settings, data, census = settled(settings, data, space.searched, HOLDOUT)
    say_note(_unused(space, settings))
    extra = {"examples": census.record(), **space.record()}
    demand = Demand.of(space.searched.graph, settings, device, len(data.train))
    examples = data.train.fingerprint()
    with (
        Run.begin("search", space.wanted, settings, options, examples, extra) as run,
        watched(demand, options.out),
        plugins_named(data),
    ):
        net = Supernet(
            space.searched.graph,
            space.searched.loaded.source.name,
            data,
            settings,
            options.seed,
            device,
        )
        problem = _problem(space, net, prices, options.seed)
        strategy = strategy_class(settings.strategy)(problem)
        course = Course.of(strategy, settings)
        with explained(run, settings.learning_rate):
            return _Search(space, settings, options, net, strategy, run, course).go()


def _problem(space: Space, net: Supernet, prices: Prices, seed: int) -> Problem:
    """What the strategy is given; where widths are searched, budgets are theirs to meet."""
    settings, widths = net.settings, None
    if searches_widths(settings):
        uses = "lambda_w" in STRATEGIES[settings.strategy].settings
        lambda_w = settings.lambda_w if uses else 1 / len(net.fit_part)
        widths = Widths(net, prices, prices.budgets, lambda_w, seed, space.clock)
        prices = prices.unlimited()
    recipe = make_settings(TrainSettings, space.wanted.settings("train"))
    return Problem(net, prices, settings, seed, recipe.epochs, widths)


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
    course: Course
    watch: Watch = field(factory=Watch)
    round: int = 0
    losses: float = 0.0  # sum over the steps of the round so far
    clock: Stopwatch = field(factory=Stopwatch)
    training: Stopwatch = field(factory=Stopwatch)  # the part of it that are steps
    removed: dict[str, tuple[int, str]] = field(factory=dict)  # group -> round, reason
    refused: tuple[str, ...] = ()  # by the last round
    history: list[dict[str, Any]] = field(factory=list)
    rounds: list[dict[str, Any]] = field(factory=list)  # of every group, round by round

    # ------------------------------------------------------------------------------------- course

    def go(self) -> SearchResult:
        net, course = self.net, self.course
        net.total_steps = max(1, course.steps)
        schema = course.checkpoint_schema(self.strategy, self.settings)
        if (state := self.run.checkpoint(schema, net.device)) is not None:
            self._restore(state)
        else:
            self.run.write_text("supernet.py", net.emitted.source)
            if self.space.latencies_text:
                self.run.write_text(LATENCIES, self.space.latencies_text)
        self._tell("begin", asdict(self.settings))
        with run_progress(
            self.run.out, net.total_steps, "search", self.settings.batch_size, net.device
        ) as progress:
            progress.skip(net.steps)
            if not self.history:
                self._record(self._train(progress), {}, progress)
            while self.round < course.rounds and not self.strategy.stable:
                loss = self._train(progress)
                self.round += 1
                self._record(loss, self._update(course.rounds), progress)
        return self._finish()

    def _train(self, progress: Progress) -> float | None:
        """The steps of the warm-up or of a round; their mean loss, if there are any.

        Raises:
            KeyboardInterrupt: a signal has come, and what was reached is saved.
        """
        before, steps = self.course.phase(self.round, len(self.history))
        self.clock.start()
        self.training.start()
        self.watch.follow(self._steps(steps, self.net.steps - before, progress), self._save_within)
        self.training.count()
        total, self.losses = self.losses, 0.0
        return total / steps if steps else None

    def _steps(self, steps: int, taken: int, progress: Progress) -> Iterator[float]:
        searching = bool(self.history)
        for inputs, targets in self.net.batches(steps, taken):
            value = self.strategy.step(inputs, targets, searching)
            self.losses += value
            progress.step(loss=f"{value:.3f}", alive=str(self._alive()))
            yield value

    def _save_within(self, loss: float) -> None:
        """Save what was reached in the middle, unless the last loss is absurd.

        Raises:
            DiagnosticError: D602 if weights are not finite.
        """
        check_weights(self.net.module, f"step {self.net.steps} of the search")
        self.clock.count()
        self.training.count()
        if not absurd(Score(loss, 0.0), self._chance()):
            self.run.save_checkpoint(self._state())

    @property
    def widths(self) -> Widths | None:
        """What decides on channels, if anything does."""
        return self.strategy.problem.widths

    @property
    def _last(self) -> bool:
        """Whether no round follows."""
        return self.round == self.course.rounds or self.strategy.stable

    def _alive(self) -> int:
        return len(self.net.gates.groups) - len(self.removed)

    def _update(self, rounds: int) -> dict[str, str]:
        """What goes in this round, and after the last one all that leads nowhere."""
        place, last = f"the update after step {self.net.steps} of the search", self.round == rounds
        with named_failures(place), judging(self.run.out, self.strategy, rounds, last):
            removal = self.strategy.update(self.round, rounds)
        self.refused = removal.refused
        reasons = dict(removal.reasons)
        if self._last:
            reasons |= self.strategy.finish().reasons
            if not self.refused:
                gone = self.removed.keys() | reasons.keys()
                left = self.net.gates.groups.keys() - gone
                reasons |= dict.fromkeys(dead_groups(self.net.graph, left), "dead")
        self.removed.update({group: (self.round, why) for group, why in reasons.items()})
        return reasons

    # ------------------------------------------------------------------------------------- record

    def _record(self, loss: float | None, reasons: dict[str, str], progress: Progress) -> None:
        score = self.strategy.score(whole=self._last)
        world().check_together(self.net.module, f"round {self.round}", *self.removed)
        seconds = self.clock.count()
        good = self._good(score)
        row = {
            "round": self.round,
            "train_loss": loss,
            **self.net.data.task.entries("holdout", score),
            "alive": self._alive(),
            "removed": reasons,
            "images_trained": self.net.trained,
            "images_evaluated": self.net.evaluated,
            "seconds": round(seconds, 3),
            "seconds_training": round(self.training.seconds, 3),
        }
        if not self.history:
            self.net.inform(score)
        self.history.append(row)
        gates = gate_rows(self.strategy, self.removed)
        self.rounds += round_rows(self.round, gates)
        self.run.write_lines("history.jsonl", self.history)
        self.run.write_lines("gates.jsonl", gates)
        self.run.write_lines(ROUNDS, self.rounds)
        if good:
            self.run.save_checkpoint(self._state())
            self.watch.saved()
        name = f"round {self.round}/{self.course.rounds}" if self.round else "warm-up"
        trained = f"train loss {loss:.4f}, " if loss is not None else ""
        progress.say(
            f"{name}: {trained}held-out {self.net.data.task.told(score)}, "
            f"{self._alive()} of {len(self.net.gates.groups)} operations"
        )
        self._tell("row", row)

    def _tell(self, kind: Kind, entries: Mapping[str, Any]) -> None:
        """Tell who listens; of a row, with the gates and the figure of its round."""
        event = Event(kind, "search", self.run.out, self.net.steps, numbers_of(entries))
        if kind == "row":
            chosen = self._selection
            event = evolve(
                event,
                gates=living_means(self.rounds),
                draw=lambda: draw(chosen.graph, chosen.annotation),
            )
        tell(self.options.listeners, event)

    def _good(self, score: Score) -> bool:
        """Whether a state may be saved: an absurd loss may yet fall, but not after the last round.

        Raises:
            DiagnosticError: D602.
        """
        if not self.strategy.trains:
            return True
        place = f"round {self.round}" if self.round else "the warm-up"
        check_weights(self.net.module, f"{place} of the search")
        check_score(score, self._chance() if self._last else None, f"held-out loss after {place}")
        return not absurd(score, self._chance())

    def _chance(self) -> Score | None:
        return self.net.data.task.chance(self.net.held_part.targets)

    def _state(self) -> dict[str, Any]:
        return {
            "round": self.round,
            "losses": self.losses,
            "seconds": self.clock.seconds,
            "seconds_training": self.training.seconds,
            "removed": {group: list(why) for group, why in self.removed.items()},
            "refused": list(self.refused),
            "history": self.history,
            "rounds": self.rounds,
            "strategy": self.strategy.state(),
            "net": self.net.state(),
            **({} if self.widths is None else {"widths": self.widths.state()}),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.round, self.losses = state["round"], state["losses"]
        self.clock.seconds = state["seconds"]
        self.training.seconds = state.get("seconds_training", 0.0)
        self.history, self.refused = state["history"], tuple(state["refused"])
        if self.history:
            self.net.inform(self.net.data.task.score_of("holdout", self.history[0]))
        self.rounds = state.get("rounds", [])
        self.removed = {group: (int(n), str(why)) for group, (n, why) in state["removed"].items()}
        self.strategy.restore(state["strategy"])
        self.net.restore(state["net"])
        if self.widths is not None:
            self.widths.restore(state["widths"], self.strategy.space.candidates())

    # ------------------------------------------------------------------------------------- result

    @property
    def _selection(self) -> Selection:
        return Selection(self.space, self.options, self.strategy, self.run, self.removed)

    def _finish(self) -> SearchResult:
        self._check_refused()
        task = self.net.data.task
        if self.strategy.trains:
            weighted = self.settings.class_weights == "balanced"
            held = len(self.net.held_part)
            say_note(unlearned(task, self._chance(), self.history, held, weighted))
        network, advice = self._selection.write()
        figure = self.run.out / "pruned.svg"
        result = SearchResult(
            strategy=self.settings.strategy,
            supernet=graph_cost(self.space.wanted.graph),
            found=self._selection.cost(network.graph),
            rounds=self.round,
            operations=len(self.net.gates.groups),
            operations_left=self._alive(),
            holdout=task.score_of("holdout", self.history[-1]),
            task=task,
            images_trained=self.net.trained,
            images_evaluated=self.net.evaluated,
            seconds=self.clock.seconds,
            seed=self.options.seed,
            device=str(self.net.device),
            figure=str(figure if advice is None else figure.with_suffix(".dot")),
            advice=advice,
        )
        shared = self._selection.write_weights(network)
        if self.run.writes:
            about = {
                "found_hash": file_hash(self.run.out / FOUND),
                "machine": machine_record(self.net.device),
                **shared,
            }
            self.run.write_json(RESULT, result.record() | about)
        self._tell("end", result.record())
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
