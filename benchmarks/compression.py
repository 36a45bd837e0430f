"""Compress trained networks, by this project and by Torch-Pruning, from the same images.

    pip install torch-pruning==1.6.1
    python -m benchmarks.compression

Networks in benchmarks/networks/: LeNet-5 in Caffe's widths on digits, ResNet-8 on a slice of
CIFAR-10 of 12 x 12 pixels. Each is trained, compressed to a half, a quarter and an eighth of its
multiply-accumulates, and trained on. The trained network, the images, the schedule and the seed are
the same for all; those who judge channels in a training of their own have half of the epochs for
it. All of Torch-Pruning is global pruning, at the least ratio of channels that fits (bisection);
what it makes is counted by its own layers, as ours is. Scores are of the test part, of the last
epoch.

About an hour on one of 2 cores; what was measured stays in build/benchmarks/ and is not measured
again. `--quick` compresses LeNet once with one seed and two methods (20 seconds).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.runtime.data.dataset import Batches, Data, plain_batches
from bayesnas.runtime.jobs.compression.compress import Compression, compress
from bayesnas.runtime.jobs.compression.removal import own_weights
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.folder import RunOptions
from bayesnas.runtime.weights.choice import Share
from benchmarks.common import BUILD, ROOT, append, cifar_slice, finish, logged, percent

try:
    import torch_pruning
except ImportError:
    torch_pruning = None

LOG: Final = BUILD / "compression.jsonl"
OURS: Final = ("magnitude", "taylor", "norm_scale", "bayesnas", "pgnas", "group_lasso")
THEIRS: Final = ("magnitude", "taylor", "batch norm", "group norm")
RATIOS: Final = (2, 4, 8)
EXAMPLES: Final = 1024  # that gradients are taken on
TRIES: Final = 12  # of the bisection


@frozen
class Network:
    """A network, its data, and the epochs of its training and of the training on."""

    name: str
    data: Callable[[], str]
    epochs: int
    more: int


NETWORKS: Final = {
    "lenet": Network("lenet", lambda: "digits", 20, 10),
    "resnet": Network("resnet", lambda: f"npz:{cifar_slice(200, 200, 12)}", 15, 6),
}


# ------------------------------------------------------------------------------------ one of each


@frozen
class Case:
    """A trained network that is compressed to one of ``ratio`` parts of what it costs."""

    network: Network
    seed: int
    ratio: int

    @property
    def base(self) -> Path:
        """The folder of the trained network."""
        return BUILD / "compression" / f"{self.network.name}-{self.seed}"

    def prepare(self) -> None:
        """Train the network, unless it is."""
        if not (self.base / "result.json").exists():
            compiled = compile_spec(ROOT / "benchmarks" / "networks" / f"{self.network.name}.nas")
            settings = TrainSettings(epochs=self.network.epochs)
            train(compiled, settings, RunOptions(self.network.data(), self.base, self.seed, "cpu"))


def ours(case: Case, importance: str) -> dict[str, float]:
    """By `bayesnas compress`."""
    wanted = Compression((Share("flops", 100 / case.ratio),), importance)
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions("", Path(folder) / "run", case.seed, "cpu")
        result = compress(case.base, wanted, {"epochs": case.network.more}, options)
        small = TrainedRun.open(options.out)
        macs = multiply_accumulates(small.network, torch.zeros(1, *small.shape))
    return {
        "removed": result.removed.quality,
        "trained": result.trained.test.quality,
        "macs": macs,
        "parameters": result.after.parameters,
    }


def theirs(case: Case, importance: str) -> dict[str, float]:
    """By Torch-Pruning."""
    run = TrainedRun.open(case.base)
    data = run.own_data()
    module, emitted = build(run.compiled.graph, "net", 0)
    module.load_state_dict(own_weights(run))
    example = torch.zeros(2, *run.shape)
    whole = multiply_accumulates(module, example[:1])
    settings = TrainSettings(epochs=case.network.more)
    if importance == "group norm":
        first = evolve(settings, epochs=settings.epochs // 2)
        settings = evolve(settings, epochs=settings.epochs - first.epochs)
        sparse = pruner(module, importance, example, 0.5)
        learner = Learner(module, emitted, run.compiled.graph, first)
        learner.optimizer.register_step_pre_hook(lambda *_: sparse.regularize(module))
        fit(learner, data, case.seed)
    smaller = pruned(module, importance, example, data, whole // case.ratio)
    removed = evaluate(smaller, data, data.test, 512).quality
    fit(Learner(smaller, emitted, run.compiled.graph, settings), data, case.seed)
    return {
        "removed": removed,
        "trained": evaluate(smaller, data, data.test, 512).quality,
        "macs": multiply_accumulates(smaller, example[:1]),
        "parameters": sum(weight.numel() for weight in smaller.parameters()),
    }


# --------------------------------------------------------------------------------- Torch-Pruning


def pruner(module: nn.Module, importance: str, example: Tensor, ratio: float) -> Any:
    """A pruner of Torch-Pruning, global, with its defaults otherwise."""
    score = {
        "magnitude": torch_pruning.importance.GroupMagnitudeImportance,
        "group norm": torch_pruning.importance.GroupMagnitudeImportance,
        "taylor": torch_pruning.importance.GroupTaylorImportance,
        "batch norm": torch_pruning.importance.BNScaleImportance,
        "random": torch_pruning.importance.RandomImportance,
    }[importance]()
    kind = "GroupNormPruner" if importance == "group norm" else "BasePruner"
    [*_, last] = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return getattr(torch_pruning.pruner, kind)(
        module,
        example,
        importance=score,
        global_pruning=True,
        pruning_ratio=ratio,
        ignored_layers=[last],
    )


def pruned(module: nn.Module, importance: str, example: Tensor, data: Data, most: int) -> nn.Module:
    """The network with the largest share of channels that costs at most so much."""
    gradients = gradients_of(module, data)
    low, high, best = 0.0, 1.0, None
    for _ in range(TRIES):
        middle, copy = (low + high) / 2, deepcopy(module)
        for weight, gradient in zip(copy.parameters(), gradients, strict=True):
            weight.grad = gradient.clone()
        torch.manual_seed(0)  # of random importance
        pruner(copy, importance, example, middle).step()
        if multiply_accumulates(copy, example[:1]) <= most:
            high, best = middle, copy
        else:
            low = middle
    assert best is not None, "no ratio of channels is small enough"
    best.zero_grad()
    return best


def gradients_of(module: nn.Module, data: Data) -> list[Tensor]:
    """Of the loss on some examples, summed over batches."""
    part = data.train.sample(EXAMPLES, torch.Generator().manual_seed(0))
    module.eval().zero_grad()
    for inputs, targets in plain_batches(data, part, 64):
        data.task.loss(module(inputs), targets).backward()  # type: ignore[no-untyped-call]
    return [
        w.grad.clone() if w.grad is not None else torch.zeros_like(w) for w in module.parameters()
    ]


def fit(learner: Learner, data: Data, seed: int) -> None:
    """Train as `bayesnas train` does."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    settings = learner.settings
    batches = Batches(data, data.train, settings.batch_size, "auto", generator)
    for epoch in range(settings.epochs):
        for _ in learner.epoch(batches, epoch):
            pass


