"""What memory is told from a graph is what is measured, and no pass takes more than a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from living import CELLS, packaged
from support import compile_text
from torch import nn

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import CURVATURES, SearchSettings
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.free_memory import free_memory
from bayesnas.runtime.network.memory import JUDGEMENT, ROOM, AtOnce, Footprint
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.classification import Classification
from benchmarks.common import peak

CPU = torch.device("cpu")
SPECS = ["darts_cell", "digits_cell", "nasbench201", "multiscale", "sequence_tcn", "nasbench_macro"]
COUNT = 60


def supernet(graph: Graph, batch_size: int, count: int = COUNT, **settings: Any) -> Supernet:
    generator = torch.Generator().manual_seed(0)
    shape = graph.node(graph.root.inputs[0]).shape or ()
    [classes] = graph.node(graph.root.outputs[0]).shape or ()
    inputs = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    part = Part(inputs, torch.arange(count) % classes)
    task = Classification(tuple(str(n) for n in range(classes)))
    data = Data.of("images", task, part, part, augment="none")
    return Supernet(graph, "spec", data, SearchSettings(batch_size=batch_size, **settings), 3, CPU)


def passes(net: Supernet, count: int) -> dict[str, Callable[[], Any]]:
    """A training step, and every pass beside it over so many examples, by name."""
    gates = net.gates.at(dict.fromkeys(net.gates.groups, 0.5))
    part = net.fit_part.first(count)
    batch = next(iter(net.batches(1)))

    def recalibrate() -> None:
        with net.recalibrated(gates):
            pass

    def curvature(name: str) -> None:
        net.settings = evolve(net.settings, curvature=name)
        net.curvature(gates, part)

    return {
        "step": lambda: net.descend(*batch, gates.clone().requires_grad_()),
        "gradient": lambda: net.gradient(gates, part),
        **{name: lambda name=name: curvature(name) for name in CURVATURES if name != "hessian"},
        "recalibration": recalibrate,
        "judgement": lambda: net.score(gates),
    }


def step_peak(net: Supernet, step: Callable[[], Any]) -> int:
    """Bytes above weights and momentum, which the first step makes."""
    step()
    net.optimizer.zero_grad(set_to_none=True)
    return peak(step, CPU)


@pytest.mark.parametrize("name", SPECS)
def test_the_estimate_is_near_what_is_measured(name: str) -> None:
    """Of a step within a factor of 1.5; other passes may be thought larger, up to 2.5 times."""
    net = supernet(packaged(name).graph, 8)
    footprint, work = net.at_once.footprint, passes(net, 8)
    [classes] = net.graph.node(net.graph.root.outputs[0]).shape or ()
    curvature = footprint.derivative + classes * footprint.direction
    told = {
        "step": 8 * footprint.step + footprint.weights // 3,
        "gradient": 8 * footprint.derivative,
    }
    told |= {"ggn": 8 * curvature, "judgement": len(net.held_part) * footprint.forward}
    net.at_once = evolve(net.at_once, batch_size=1000)  # all at once
    held = {"step": step_peak(net, work["step"])}
    held |= {what: peak(work[what], CPU) for what in told if what != "step"}
    for what, expected in told.items():
        assert 1 / 1.5 < expected / held[what] < (1.5 if what == "step" else 2.5), what


def test_no_pass_takes_more_than_a_step() -> None:
    net = supernet(packaged("digits_cell").graph, 8)
    work = passes(net, 12)
    held = step_peak(net, work.pop("step"))
    for what, call in work.items():
        assert peak(call, CPU) < 1.05 * held, what


@pytest.mark.parametrize("recompute", ["no", "yes"])
@pytest.mark.parametrize("batch_size", [1, 16, 1000])
def test_modules_see_no_more_examples_at_once_than_a_step_has_room_for(
    batch_size: int, recompute: str
) -> None:
    count = min(COUNT, 12 * batch_size)  # one at a time takes its time
    net = supernet(compile_text(CELLS).graph, batch_size, count, recompute=recompute)
    footprint, work = net.at_once.footprint, passes(net, count)
    del work["step"]
    seen: list[int] = []

    def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(len(inputs[0]))

    net.module.register_forward_pre_hook(note)
    room = footprint.step * batch_size
    for what, call in work.items():
        seen.clear()
        call()
        forward = what in ("recalibration", "judgement")
        each = footprint.forward if forward else footprint.derivative
        assert max(seen) == 1 or max(seen) * each <= room, what
        assert sum(seen) == (len(net.held_part) if what == "judgement" else len(net.fit_part)), what


def test_as_many_as_there_is_room_for_but_no_more_than_help() -> None:
    footprint = Footprint(weights=0, step=1000, derivative=1000, direction=100, forward=10)
    few, many = AtOnce(footprint, 4), AtOnce(footprint, 10**6)
    assert (few.forward(JUDGEMENT), few.derivative(), few.curvature("ggn", 10)) == (256, 3, 1)
    assert few.curvature("ggn", 2) == 2  # two directions
    assert few.curvature("fisher_monte_carlo", 10) == 3
    assert (many.forward(500), many.derivative(), many.curvature("hessian", 9)) == (500, 128, 128)


def test_a_gpu_has_room_for_derivatives_though_a_step_takes_little() -> None:
    """Passes that only look at members deal their examples alike everywhere."""
    footprint = Footprint(
        weights=0, step=ROOM // 100, derivative=ROOM // 20, direction=0, forward=1
    )
    here, there = (AtOnce.on(torch.device(name), footprint, 50) for name in ("cpu", "cuda"))
    assert (here.derivative(), there.derivative(), there.curvature("ggn", 3)) == (8, 17, 17)
    assert here.forward(JUDGEMENT) == there.forward(JUDGEMENT)
    assert AtOnce(footprint, 200).derivative() == AtOnce(footprint, 200, ROOM).derivative() == 33


def test_cells_computed_twice_leave_less_room() -> None:
    """For passes that keep what a step then lets go."""
    graph = packaged("darts_cell").graph
    once, twice = Footprint.of(graph), Footprint.of(graph, recompute=True)
    assert twice.step < 0.75 * once.step
    assert twice.derivative == once.derivative
    assert AtOnce(twice, 32).derivative() < AtOnce(once, 32).derivative()


def test_what_fits() -> None:
    footprint = Footprint(weights=500, step=100, derivative=100, direction=1, forward=10)
    assert footprint.step_bytes(3) == 800
    assert [footprint.fitting(free) for free in (800, 799, 600, 599, 0)] == [3, 2, 1, 0, 0]


def test_a_network_without_searched_edges_has_a_footprint() -> None:
    """A convolution keeps its input for its weights' gradient, the activation its output."""
    graph = compile_text(
        "network net(x: [3, 8, 8]) -> (y: [2]) { "
        "x -> y : conv(3, 4) >> relu >> global_avg_pool >> linear(2) }"
    ).graph
    image, made = 4 * 3 * 64, 4 * 4 * 64
    footprint = Footprint.of(graph)
    assert footprint.step == 4 * image + (image + made + 4 * 4) + 3 * made
    assert footprint.weights == 3 * 4 * (3 * 4 * 9 + 4 * 2 + 2)
    assert footprint.derivative < footprint.step


