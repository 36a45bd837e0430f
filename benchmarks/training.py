"""Training images a second, in memory and streamed, against a plain loop of torchvision's parts.

    python -m benchmarks.training

Takes about 8 minutes on 2 cores: 10,000 CIFAR-10 images as JPEG files, a residual network of three
blocks (width 16), batches of 128. `--quick` takes 2 minutes (1,000 images). `--device cuda`
measures on a GPU.

Four ways train one network, in turn: `train` with the images in memory, `train --stream`, a plain
loop, and the same in channels-last. A plain loop is `ImageFolder`, `RandomCrop`,
`RandomHorizontalFlip`, `ToTensor`, `Normalize` and `DataLoader` with as many processes, SGD, and
the emitted module, which stands in memory as PyTorch puts it unasked. An epoch is timed, after one
that is not. Ratios are of a round's times; their median over the rounds is reported, so that other
work on the machine falls on all alike. Beside them stands the ratio by the seconds of processors
that all processes used, on which other work hardly tells.

The share of a step that is not the network's own is measured beside: each of some steps of `train`
in memory against forward, loss and backward alone right after it, on one batch; the median is
reported, with the quartiles.

Bars: 1.5 x the plain loop in memory, no slower streamed, less than 10 % not the network's own. Exit
status 1 where one is missed. No bar is set against the loop in channels-last: it does the network's
own work as `train` does, with decoding beside it, so that where the network takes long and a core
is free for each process, the two are alike.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from attrs import evolve, frozen
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.data.folders.decoding import default_workers
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.runs.events import Event
from bayesnas.runtime.runs.record import RunOptions
from benchmarks.common import cifar_folder, finish, seconds

MEMORY, STREAMED = "in memory", "streamed"
PLAIN, LAST = "plain loop", "plain loop, channels-last"
BARS = {MEMORY: 1.5, STREAMED: 1.0}
MOST_BESIDE = 0.10
NETWORK = Path(__file__).parent / "networks" / "resnet32.nas"
STEPS = 20  # of a round, that are timed for the share


@frozen
class Subject:
    """What is trained on which images, and how."""

    compiled: Compiled
    images: Path
    count: int
    settings: TrainSettings
    workers: int
    device: torch.device

    def module(self, form: torch.memory_format) -> nn.Module:
        """The network with fresh weights, in a memory format."""
        graph, origin = self.compiled.graph, self.compiled.loaded.source.name
        return build(graph, origin, 0, layout=form)[0].to(self.device)


@frozen
class Clock:
    """Seconds that have passed, and those of processors that this process and its children used."""

    wall: float
    processors: float

    @classmethod
    def now(cls) -> Clock:
        """At this moment; processors are known on Linux alone."""
        children = sum(_used(child.pid) for child in multiprocessing.active_children())
        return cls(time.perf_counter(), time.process_time() + children)

    def speed(self, before: Clock, images: int) -> Speed:
        """Of so many images since a moment before."""
        return Speed(
            images / (self.wall - before.wall), images / (self.processors - before.processors)
        )


@frozen
class Speed:
    """Images a second, and images a second of a processor, all processes together."""

    wall: float
    processors: float


def _used(pid: int | None) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def ours(subject: Subject, stream: bool) -> Speed:
    """`train`, in its second epoch."""
    read = DataOptions(stream=stream, workers=subject.workers if stream else None)
    moments: list[Clock] = []

    def listen(event: Event) -> None:
        if event.kind == "row":
            moments.append(Clock.now())

    with tempfile.TemporaryDirectory() as folder:
        data, device = f"folder:{subject.images}", str(subject.device)
        options = RunOptions(data, Path(folder, "run"), 0, device, data_options=read)
        train(subject.compiled, subject.settings, evolve(options, listeners=(listen,)))
    first, second = moments
    return second.speed(first, subject.count)


def plain(subject: Subject, form: torch.memory_format) -> Speed:
    """The plain loop, in its second epoch."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
        ]
    )
    module, settings = subject.module(form), subject.settings
    loader = DataLoader(
        ImageFolder(str(subject.images / "train"), transform),
        settings.batch_size,
        shuffle=True,
        num_workers=subject.workers,
        persistent_workers=True,
        pin_memory=subject.device.type == "cuda",
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.05, 0.9, weight_decay=3e-4, nesterov=True)

    def epoch() -> None:
        for images, labels in loader:
            inputs = images.to(subject.device, non_blocking=True, memory_format=form)
            loss = cross_entropy(module(inputs), labels.to(subject.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    epoch()
    before = Clock.now()
    seconds(epoch, subject.device)
    return Clock.now().speed(before, subject.count)


def beside(subject: Subject, rounds: int) -> list[float]:
    """The share of each step in memory that is not the network's forward, loss and backward.

    Each is compared with these alone, done right after it, since other work on the machine tells
    on both: by some percent, so that a share may be negative.
    """
    read = load_data(f"folder:{subject.images}", subject.compiled.graph, DataOptions())
    data: Data = read.to(subject.device)
    graph, settings = subject.compiled.graph, subject.settings
    module, emitted = build(graph, "benchmark", 0, layout=layout(graph, subject.device))
    learner = Learner(module.to(subject.device), emitted, graph, settings)
    generator = torch.Generator().manual_seed(0)
    batches = Batches(data, data.train, settings.batch_size, "shift_flip", generator)
    [(inputs, targets)] = [*batches.series(1)]
    whole = len(batches) - 1  # the last one is smaller
    steps = chain.from_iterable(islice(learner.epoch(batches, 0), whole) for _ in count())

    def own() -> None:
        loss = data.task.loss(predict(learner.module, inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        learner.optimizer.zero_grad(set_to_none=True)

    def share() -> float:
        step = busy(lambda: next(steps), subject.device)
        return 1 - busy(own, subject.device) / step

    return [share() for _ in range(rounds * STEPS + 1)][1:]


def busy(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call: on a CPU those of processors, so that other work counts for nothing."""
    before = time.process_time()
    passed = seconds(call, device)
    return time.process_time() - before if device.type == "cpu" else passed


def measure(subject: Subject, rounds: int) -> dict[str, dict[str, float]]:
    """The speed of each way, and over the plain loop's."""
    ways: dict[str, Callable[[], Speed]] = {
        MEMORY: partial(ours, subject, False),
        STREAMED: partial(ours, subject, True),
        PLAIN: partial(plain, subject, torch.contiguous_format),
        LAST: partial(plain, subject, torch.channels_last),
    }
    speeds: dict[str, list[Speed]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            speeds[name].append(way())
    rows = {}
    for name, found in speeds.items():
        pairs = [*zip(found, speeds[PLAIN], strict=True)]
        rows[name] = {
            "images_a_second": round(median(s.wall for s in found), 1),
            "ratio": round(median(s.wall / p.wall for s, p in pairs), 2),
            "processor_ratio": round(median(s.processors / p.processors for s, p in pairs), 2),
        }
    return rows


def main() -> None:
    """Measure, print, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="1,000 images")
    parser.add_argument("--width", type=int, default=16, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--device", default="cpu", help="default %(default)s")
    parser.add_argument("--workers", type=int, default=default_workers(), help="a core each")
    parser.add_argument("--threads", type=int, help="CPU threads; default PyTorch decides")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    each = 100 if options.quick else 1000
    subject = Subject(
        compile_spec(NETWORK, {"width": options.width}),
        cifar_folder(each, 10),
        10 * each,
        TrainSettings(epochs=2, batch_size=128, augment="shift_flip"),
        options.workers,
        torch.device(options.device),
    )
    found: dict[str, Any] = measure(subject, options.rounds)
    shares = beside(subject, options.rounds)
    share = median(shares)
    for name, row in found.items():
        print(
            f"{name:26}{row['images_a_second']:>10,.0f} images/s {row['ratio']:>6.2f} x, "
            f"by processors' seconds {row['processor_ratio']:.2f} x"
        )
    low, _, high = quantiles(shares, n=4)
    among = f"half of {len(shares)} steps: {low:.1%} to {high:.1%}"
    print(f"not the network's own: {share:.1%} of a step ({among})")
    missed = [
        f"{n}: {found[n]['ratio']} < {bar}" for n, bar in BARS.items() if found[n]["ratio"] < bar
    ]
    missed += [f"{share:.1%} not the network's own"] if share >= MOST_BESIDE else []
    finish(
        "training",
        quick=options.quick,
        width=options.width,
        device=options.device,
        workers=options.workers,
        ways=found,
        beside=round(share, 4),
        beside_quartiles=[round(low, 4), round(high, 4)],
        missed=missed,
    )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
