"""Work that one process does alone, and several processes of `torchrun` together.

All is done in 64 bits: steps of 32 bits that differ in their last digit soon differ in others.
`torchrun --nproc-per-node 2 tests/together.py FOLDER` does what one process does by itself, and
`tests/runtime/jobs/test_together.py` compares them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from living import images
from torch import nn

from bayesnas import cli
from bayesnas.compiler.emit.pytorch import Emitted
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.network import modules
from bayesnas.runtime.network.together.launch import launch
from bayesnas.runtime.runs.record import RunOptions

Job = Callable[[Path, bool], object]

# By the name of the run. A batch has 16 examples, the last one 13; of three a part has one.
TRAININGS: Final[Mapping[str, Mapping[str, float | str]]] = {
    "train": {"average": 0.5, "drop_path": 0.3, "mixup": 0.4, "accumulate": 2, "holdout": 0.2},
    "resumed": {},
    "stopped": {},
    "streamed": {"crop": 0.5},
}
SEARCHES: Final[Mapping[str, Mapping[str, float | str]]] = {
    "posterior": {},
    "bayesnas": {"curvature": "fisher_monte_carlo"},
    "darts": {"recompute": "yes"},
    "pgnas": {},
}
STREAMED: Final = ("streamed", "posterior", "pgnas")  # of image files
IMAGES: Final = "images"  # their folder
UNWRITTEN: Final = "of process 1"  # where it would write a training, if it wrote
STOP: Final = 5  # the step after which `stopped` is


def training(space: Compiled, name: str, device: str = "cpu") -> Job:
    settings = make_settings(TrainSettings, {**space.settings("train"), **TRAININGS[name]})
    where = streamed if name in STREAMED else options
    return lambda out, resume: train(space, settings, where(out, resume, device))


def searching(space: Compiled, strategy: str, device: str = "cpu") -> Job:
    given = {"strategy": strategy, "rounds": 2, "draws": 2, "batch_size": 16, "epochs": 0.5}
    values = {**space.settings("search"), **given, **SEARCHES[strategy]}
    settings = make_settings(SearchSettings, values)
    where = streamed if strategy in STREAMED else options
    return lambda out, resume: search(space, settings, where(out, resume, device))


def options(out: Path, resume: bool, device: str) -> RunOptions:
    return RunOptions(images(61), out, seed=3, device=device, resume=resume)


def streamed(out: Path, resume: bool, device: str) -> RunOptions:
    """Of image files in a folder beside the run's, that a process decodes."""
    data, read = f"folder:{out.parent / IMAGES}", DataOptions(stream=True, workers=1)
    return RunOptions(data, out, seed=3, device=device, resume=resume, data_options=read)


@contextmanager
def exactly() -> Iterator[None]:
    """Networks and their inputs of 64 bits."""

    def loaded(emitted: Emitted) -> nn.Module:
        module = load(emitted)
        module.register_forward_pre_hook(lambda _, given: tuple(z.double() for z in given))
        return module

    load, before = modules.load_source, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(modules, "load_source", loaded):
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def stopping(step: int, which: int) -> Iterator[None]:
    """A process gets a signal in a step of what is trained in here, counted from 0."""
    own, count = torch.optim.SGD.step, iter(range(10**6))

    def stepped(self: torch.optim.SGD, *arguments: Any) -> None:
        own(self, *arguments)
        if next(count) == step and launch().rank == which:
            os.kill(os.getpid(), signal.SIGINT)

    with mock.patch.object(torch.optim.SGD, "step", stepped):
        yield


def interrupted(job: Job, out: Path, which: int) -> None:
    """A run that is stopped by a signal to one process."""
    try:
        with stopping(STOP, which):
            job(out, False)
    except KeyboardInterrupt:
        return
    raise AssertionError("nothing has stopped it")


def together(folder: Path) -> None:
    """All of it, by several processes."""
    space = compile_spec(folder / "tiny.nas")
    with exactly():
        for name in SEARCHES:
            searching(space, name)(folder / name, False)
        place = "train" if launch().rank == 0 else UNWRITTEN
        training(space, "train")(folder / place, False)
        training(space, "resumed")(folder / "resumed", True)  # one process has begun it
        training(space, "streamed")(folder / "streamed", False)
        interrupted(training(space, "stopped"), folder / "stopped", which=1)
        training(space, "stopped")(folder / "stopped", True)
    data = images()
    arrays = {"x": data.train.inputs.numpy(), "y": data.train.targets.numpy()}
    np.savez(file := folder / f"{launch().rank}.npz", **arrays)
    words = ["train", str(folder / "tiny.nas"), "--data", f"npz:{file}", "--device", "cpu"]
    status = cli.main([*words, "-o", str(folder / "other"), "--seed", str(launch().rank)])
    print(f"process {launch().rank}: status {status}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    together(Path(sys.argv[1]))