# ------------------------------------------------------------------------------------ free memory


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 900 kB\nMemAvailable:     600 kB\nCached: 1 kB"}
GROUP = {
    "proc/self/cgroup": "0::/job/step",
    "sys/fs/cgroup/job/memory.max": "400000",
    "sys/fs/cgroup/job/memory.current": "150000",
    "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 50000",
    "sys/fs/cgroup/job/step/memory.max": "max",
    "sys/fs/cgroup/job/step/memory.current": "150000",
}
OLD_GROUP = {
    "proc/self/cgroup": "4:memory:/job\n0::/",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "100000",
    "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "120000",
}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (MEMINFO, 600 * 1024),
        (MEMINFO | GROUP, 300_000),
        (MEMINFO | OLD_GROUP, 0),
        (MEMINFO | {"proc/self/cgroup": "0::/gone"}, 600 * 1024),
    ],
    ids=["nothing known", "whole machine", "version 2", "version 1, beyond", "no such group"],
)
def test_free_memory(files: dict[str, str], free: int | None, tmp_path: Path) -> None:
    assert free_memory(CPU, system(tmp_path, files)) == free


def test_of_other_devices_nothing_is_known(tmp_path: Path) -> None:
    assert free_memory(torch.device("meta"), system(tmp_path, MEMINFO)) is None
