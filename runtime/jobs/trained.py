"""What a training has left in its folder: the network, ready to be asked, and what it learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.pipeline import Compiled
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate, non_finite
from bayesnas.runtime.runs.folder import Run, RunOptions, pick_device
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import NAMES, like_all, open_record, statistic
from bayesnas.runtime.tasks.interface import Score
from bayesnas.runtime.tasks.registry import example_shape, tasks


class Deployed(nn.Module):
    """A network with the normalisation of its training data before it.

    Inputs are float32 [N, ...], bytes as shares of 255; outputs are those of the network [N, K].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor, dimensions: int) -> None:
        super().__init__()
        around = [1] * (dimensions - 1)
        self.network = network
        self.register_buffer("mean", mean.to(torch.float32).view(-1, *around))
        self.register_buffer("std", std.to(torch.float32).view(-1, *around))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of the network."""
        outputs: Tensor = self.network((x - self.mean) / self.std)
        return outputs


@frozen
class TrainedRun:
    """A run that `train` has finished.

    Args:
        settings: its ``settings.json``.
        compiled: its spec.
        network: in evaluation mode; takes inputs as `Data.normalize` gives them.
        record: what its task said of itself, `Task.record`, and ``mean`` and ``std`` [C].
    """

    settings: Mapping[str, Any]
    compiled: Compiled
    network: nn.Module = field(eq=False, repr=False)
    record: Mapping[str, Any] = field(eq=False, repr=False)

    @classmethod
    @plugins_named()
    def open(
        cls, folder: str | Path, device: str | torch.device = "cpu", scheduled: bool = True
    ) -> TrainedRun:
        """The run in a folder; its network is emitted by its schedule, or plainly.

        Raises:
            DiagnosticError: D415, D416 (no trained run there), and what `Run.open` raises.
        """
        folder = Path(folder)
        run, settings, compiled = Run.open(folder)
        module, _ = build(compiled.graph, compiled.loaded.source.name, 0, scheduled)
        device = pick_device(str(device))
        channels = statistic([example_shape(compiled.graph)[0]])
        model = like_all(module.state_dict(), finite=False)  # what is not finite is named below
        entries = {"model": model, "mean": channels, "std": channels}
        named = {"classes": NAMES}  # of those tasks that have any
        state = run.weights(open_record(entries | named, optional=named), device)
        if (reason := _unfit(state, compiled)) is not None:
            raise DiagnosticError(
                Diagnostic(
                    "D416",
                    f"the weights in `{folder}` do not fit its spec",
                    notes=(reason,),
                    help="leave `spec.nas` and `weights.pt` in the folder as the training wrote "
                    "them, or train anew",
                )
            )
        module.load_state_dict(state.pop("model"))
        return cls(settings, compiled, module.to(device).eval(), state)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return example_shape(self.compiled.graph)

    def deployed(self) -> Deployed:
        """The network with the normalisation before it."""
        mean, std = self.record["mean"], self.record["std"]
        return Deployed(self.network, mean, std, len(self.shape)).eval()


def _unfit(state: Mapping[str, Any], compiled: Compiled) -> str | None:
    """What is wrong with the numbers of a trained network, or with its classes; None if nothing."""
    statistics = {name: state[name] for name in ("mean", "std")}
    if (reason := non_finite({**state["model"], **statistics})) is not None:
        return reason
    if not bool((state["std"] > 0).all()):
        return "`std` has numbers that are not positive"
    if not all(task.fits(state, compiled.graph) for task in tasks()):
        return "they are of another number of classes than the network has outputs"
    return None


def load_network(folder: str | Path, device: str = "cpu") -> nn.Module:
    """The trained network in a run's folder, in evaluation mode.

    It takes inputs normalised as in training (`Data.normalize`, with the run's mean and std).

    Raises:
        DiagnosticError: D415 or D416 if there is no trained run in the folder.
    """
    return TrainedRun.open(folder, device).network


@plugins_named()
def evaluate_run(options: RunOptions) -> tuple[Score, Data]:
    """The score of the trained run in ``options.out`` on the test part, and the data it is of.

    Where ``options.data`` is empty, the run's own data is taken, as it was loaded then.
    """
    device = pick_device(options.device)
    trained = TrainedRun.open(options.out, device)
    settings = trained.settings
    # What the network has learned from were numbers read so, whatever data it is now given.
    data_options = evolve(options.data_options, standardise=settings.get("standardise", "auto"))
    if not options.data:
        data_options = evolve(data_options, resize=settings["resize"], fit=settings["fit"])
    name = options.data or settings["data"]
    data = load_data(name, trained.compiled.graph, data_options).to(device)
    say_note(data.note)
    data.task.check_record(trained.record, data.name)
    data = evolve(data, mean=trained.record["mean"], std=trained.record["std"])  # as it was trained
    return evaluate(trained.network, data, data.test), data
