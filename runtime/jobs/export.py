"""Trained networks for other programs: ONNX and PyTorch's own exported programs, checked.

What is exported takes floating point: pixels from 0 to 1, other numbers as the data have them; the
normalisation of the training data is part of it. Numbers that are predicted come in their own
units. The number of examples is open.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from attrs import frozen
from torch import Tensor, nn

from bayesnas.dsl import __version__
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_packages
from bayesnas.dsl.files import write_bytes
from bayesnas.runtime.data.conventions.lookups import rows_of
from bayesnas.runtime.data.examples import numbers, statistics_type
from bayesnas.runtime.data.registry import Ports
from bayesnas.runtime.jobs.deployed import AS_IT_IS, buffer_names, statistics_name
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.network.kernels import largest
from bayesnas.runtime.network.modules import outputs_of
from bayesnas.runtime.tasks.bundle import Inputs, bundled, mapped, tensors
from bayesnas.runtime.tasks.interface import Units
from bayesnas.runtime.tasks.several import parts_of

TOLERANCE: Final = 1e-3  # of the largest output, by which an exported network may differ
_FAR: Final = 1e3  # times its deviation, from which a mean takes more digits
_CHECKED: Final = 5  # examples, one by one and at once
_ONNX: Final = ("onnx", "onnxscript", "onnxruntime")


@frozen
class Exported:
    """A file that was written, and how far it is from the network.

    Args:
        out: the file.
        difference: of the largest output.
        examples: what both were asked about, in words.
    """

    out: Path
    difference: float
    examples: str


@plugins_named()
def export(folder: Path, out: Path) -> Exported:
    """Write the trained network of a run as ``.onnx`` or ``.pt2`` and run the file for a check.

    Raises:
        DiagnosticError: D418 (another ending), D436 (packages for ONNX are missing), D437 (the
            file computes something else; it is not written), D415 or D416 (no trained run).
    """
    if out.suffix not in WRITERS:
        remedy = f"end the name in {' or '.join(WRITERS)}"
        raise DiagnosticError(Diagnostic("D418", f"cannot export to `{out}`", help=remedy))
    if out.suffix == ".onnx":
        check_onnx()
    trained = TrainedRun.open(folder, scheduled=False)  # other programs need no schedule
    inputs, examples = _examples(trained)
    with _quietly():
        # Not of one example: a dimension of 1 is taken for a constant.
        subject = Subject.of(trained, mapped(shares, inputs)[:2])
        data, run = WRITERS[out.suffix](subject)
        batches = [inputs, *(inputs[k : k + 1] for k in range(len(inputs)))]
        difference = largest(_difference(subject.module, run, batch) for batch in batches)
    check_difference(difference)
    write_bytes(out, data)
    return Exported(out, difference, examples)


class _InUnits(nn.Module):
    """A network whose standardised answers are put back into the units of their targets.

    ``units`` are of its outputs, mean and deviation of their channels [C]; None: as they are.
    Those whose mean is large beside their deviation are float64, or digits would be lost.
    """

    def __init__(self, network: nn.Module, units: Sequence[Units | None]) -> None:
        super().__init__()
        self.network = network
        self.scaled = [k for k, one in enumerate(units) if one is not None]
        for k, (mean, deviation) in ((k, one) for k, one in enumerate(units) if one is not None):
            far = max(abs(m) / d for m, d in zip(mean, deviation, strict=True))
            kind = torch.float64 if far > _FAR else torch.float32
            self.register_buffer(f"mean_{k}", torch.tensor(mean, dtype=kind))
            self.register_buffer(f"deviation_{k}", torch.tensor(deviation, dtype=kind))

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = [*outputs_of(self.network(*inputs))]
        for k in self.scaled:
            around = (-1, *[1] * (outputs[k].dim() - 2))
            mean, deviation = self.get_buffer(f"mean_{k}"), self.get_buffer(f"deviation_{k}")
            scaled = deviation.view(around) * outputs[k].to(mean.dtype)
            outputs[k] = mean.view(around) + scaled
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def metadata(trained: TrainedRun) -> dict[str, str]:
    """What an exported file says of itself; what is no text is JSON.

    ``input`` is of the file: its type, and the scale of its numbers; ``inputs`` are several, by
    port, and ``outputs`` what each of several outputs has learned.
    """
    task = trained.record
    names = ("classes", "labels", "targets", "tokens", "outputs")
    told = {name: json.dumps(task[name]) for name in names if name in task}
    inputs = {port: _of_file(about) for port, about in trained.inputs.items()}
    about = {"input": inputs[""]} if "" in inputs else {"inputs": inputs}
    return {
        **told,
        **{name: json.dumps(value) for name, value in about.items()},
        "normalisation": "part of the network",
        "bayesnas": __version__,
    }


def _of_file(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of an input, for a file that takes floating point."""
    kind = getattr(torch, about["dtype"])
    scale = "0 to 1" if kind == torch.uint8 else AS_IT_IS
    return {**about, "dtype": statistics_name([kind]), "scale": scale}