@torch.no_grad()
def multiply_accumulates(module: nn.Module, example: Tensor) -> int:
    """Of convolutions and linear layers, for one example, as the layers are."""
    total = 0

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        total += outputs[0].numel() * layer.weight[0].numel()

    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    training = module.training
    module.eval()(example)
    module.train(training)
    for handle in handles:
        handle.remove()
    return total


# ------------------------------------------------------------------------------------- all of them

METHODS: Final[Mapping[str, Callable[[Case, str], dict[str, float]]]] = {
    "bayesnas": ours,
    "torch-pruning": theirs,
}


def measured(case: Case, tool: str, importance: str) -> dict[str, Any]:
    """One compression, from the log where it is there."""
    key = {
        "network": case.network.name,
        "seed": case.seed,
        "ratio": case.ratio,
        "tool": tool,
        "importance": importance,
    }
    for row in logged(LOG):
        if {name: row[name] for name in key} == key:
            return row
    start = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()):
        case.prepare()
        row = key | METHODS[tool](case, importance)
    row["seconds"] = round(time.perf_counter() - start, 1)
    append(LOG, row)
    return row


def work(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every compression that is asked for."""
    for seed in options.seeds:
        for name in options.networks:
            for ratio in options.ratios:
                case = Case(NETWORKS[name], seed, ratio)
                for tool, names in (("bayesnas", options.ours), ("torch-pruning", options.theirs)):
                    for importance in names:
                        if name == "lenet" and importance in ("norm_scale", "batch norm"):
                            continue  # it has no normalisation
                        yield measured(case, tool, importance)


def main() -> None:
    """Measure, and print a table a network."""

    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    def numbers(text: str) -> list[int]:
        return [*map(int, words(text))]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="LeNet, one seed, two methods")
    parser.add_argument("--networks", type=words, default=[*NETWORKS])
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--ratios", type=numbers, default=[*RATIOS])
    parser.add_argument("--ours", type=words, default=[*OURS])
    parser.add_argument("--theirs", type=words, default=[*THEIRS])
    options = parser.parse_args()
    if options.quick:
        options.networks, options.seeds, options.ratios = ["lenet"], [0], [4]
        options.ours, options.theirs = ["magnitude"], ["magnitude"]
    if torch_pruning is None and options.theirs:
        print("Torch-Pruning is not installed: this project alone is measured")
        options.theirs = []
    torch.set_num_threads(1)
    scores: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for row in work(options):
        scores[row["network"], f"{row['tool']} {row['importance']}", row["ratio"]].append(
            row["trained"]
        )
    for name in options.networks:
        print(f"\n| {name} | {' | '.join(f'1/{ratio}' for ratio in options.ratios)} |")
        print(f"|---|{'---|' * len(options.ratios)}")
        for method in dict.fromkeys(m for n, m, _ in scores if n == name):
            cells = [percent(scores[name, method, ratio]) for ratio in options.ratios]
            print(f"| {method} | {' | '.join(cells)} |")
    finish(
        "compression",
        quick=options.quick,
        scores=[[*key, fmean(values), len(values)] for key, values in scores.items()],
    )


if __name__ == "__main__":
    main()
