"""How long the operations of a space take on a device: the table that prices budgets of latency.

Every operation runs by itself as plain source in evaluation mode, as the trained network does. All
take turns, run after run, so that each finds the caches as it would in a network and a machine that
slows down slows all of them alike; a run in a row of the same operation is a quarter faster than in
a network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final, TypeVar, get_args

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Edge, Graph, Instance, Merge, Node
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.compiler.passes.relays import skip
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.draws import draw_member
from bayesnas.compiler.space.latencies import (
    Latencies,
    Measured,
    Whole,
    Work,
    output_shape,
    works_of,
)
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import Prices
from bayesnas.runtime.jobs.costs.members import biggest, network_of
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.runs.machine import machine_record
from bayesnas.runtime.runs.progress import Progress, say_note

T = TypeVar("T", bound=Hashable)
Call = Callable[[], object]

RUNS: Final = 51  # of each operation, at most
_LEAST_RUNS: Final = 7
_SECONDS: Final = 60.0  # after which no run more begins than has to
_QUIET: Final = 0.9  # of a processor that a measurement gets where nothing else runs
_WARM_UP: Final = 3
_IN_A_ROW: Final = 20  # on a GPU, which is told what to do ahead of time
_CALL: Final = "call"
DRAWN: Final = 3  # random members that are measured whole


@plugins_named()
def measure(compiled: Compiled, device: torch.device, batch: int) -> Latencies:
    """The latencies of all operations of a network, and how well they add up to those of members.

    Args:
        compiled: a space, or a network with nothing to search: then it is measured whole itself.
        device: what runs.
        batch: examples of a forward pass.

    Raises:
        DiagnosticError: what the modules of plugins raise.
    """
    bench = _Bench(compiled, device, batch)
    works = dict(works_of(compiled.graph))
    members = dict(_members(compiled.graph))
    table, wholes = _measured(bench, works, {n: bench.member(m) for n, m in members.items()})
    graph = table.priced(compiled.graph)
    sums = {n: graph_cost(graph if m is None else prune_to(graph, m)) for n, m in members.items()}
    told = (Whole(name, sums[name].of("latency"), wholes[name].median) for name in members)
    return evolve(table, wholes=(*told,))


@plugins_named()
def measure_networks(
    compiled: Compiled,
    networks: Mapping[str, Graph],
    whole: bool,
    device: torch.device,
    table: Latencies | None = None,
) -> Latencies:
    """The latencies of a network's operations at several widths, an example at a time.

    Args:
        compiled: the network.
        networks: its graph at those widths, without gates, by name.
        whole: whether each of them is measured whole as well.
        device: what runs.
        table: what has been measured before, and is not again.

    Raises:
        DiagnosticError: what the modules of plugins raise.
    """
    bench = _Bench(compiled, device, 1)
    works = {work: edge for graph in networks.values() for work, edge in works_of(graph)}
    if table is not None:
        works = {work: edge for work, edge in works.items() if work not in table.operations}
        if not works and not whole:
            return table
    calls = {n: bench.network(graph) for n, graph in networks.items()} if whole else {}
    more, wholes = _measured(bench, works, calls, whole or table is None)
    if table is not None:
        more = evolve(table, operations={**table.operations, **more.operations})
    told = (
        Whole(name, graph_cost(more.priced(networks[name])).of("latency"), wholes[name].median)
        for name in calls
    )
    return evolve(more, wholes=(*more.wholes, *told))


def _measured(
    bench: _Bench,
    works: Mapping[Work, Edge | None],
    networks: Mapping[str, Call],
    telling: bool = True,
) -> tuple[Latencies, Mapping[str, Measured]]:
    """A table of operations, and what networks take beside it, by name."""
    calls: dict[Hashable, Call] = {_CALL: bench.nothing()}
    calls |= {work: bench.alone(work, edge) for work, edge in works.items()}
    calls.update(networks)
    measured = turns(calls, bench.device, telling)
    call = measured[_CALL]
    operations = {work: _less(measured[work], call) for work in works}
    table = Latencies("the table", bench.about(), bench.batch, call, operations)
    return table, {name: measured[name] for name in networks}


def turns(calls: Mapping[T, Call], device: torch.device, telling: bool = True) -> dict[T, Measured]:
    """Nanoseconds of each call: all run in turn, some times to warm up and up to `RUNS` times.

    Unless ``telling`` is off, a note says where other work has disturbed them.
    """
    times: dict[T, list[int]] = {key: [] for key in calls}
    clock = clock_of(torch.get_num_threads())
    begun, worked = time.perf_counter(), time.process_time()
    with torch.inference_mode(), Progress(_WARM_UP + RUNS, "measure", "run") as progress:
        for run in range(_WARM_UP + RUNS):
            late = time.perf_counter() - begun > _SECONDS
            if late and run >= _WARM_UP + _LEAST_RUNS:
                break
            for key, call in calls.items():
                taken = _timed(call, device, clock)
                if run >= _WARM_UP:
                    times[key].append(taken)
            progress.step()
    if telling and device.type == "cpu" and clock is time.perf_counter_ns:
        say_note(busy((time.process_time() - worked) / (time.perf_counter() - begun)))
    return {key: _quartiles(values) for key, values in times.items()}


def clock_of(threads: int) -> Callable[[], int]:
    """Nanoseconds on a CPU: one thread's own, which stand still while other work has its processor.

    A thread that waits for others has no time that is its own: several go by the clock.
    """
    return time.thread_time_ns if threads == 1 else time.perf_counter_ns


def busy(share: float) -> str:
    """What is said where this process got no more than a share of a processor."""
    if share >= _QUIET:
        return ""
    return (
        f"other work took the processor for {1 - share:.0%} of the time, and whole networks look "
        "slower than the sum of their operations: measure where nothing else runs, or with "
        "`--threads 1`, whose time does not count other work's"
    )


def _timed(call: Call, device: torch.device, clock: Callable[[], int]) -> int:
    """Nanoseconds of a call; on a GPU the mean of some in a row, until the last has ended."""
    if device.type == "cpu":
        start = clock()
        call()
        return clock() - start
    torch.accelerator.synchronize(device)
    start = time.perf_counter_ns()
    for _ in range(_IN_A_ROW):
        call()
    torch.accelerator.synchronize(device)
    return (time.perf_counter_ns() - start) // _IN_A_ROW


def _quartiles(times: list[int]) -> Measured:
    low, median, high = quantiles(times, n=4, method="inclusive")
    return Measured(round(median), round(low), round(high))


def _less(measured: Measured, call: Measured) -> Measured:
    """What an operation takes beside the call of a network round it."""
    times = (measured.median, measured.low, measured.high)
    return Measured(*(max(0, time - call.median) for time in times))


def _members(graph: Graph) -> Iterator[tuple[str, Member | None]]:
    """Members to be measured whole: some random ones, and the biggest by FLOPs."""
    if not graph.searched():
        yield "the network", None
        return
    free = evolve(graph, budgets=())
    for seed in range(DRAWN):
        yield f"random, seed {seed}", draw_member(free, seed)[0]
    most = biggest(Prices.of(free, ()))
    if most is not None:
        yield "the biggest", most


@frozen
class _Bench:
    """What is measured, as calls without arguments."""

    compiled: Compiled
    device: torch.device
    batch: int
    examples: dict[Shape, Tensor] = field(factory=dict, init=False)  # of each shape one

    def about(self) -> dict[str, str | int]:
        """What was measured where."""
        return {
            "network": self.compiled.network.name,
            "spec": Path(self.compiled.loaded.source.name).name,
            "device": str(self.device),
            "torch": str(torch.__version__),
            **machine_record(self.device),
        }

    def nothing(self) -> Call:
        """The call of a network that returns its input."""
        return self.network(_alone(("sum", ((1,),)), None))

    def alone(self, work: Work, edge: Edge | None) -> Call:
        """An operation by itself, that of an edge; or a merge."""
        return self.network(_alone(work, edge))

    def member(self, member: Member | None) -> Call:
        """A member as the network that `train` would train."""
        if member is None:
            return self.network(self.compiled.graph)
        return self.network(network_of(self.compiled, member).graph)

    def network(self, graph: Graph) -> Call:
        """A forward pass of a network that has no gates any more."""
        origin, form = self.compiled.loaded.source.name, layout(graph, self.device)
        module, _ = build(graph, origin, 0, scheduled=False, layout=form)
        words = bool(looked_up(graph))
        given = [self._example(graph.node(n).shape or (), words) for n in graph.root.inputs]
        return partial(module.to(self.device).eval(), *given)

    def _example(self, shape: Shape, words: bool) -> Tensor:
        """A batch of an input or of a tensor within; ``words``: numbers that are looked up."""
        if words:
            return torch.zeros((self.batch, *shape), device=self.device)
        if shape not in self.examples:
            z = torch.randn((self.batch, *shape), generator=torch.Generator().manual_seed(0))
            if z.dim() == 4 and layout(self.compiled.graph, self.device) is torch.channels_last:
                z = z.contiguous(memory_format=torch.channels_last)
            self.examples[shape] = z.to(self.device)
        return self.examples[shape]


def _alone(work: Work, edge: Edge | None) -> Graph:
    """The network of one operation, or of one merge."""
    text, inputs = work
    operations = [skip(shape) for shape in inputs] if edge is None else [edge.operation]
    ports = tuple(f"x{k}" for k in range(len(inputs)))
    merge, target = _merged(text, inputs) if edge is None else ("sum", output_shape(operations[0]))
    nodes = [Node(x, x, "", "input", shape=z) for x, z in zip(ports, inputs, strict=True)]
    edges = [
        Edge(f"{x}->y", x, "y", "fixed", f"{x}->y", "", k, operation)
        for k, (x, operation) in enumerate(zip(ports, operations, strict=True))
    ]
    whole = Instance("", "", "operation", None, (), ports, ("y",))
    nodes.append(Node("y", "y", "", "output", merge, target))
    return Graph("operation", {"": whole}).rebuild(nodes, edges)


def _merged(text: str, inputs: Sequence[Shape]) -> tuple[Merge, Shape]:
    """A merge by its name, and the shape of what it makes; products spread vectors over maps."""
    [merge] = [name for name in get_args(Merge) if name == text]
    largest = max(inputs, key=len)
    if merge == "concat":
        largest = (sum(shape[0] for shape in inputs), *largest[1:])
    return merge, largest