@frozen
class Subject:
    """What is exported, with some inputs as the file takes them, and the names of its ports."""

    module: nn.Module
    examples: Inputs
    about: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, trained: TrainedRun, examples: Inputs) -> Subject:
        """The network of a run."""
        ports = Ports.of(trained.compiled.graph)
        about, network = metadata(trained), trained.network
        units = [task.units for task in parts_of(trained.task)]
        if any(units):
            network = _InUnits(network, units).eval()
        return cls(network, examples, about, tuple(ports.inputs), tuple(ports.outputs))


def shares(inputs: Tensor) -> Tensor:
    """Raw inputs as exported networks take them: bytes as shares of 255."""
    return numbers(inputs).to(statistics_type(inputs.dtype))


def _examples(trained: TrainedRun) -> tuple[Inputs, str]:
    """Raw inputs to check a file on, and what they are: of the run's test part, if it is here."""
    try:
        test = trained.own_data().test
    except DiagnosticError:
        return _like_data(trained), "random inputs, as the data of the run cannot be read here"
    chosen = torch.linspace(0, len(test) - 1, _CHECKED).long()  # of many classes
    return test.subset(chosen).inputs, f"{min(_CHECKED, len(test))} examples of the test part"


def _like_data(trained: TrainedRun) -> Inputs:
    """Random bytes, or numbers with the mean and deviation of the training data."""
    return bundled({port: _random(trained, port) for port in trained.inputs})


def _random(trained: TrainedRun, port: str) -> Tensor:
    about = trained.inputs[port]
    shape = (_CHECKED, *about["shape"])
    if about["dtype"] == "uint8":
        return torch.randint(0, 256, shape, dtype=torch.uint8)
    graph = trained.compiled.graph
    node = next(i for i in graph.root.inputs if port in ("", graph.node(i).name))
    if (rows := rows_of(graph, node)) is not None:
        return torch.randint(0, rows, shape).to(getattr(torch, about["dtype"]))
    mean, std = (trained.network.get_buffer(name) for name in buffer_names(port))
    return mean + std * torch.randn(shape, dtype=std.dtype)


def check_difference(difference: float) -> None:
    """Refuse a file that computes something else.

    Raises:
        DiagnosticError: D437 (status 1).
    """
    if not difference < TOLERANCE:
        raise DiagnosticError(
            Diagnostic(
                "D437",
                f"what was exported differs from the network by {difference:.1%}",
                notes=("of its largest output; nothing was written",),
                help="export to the other format, and report this with the run's `spec.nas`",
            ),
            status=1,
        )


def check_onnx() -> None:
    """Refuse where a package that ONNX needs is missing.

    Raises:
        DiagnosticError: D436.
    """
    remedy = "pip install 'bayesnas[onnx]', or export to a name that ends in .pt2"
    check_packages(_ONNX, "ONNX needs", remedy)


Run: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...]]  # of a tensor an input


def _difference(module: nn.Module, run: Run, inputs: Inputs) -> float:
    """The largest difference of network and file on raw inputs, over the largest output."""
    with torch.no_grad():
        expected = outputs_of(module(*tensors(inputs)))
    found = outputs_of(run(*map(shares, tensors(inputs))))
    return largest(
        float((y - right).abs().max() / right.abs().max().clamp_min(1e-12))
        for y, right in zip(found, expected, strict=True)
    )


Written: TypeAlias = tuple[bytes, Run]  # a file, and what it computes


def _program(subject: Subject) -> torch.export.ExportedProgram:
    examples = tensors(subject.examples)
    count = torch.export.Dim("examples", min=1)
    shapes: tuple[Any, ...] = tuple({0: count} for _ in examples)
    if isinstance(subject.module, _InUnits):  # whose inputs are one argument of several
        shapes = (shapes,)
    return torch.export.export(subject.module, examples, dynamic_shapes=shapes)


def _pt2(subject: Subject) -> Written:
    whole = io.BytesIO()
    torch.export.save(_program(subject), whole, extra_files=dict(subject.about))
    whole.seek(0)
    loaded: Run = torch.export.load(whole).module()
    return whole.getvalue(), loaded


def _free_names(graph: Any) -> None:
    """Rename values inside a graph of ONNX's that have the name of a port, as the exporter may."""
    ports = {*graph.inputs, *graph.outputs}
    names = {value.name for value in ports}
    values = [value for node in graph.all_nodes() for value in node.outputs]
    for value in values:
        if value not in ports and value.name in names:
            value.name = f"{value.name}.inside"  # no port has a period in its name


def _onnx(subject: Subject) -> Written:
    import onnxruntime

    program = torch.onnx.export(
        _program(subject),
        input_names=[*subject.inputs],
        output_names=[*subject.outputs],
        verbose=False,
    )
    assert program is not None
    _free_names(program.model.graph)
    program.model.metadata_props.update(subject.about)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "network.onnx"
        program.save(file, external_data=False)
        data = file.read_bytes()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        given = {name: x.numpy() for name, x in zip(subject.inputs, inputs, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, given)))

    return data, run


WRITERS: Final[Mapping[str, Callable[[Subject], Written]]] = {
    ".onnx": _onnx,
    ".pt2": _pt2,
}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Exporters tell of their own affairs at length."""
    before: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
