"""What a search and a training will take here: memory, hours, the largest batch that fits.

Some steps of the real work are done on the real data, on a network with fresh weights, and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median
from typing import Any, Final

import torch
from attrs import asdict, evolve, frozen

from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, TrainSettings, searches_widths
from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.draws import no_member, random_member
from bayesnas.compiler.space.prices import Prices
from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.data.free_memory import Peak, free_memory
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.splits import HOLDOUT
from bayesnas.runtime.jobs.costs.members import biggest, latency_of, network_of
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.heldout import looks
from bayesnas.runtime.jobs.memory import Demand, watched
from bayesnas.runtime.jobs.preparation import settled
from bayesnas.runtime.jobs.search.course import Course
from bayesnas.runtime.jobs.search.space import Space, check_result, priced
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.memory import JUDGEMENT, TEST, AtOnce
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.machine import machine_record
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.interface import Problem, Strategy
from bayesnas.runtime.strategies.registry import strategy_class
from bayesnas.runtime.supernet.supernet import Supernet

STEPS: Final = 10  # of each kind that are timed, at most
_LEAST_STEPS: Final = 2
_SECONDS: Final = 5.0  # after which no step more is timed than has to be
_BELIEVED: Final = 64 * 2**20  # bytes: of less, what is measured is the allocator's pages


@frozen
class Phase:
    """A search or a training, foretold.

    Args:
        work: ``search`` or ``training``.
        network: what it works on, in words.
        cost: of that.
        batch_size: as the settings have it, or all examples if they are fewer.
        step_bytes: of a step, told from shapes.
        measured_bytes: of one that was done; None where nothing says so, or none that large fits.
        step_seconds: of a step of each kind: of a search's warm-up and of its rounds.
        steps: of each kind.
        looks_seconds: of all that is done besides: derivatives, judgements, tests.
        largest_batch: that fits the memory, at most all examples; None where that is not known.
    """

    work: str
    network: str
    cost: Cost
    batch_size: int
    step_bytes: int
    measured_bytes: int | None
    step_seconds: tuple[float, ...]
    steps: tuple[int, ...]
    looks_seconds: float
    largest_batch: int | None

    @property
    def seconds(self) -> float:
        """Of the whole."""
        each = zip(self.step_seconds, self.steps, strict=True)
        return sum(seconds * count for seconds, count in each) + self.looks_seconds

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "cost": self.cost.record(), "seconds": self.seconds}


@frozen
class Estimate:
    """What all of it takes; ``memory`` is what is given or free, bytes, None where not known."""

    phases: tuple[Phase, ...]
    memory: int | None
    examples: int
    tested: int
    machine: dict[str, str | int]

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        about = {"memory": self.memory, "examples": self.examples, "tested": self.tested}
        phases = {phase.work: phase.record() for phase in self.phases}
        return {**phases, **about, "machine": self.machine}


@plugins_named()
def estimate(
    space: Space,
    search: SearchSettings,
    train: TrainSettings,
    options: RunOptions,
    memory: int | None = None,
) -> Estimate:
    """What a search of a space and the training of its biggest member will take.

    Of a network with nothing to search the training alone.

    Args:
        space: what is searched or trained.
        search: settings.
        train: settings.
        options: data and device.
        memory: bytes; by default what is free.

    Raises:
        DiagnosticError: whatever data, settings and the work itself raise.
    """
    device = pick_device(options.device)
    free = free_memory(device) if memory is None else memory
    phases: list[Phase] = []
    network, words, latency = space.wanted, "the network", None
    if network.graph.searched():
        space, prices = _priced(space, search, device)
        data = _data(options, space.searched, device)
        phases.append(_search(space, prices, search, options, data, free, device))
        member = _biggest(prices)
        network, words = network_of(space.wanted, member), "the biggest member"
        words += ", all channels" if searches_widths(search) else ""
        latency = latency_of(space.wanted, member)
    data = _data(options, network, device)
    phase = _training(network, words, train, options, data, free, device)
    phases.append(evolve(phase, cost=evolve(phase.cost, latency=latency)))
    counts = len(data.train), len(data.test)
    return Estimate(tuple(phases), free, *counts, machine_record(device))


def _data(options: RunOptions, compiled: Compiled, device: torch.device) -> Data:
    return load_data(options.data, compiled.graph, options.data_options, None, device).to(device)


def _priced(space: Space, settings: SearchSettings, device: torch.device) -> tuple[Space, Prices]:
    """What members cost, and the budgets they are held to; none where widths give way.

    Raises:
        DiagnosticError: what a search refuses before its work.
    """
    widths = searches_widths(settings)
    space.check(widths)
    check_result(space, settings)
    space, prices = priced(space, settings, device)
    return space, prices.unlimited() if widths else prices


def _biggest(prices: Prices) -> Member:
    """The member of most FLOPs inside the budgets.

    Raises:
        DiagnosticError: D604.
    """
    member = biggest(prices)
    if member is None:
        raise no_member(prices, status=2)
    return member


# ------------------------------------------------------------------------------------------ phases


def _search(
    space: Space,
    prices: Prices,
    settings: SearchSettings,
    options: RunOptions,
    data: Data,
    memory: int | None,
    device: torch.device,
) -> Phase:
    graph, origin = space.searched.graph, space.searched.loaded.source.name
    settings, data, _ = settled(settings, data, space.searched, HOLDOUT)
    demand = Demand.of(graph, settings, device, len(data.train))
    tried = evolve(settings, batch_size=demand.affordable)
    with watched(evolve(demand, batch_size=tried.batch_size)), plugins_named(data):
        net = Supernet(graph, origin, data, tried, options.seed, device)
        strategy = strategy_class(settings.strategy)(Problem(net, prices, tried, options.seed))
        course = Course.of(strategy, tried)
        net.total_steps = max(1, course.steps)
        kinds = {False: course.warmup, True: course.rounds * course.each}
        timings = [
            timed(_steps(strategy, count, searching), device) for searching, count in kinds.items()
        ]
        looks = _looks(strategy, course.rounds, tried.batch_size * course.steps)
    return _phase(
        ("search", "the supernet"),
        graph,
        demand,
        (tried.batch_size, [*kinds.values()], timings),
        looks,
        (memory, len(net.fit_part)),
    )


def _steps(strategy: Strategy, count: int, searching: bool) -> Iterator[float]:
    for inputs, targets in strategy.net.batches(count):
        yield strategy.step(inputs, targets, searching)


def _training(
    compiled: Compiled,
    words: str,
    settings: TrainSettings,
    options: RunOptions,
    data: Data,
    memory: int | None,
    device: torch.device,
) -> Phase:
    graph, origin = compiled.training, compiled.loaded.source.name
    settings, data, _ = settled(settings, data, compiled, settings.holdout or None)
    demand = Demand.of(graph, settings, device, len(data.train))
    tried = evolve(settings, batch_size=demand.affordable)
    with watched(evolve(demand, batch_size=tried.batch_size)), plugins_named(data):
        module, emitted = build(graph, origin, options.seed, layout=layout(graph, device))
        learner = Learner(module.to(device), emitted, graph, tried)
        fit = data.train.first(round(len(data.train) * (1 - settings.holdout)))
        generator = torch.Generator().manual_seed(options.seed)
        extra = Extra.of(tried)
        batches = Batches(data, fit, tried.batch_size, tried.augment, generator, extra)
        timing = timed(learner.epoch(batches, 0), device)
        size = AtOnce(demand.footprint, tried.batch_size).forward(TEST)
        part = data.test.first(size)
        each = seconds_of(lambda: evaluate(learner.judged, data, part, size), device) / len(part)
    held = looks(settings.epochs) * (len(data.train) - len(fit))
    return _phase(
        ("training", words),
        compiled.graph,
        demand,
        (tried.batch_size, [settings.epochs * len(batches)], [timing]),
        each * (len(data.test) + held),
        (memory, len(fit)),
    )


def _phase(
    names: tuple[str, str],
    graph: Graph,
    demand: Demand,
    tried: tuple[int, list[int], list[Timing]],
    looks: float,
    bounds: tuple[int | None, int],
) -> Phase:
    """What was timed at some batch size, at that of the settings; ``bounds``: bytes, examples."""
    size, counts, timings = tried
    share, most = demand.batch_size / size, max((t.most or 0 for t in timings), default=0)
    return Phase(
        *names,
        graph_cost(graph),
        demand.batch_size,
        demand.footprint.step_bytes(demand.batch_size),
        most if most and share == 1 else None,
        tuple(share * timing.seconds for timing in timings),
        tuple(round(count / share) for count in counts),
        looks,
        _largest(demand, size, most, *bounds),
    )


def _largest(demand: Demand, size: int, most: int, memory: int | None, examples: int) -> int | None:
    """The largest batch that fits, by the estimate and by what was measured at some size."""
    if memory is None:
        return None
    footprint = demand.footprint
    told = footprint.step_bytes(size)
    factor = max(1.0, most / told) if most >= _BELIEVED else 1.0
    return min(examples, footprint.fitting(int(memory / factor)))


def _looks(strategy: Strategy, rounds: int, trained: int) -> float:
    """Seconds of all that a search looks at besides its steps, timed on one pass of each kind."""
    net, looks = strategy.net, strategy.looks(rounds, trained)
    member = random_member(strategy.space, strategy.problem.prices, strategy.random)
    net.keep(member)
    held, gates = (
        net.held_part.first(net.at_once.forward(JUDGEMENT)),
        net.gates.at(dict.fromkeys(member, 1.0)),
    )
    seconds = looks.forward * seconds_of(lambda: net.score(gates, held), net.device) / len(held)
    net.keep(strategy.space.candidates())
    mean = net.gates.at(strategy.space.mean())
    if looks.gradient:
        part = net.fit_part.first(net.at_once.derivative())
        each = seconds_of(lambda: net.gradient(mean, part), net.device) / len(part)
        seconds += looks.gradient * each
    if looks.curvature:
        few = net.fit_part.first(net.at_once.curvature(net.curvature_name, net.outputs))
        each = seconds_of(lambda: net.curvature(mean, few), net.device) / len(few)
        seconds += looks.curvature * each
    return seconds


# ------------------------------------------------------------------------------------------- timing


@frozen
class Timing:
    """Seconds of a step, and bytes that it takes at most; None where nothing says so."""

    seconds: float
    most: int | None


def timed(steps: Iterator[object], device: torch.device) -> Timing:
    """A step, its batch and all: memory of the first two, since one makes the momentum; then the
    median time of some.

    Each is done when it is taken of ``steps``; where there are none it takes nothing.
    """
    with Peak(device) as peak:
        if not list(islice(steps, 2)):
            return Timing(0.0, None)
    times: list[float] = []
    begun = last = time.perf_counter()
    for _ in islice(steps, STEPS):
        finished(device)
        now = time.perf_counter()
        times.append(now - last)
        last = now
        if len(times) >= _LEAST_STEPS and now - begun > _SECONDS:
            break
    return Timing(median(times) if times else 0.0, peak.taken)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Of the second of two runs."""
    call()
    finished(device)
    start = time.perf_counter()
    call()
    finished(device)
    return time.perf_counter() - start


def finished(device: torch.device) -> None:
    """All that was asked of a device is done; on a CPU it is."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
