"""What a training has left in its folder: the network, ready to be asked, and what it learned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.runtime.data.census import Census
from bayesnas.runtime.data.conventions.lookups import check_lookups
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions, Ports, check_use
from bayesnas.runtime.data.splits import reserve_test
from bayesnas.runtime.data.tables.pictures import named
from bayesnas.runtime.jobs.deployed import (
    BYTES,
    MEAN,
    STD,
    buffer_names,
    recorded_inputs,
    statistics_name,
)
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.kernels import layout, layout_note
from bayesnas.runtime.network.memory import TEST, AtOnce, Footprint
from bayesnas.runtime.network.modules import build, unbundling
from bayesnas.runtime.network.training import non_finite, report_raw
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import FOUND, RESULT, WEIGHTS
from bayesnas.runtime.runs.places import is_own, moved, own_data
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import like_all, read_result
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.runs.schemas import DESCRIBED, SHARED
from bayesnas.runtime.runs.seals import check_file
from bayesnas.runtime.tasks.bundle import Inputs, bundled, by_port
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import wrong
from bayesnas.runtime.tasks.registry import task_class
from bayesnas.runtime.tasks.scores import Report

_BYTE: Final = 255


@frozen
class TrainedRun:
    """A run that `train` has finished, or a search that kept the weights of what it found.

    Args:
        folder: of the run.
        settings: its ``settings.json``.
        compiled: the spec of its network.
        network: in evaluation mode; takes inputs as the data have them, bytes as shares of 255.
        record: its ``result.json``, of a search what stands under ``shared``: what `Task.record`
            and `input_record` said.
        task: what it has learned.
    """

    folder: Path
    settings: Mapping[str, Any]
    compiled: Compiled
    network: nn.Module = field(eq=False, repr=False)
    record: Mapping[str, Any] = field(eq=False, repr=False)
    task: Task

    @classmethod
    @plugins_named()
    def open(
        cls, folder: str | Path, device: str | torch.device = "cpu", scheduled: bool = True
    ) -> TrainedRun:
        """The run in a folder; its network is emitted by its schedule, or plainly.

        Raises:
            DiagnosticError: D415, D416 (no weights there), and what `Run.open` raises.
        """
        folder = Path(folder)
        run, settings, compiled = Run.open(folder)
        record: Mapping[str, Any]
        if settings["command"] == "train":
            record = read_result(folder, DESCRIBED)
        else:
            record, compiled = _shared(run)
        kind = statistics_name(
            getattr(torch, one["dtype"]) for one in recorded_inputs(record).values()
        )
        device = pick_device(str(device))
        graph, origin = compiled.graph, compiled.loaded.source.name
        carrying = settings.get("settings", {}).get("carry_state") == "yes"
        module, _ = build(graph, origin, 0, scheduled, kind, layout(graph, device), carrying)
        # What is not finite is named below.
        state = run.weights(like_all(module.state_dict(), finite=False), device)
        if (reason := _unfit(state, record, compiled)) is not None:
            remedy = "leave the files in the folder as the training wrote them, or train anew"
            message = f"the weights in `{folder}` do not fit its spec"
            raise DiagnosticError(Diagnostic("D416", message, notes=(reason,), help=remedy))
        check_file(folder / WEIGHTS, record["weights_hash"], RESULT)
        module.load_state_dict(state)
        task = task_class(record["metric"]).of_record(record)
        return cls(folder, settings, compiled, module.to(device).eval(), record, task)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example of the one input."""
        [shape] = Ports.of(self.compiled.graph).inputs.values()
        return shape

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        """What is recorded of each input; that of a network of one has no name."""
        return recorded_inputs(self.record)

    @property
    def training(self) -> Mapping[str, int | float | str]:
        """Settings of its training; of a search, those of the spec for the training to come."""
        if self.settings["command"] == "search":
            return self.compiled.settings("train")
        settings: Mapping[str, int | float | str] = self.settings.get("settings", {})
        return settings

    @property
    def batch_size(self) -> int:
        """Examples a step of its training."""
        given: int = self.settings.get("settings", {}).get("batch_size", TrainSettings().batch_size)
        return given

    @cached_property
    def at_once(self) -> int:
        """How many examples it is asked at a time: no more memory than a step of its training."""
        return AtOnce(Footprint.of(self.compiled.graph), self.batch_size).forward(TEST)

    def takes_pixels(self, port: str = "") -> bool:
        """Whether an input is bytes, or shares of their full scale; else numbers of any scale."""
        kind = str(self.settings["data"]).partition(":")[0]
        about = self.inputs[port]
        return (
            about["dtype"] == "uint8" or kind == "folder" or bool(named(about.get("columns", ())))
        )

    def own_reading(self, options: DataOptions) -> tuple[str, DataOptions]:
        """What names the run's own data from here, and how it was read."""
        name, options = own_data(self.settings, self.folder, options)
        return name, evolve(options, standardise=self.settings.get("standardise", "auto"))

    def own_data(self, options: DataOptions | None = None) -> Data:
        """The run's own data, read as it was then; a note says where its test part is another.

        Raises:
            DiagnosticError: D423 (an option does nothing: images are fitted as they were), D506 (it
                is not of the run's task any more), and what `load_data` raises.
        """
        called, options = str(self.settings["data"]), options or DataOptions()
        where = "without `--data`: the run's own data is read as in its training"
        check_idle(options.fitted, where, "leave it out, or name other data with `--data`")
        check_use(called, options)
        name, options = self.own_reading(options)
        try:
            loaded = load_data(name, self.compiled.graph, options)
        except DiagnosticError as error:
            raise moved(error, called) from None
        loaded.task.check_record(self.record, loaded.name)
        examples = loaded.test.fingerprint()
        if self.settings.get("test_hash", examples) != examples:
            loaded = loaded.noted("the test part is not the one that the training was judged on")
        return evolve(loaded, name=called, task=self.task)

    def judged_data(self, data: str | Data, options: DataOptions | None = None) -> Data:
        """The data given or named, to be judged on its test part; its own where none is given.

        Without a test part that is all examples, but for those that the run was trained on. Images
        are read as those of the training were, unless the options say how.

        Raises:
            DiagnosticError: D506 (other classes), D513 (pixels of no scale), and what `load_data`
                raises.
        """
        if not data:
            return self.own_data(options)
        reading = self.reading(options or DataOptions())
        loaded = load_data(data, self.compiled.graph, reading, self.task)
        loaded.task.check_record(self.record, loaded.name)

        def fitted(inputs: Inputs) -> Inputs:
            given = by_port(inputs)
            return bundled({p: self.fitted(x, f"`{loaded.name}`", p) for p, x in given.items()})

        loaded = evolve(loaded, task=self.task, test=loaded.test.changed(fitted))
        if not loaded.undivided:
            return loaded
        return self._without_trained(loaded, isinstance(data, str) and is_own(self.settings, data))

    def reading(self, options: DataOptions) -> DataOptions:
        """How new images are read: as in the training, unless the options say more."""
        resized = self.settings["resize"]
        fit = options.fit or (self.settings["fit"] if resized else None)
        target = options.target or tuple(self.settings.get("target", ()))
        columns = {p: one["columns"] for p, one in self.inputs.items() if "columns" in one}
        resize = options.resize or resized
        return evolve(options, resize=resize, fit=fit, target=target, columns=columns)

    def _without_trained(self, data: Data, own: bool) -> Data:
        """Data of one part; where that is what the run was trained on and tested, the latter.

        That is known by the examples, or, if they are read otherwise, by where they lie (``own``)
        and their number.
        """
        whole = data.test
        try:
            fit, held = map(
                torch.from_numpy, reserve_test(data.task.strata(whole.targets), data.name)
            )
        except DiagnosticError:  # too few examples to be split
            return data
        trained = self.settings.get("examples", {}).get("train")
        same = own and len(fit) == trained
        if not same and whole.subset(fit).fingerprint() != self.settings.get("data_hash"):
            return data
        note = (
            f"the run was trained on `{data.name}`: its test part alone is judged, {len(held):,} "
            f"of {len(whole):,} examples"
        )
        return evolve(data, test=whole.subset(held)).noted(note)

    def fitted(self, inputs: Tensor, place: str, port: str = "") -> Tensor:
        """Inputs of new data as the network takes them; ``place`` names them in diagnostics.

        ``port`` is theirs, where there are several.

        Raises:
            DiagnosticError: D513 (numbers that are neither bytes nor shares).
        """
        if not self.takes_pixels(port):
            graph = self.compiled.graph
            nodes = {graph.node(node).name: node for node in graph.root.inputs}
            check_lookups(graph, nodes.get(port, graph.root.inputs[0]), [inputs], place)
            return inputs.to(getattr(torch, self.inputs[port]["dtype"]))
        if inputs.dtype == torch.uint8:
            return inputs
        least, most = float(inputs.min()), float(inputs.max())
        if least >= 0 and most <= 1:
            return inputs
        if least >= 0 and most <= _BYTE and bool((inputs == inputs.floor()).all()):
            return inputs.to(torch.uint8)
        what = f"has numbers from {least:.4g} to {most:.4g}, the network takes pixels"
        raise wrong(place, "D513", what, f"save pixels {BYTES}")


