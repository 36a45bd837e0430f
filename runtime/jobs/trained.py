"""What a training has left in its folder: the network, ready to be asked, and what it learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.census import Census
from bayesnas.runtime.data.dataset import Data, statistics_type
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.network.memory import TEST, AtOnce, Footprint
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate_raw, non_finite
from bayesnas.runtime.runs.folder import Run, RunOptions, pick_device, read_result
from bayesnas.runtime.runs.ownership import WEIGHTS
from bayesnas.runtime.runs.places import moved, own_data
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import like_all
from bayesnas.runtime.runs.schemas import DESCRIBED
from bayesnas.runtime.tasks.interface import Score
from bayesnas.runtime.tasks.registry import example_shape, tasks

MEAN, STD = "input_mean", "input_std"  # the network's buffers, as `emit_torch` names them
_LAYOUTS: Final = {1: "NC", 2: "NCL", 3: "NCHW"}  # by the dimensions of an example
AS_IT_IS: Final = "that of the training data"
_BYTES: Final = "0 to 255 as uint8, 0 to 1 as floating point"


@frozen
class TrainedRun:
    """A run that `train` has finished.

    Args:
        folder: of the run.
        settings: its ``settings.json``.
        compiled: its spec.
        network: in evaluation mode; takes inputs as the data have them, bytes as shares of 255.
        record: its ``result.json``: what `Task.record` said, and ``input`` of `input_record`.
    """

    folder: Path
    settings: Mapping[str, Any]
    compiled: Compiled
    network: nn.Module = field(eq=False, repr=False)
    record: Mapping[str, Any] = field(eq=False, repr=False)

    @classmethod
    def open(
        cls, folder: str | Path, device: str | torch.device = "cpu", scheduled: bool = True
    ) -> TrainedRun:
        """The run in a folder; its network is emitted by its schedule, or plainly.

        Raises:
            DiagnosticError: D415, D416 (no trained run there), and what `Run.open` raises.
        """
        folder = Path(folder)
        run, settings, compiled = Run.open(folder)
        record = read_result(folder, DESCRIBED)
        kind = statistics_name(getattr(torch, record["input"]["dtype"]))
        module, _ = build(compiled.graph, compiled.loaded.source.name, 0, scheduled, kind)
        device = pick_device(str(device))
        # What is not finite is named below.
        state = run.weights(like_all(module.state_dict(), finite=False), device)
        if (reason := _unfit(state, record, compiled)) is not None:
            remedy = "leave the files in the folder as the training wrote them, or train anew"
            message = f"the weights in `{folder}` do not fit its spec"
            raise DiagnosticError(Diagnostic("D416", message, notes=(reason,), help=remedy))
        run.check_hash(WEIGHTS, record["weights_hash"])
        module.load_state_dict(state)
        return cls(folder, settings, compiled, module.to(device).eval(), record)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return example_shape(self.compiled.graph)

    @property
    def at_once(self) -> int:
        """How many examples it is asked at a time: no more memory than a step of its training."""
        given = self.settings.get("settings", {})
        batch_size = given.get("batch_size", TrainSettings().batch_size)
        return AtOnce(Footprint.of(self.compiled.graph), batch_size).forward(TEST)

    def data(self, data: str | Data = "", options: DataOptions | None = None) -> Data:
        """The data given or named, or the run's own where it is empty, read as it was then.

        Raises:
            DiagnosticError: D506 (it is not of the run's task), and what `load_data` raises.
        """
        options = options or DataOptions()
        loaded = load_data(data, self.compiled.graph, options) if data else self._own_data(options)
        loaded.task.check_record(self.record, loaded.name)
        return loaded

    def _own_data(self, options: DataOptions) -> Data:
        called = str(self.settings["data"])
        name, options = own_data(self.settings, self.folder, options)
        try:
            return evolve(load_data(name, self.compiled.graph, options), name=called)
        except DiagnosticError as error:
            raise moved(error, called) from None


def input_record(data: Data) -> dict[str, Any]:
    """What the network of a training takes, for its ``result.json``."""
    inputs = data.train.inputs
    return {
        "shape": list(inputs.shape[1:]),
        "layout": _LAYOUTS[inputs.dim() - 1],
        "dtype": _name(inputs.dtype),
        "scale": _BYTES if inputs.dtype == torch.uint8 else AS_IT_IS,
    }


def statistics_name(inputs: torch.dtype) -> str:
    """The type of the buffers of a network whose inputs are of that type, for `emit_torch`."""
    return _name(statistics_type(inputs))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def deployed_state(module: nn.Module, data: Data) -> dict[str, Tensor]:
    """The weights of a network that standardises its inputs itself, on the CPU.

    Args:
        module: that was trained on standardised inputs.
        data: what it was trained on.
    """
    inputs = data.train.inputs
    kind = statistics_type(inputs.dtype)
    around = [1] * (inputs.dim() - 2)
    statistics = {MEAN: data.mean, STD: data.std}
    state = {name: tensor.to(kind).view(-1, *around) for name, tensor in statistics.items()}
    state |= module.state_dict()
    return {name: tensor.cpu().contiguous() for name, tensor in state.items()}


def _unfit(
    state: Mapping[str, Tensor], record: Mapping[str, Any], compiled: Compiled
) -> str | None:
    """What is wrong with the numbers of a trained network, or with its classes; None if nothing."""
    if (reason := non_finite(state)) is not None:
        return reason
    if not bool((state[STD] > 0).all()):
        return f"`{STD}` has numbers that are not positive"
    if not all(task.fits(record, compiled.graph) for task in tasks()):
        return "they are of another number of classes than the network has outputs"
    return None


def load_network(folder: str | Path, device: str = "cpu") -> nn.Module:
    """The trained network in a run's folder, in evaluation mode.

    It takes inputs as the data have them: pixels as uint8, or as floating point from 0 to 1; other
    numbers as they are.

    Raises:
        DiagnosticError: D415 or D416 if there is no trained run in the folder.
    """
    return TrainedRun.open(folder, device).network


def evaluate_run(options: RunOptions) -> tuple[Score, Data]:
    """The score of the trained run in ``options.out`` on the test part, and the data it is of.

    Where ``options.data`` is empty, the run's own data is taken, as it was loaded then.
    """
    device = pick_device(options.device)
    trained = TrainedRun.open(options.out, device)
    data = trained.data(options.data, options.data_options).to(device)
    for note in (data.note, *Census.of(data, None).judged()):
        say_note(note)
    return evaluate_raw(trained.network, data.task, data.test, trained.at_once), data