def own_weights(run: TrainedRun) -> dict[str, Tensor]:
    """What a run's network has learned, without what it standardises its inputs by."""
    state = run.network.state_dict()
    return {name: t for name, t in state.items() if not name.startswith((MEAN, STD))}


def input_ports(graph: Graph) -> list[str]:
    """The keys of `TrainedRun.inputs` of a network."""
    names = [*Ports.of(graph).inputs]
    return names if len(names) > 1 else [""]


def _unfit(
    state: Mapping[str, Tensor], record: Mapping[str, Any], compiled: Compiled
) -> str | None:
    """What is wrong with the numbers of a trained network, or with its classes; None if nothing."""
    if (reason := non_finite(state)) is not None:
        return reason
    if [*recorded_inputs(record)] != input_ports(compiled.graph):
        return "they are of a network of other inputs"
    for port in recorded_inputs(record):
        _, std = buffer_names(port)
        if not bool((state[std] > 0).all()):
            return f"`{std}` has numbers that are not positive"
    if not task_class(record["metric"]).fits(record, compiled.graph):
        return "they are of another number of classes than the network has outputs"
    return None


def _shared(run: Run) -> tuple[Mapping[str, Any], Compiled]:
    """What a search says of the weights that it kept, and the network that they are of.

    Raises:
        DiagnosticError: D415 (it kept none), D416 (what it found is not as it wrote it).
    """
    folder, found = run.out, run.out / FOUND
    result = read_result(folder, SHARED)
    if "shared" not in result:
        raise DiagnosticError(
            Diagnostic(
                "D415",
                f"the search in `{folder}` kept no weights of what it found",
                help=f"train that, `{found}`, with `bayesnas train`, and name the folder of that "
                "run; searches with `--compress` or `result = shared` keep theirs",
            )
        )
    check_file(found, result["found_hash"], RESULT)
    return result["shared"], compile_spec(found)


def load_network(folder: str | Path, device: str = "cpu") -> nn.Module:
    """The trained network in a run's folder, in evaluation mode.

    It takes inputs as the data have them: pixels as uint8, or as floating point from 0 to 1; other
    numbers as they are. Of several inputs it takes one tensor each, or those of a data set
    together.

    Raises:
        DiagnosticError: D415 or D416 if there is no trained run in the folder.
    """
    trained = TrainedRun.open(folder, device)
    return unbundling(trained.network, trained.compiled.graph)


@plugins_named()
def evaluate_run(options: RunOptions) -> tuple[Report, Data]:
    """How good the trained run in ``options.out`` is on the test part of ``options.data``.

    See `TrainedRun.judged_data`, which the data is that comes with the report.
    """
    device = pick_device(options.device)
    trained = TrainedRun.open(options.out, device)
    data = trained.judged_data(options.data, options.data_options).to(device)
    remarks = (*Census.of(data, None).judged(), layout_note(trained.compiled.graph, device))
    for note in (data.note, *remarks):
        say_note(note)
    with plugins_named(data):
        return report_raw(trained.network, data.task, data.test, trained.at_once), data
