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
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor, nn

from bayesnas.dsl import __version__
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import write_bytes
from bayesnas.runtime.data.dataset import numbers, statistics_type
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.trained import AS_IT_IS, MEAN, STD, TrainedRun, statistics_name

TOLERANCE: Final = 1e-3  # of the largest logit, by which an exported network may differ
_CHECKED: Final = 5  # examples, one by one and at once
_ONNX: Final = ("onnx", "onnxscript", "onnxruntime")


@frozen
class Exported:
    """A file that was written, and how far it is from the network.

    Args:
        out: the file.
        difference: of the largest logit.
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
        check_packages()
    trained = TrainedRun.open(folder, scheduled=False)  # other programs need no schedule
    units = trained.task.units
    network = trained.network if units is None else _InUnits(trained.network, *units).eval()
    inputs, examples = _examples(trained)
    with _quietly():
        # Not of one example: a dimension of 1 is taken for a constant.
        data, run = WRITERS[out.suffix](network, shares(inputs)[:2], metadata(trained))
        batches = [inputs, *torch.split(inputs, 1)]
        difference = max(_difference(network, run, batch) for batch in batches)
    check_difference(difference)
    write_bytes(out, data)
    return Exported(out, difference, examples)


class _InUnits(nn.Module):
    """A network whose standardised answers are put back into units of mean and deviation [K]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], deviation: Sequence[float]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x)
        return self.mean + self.deviation * outputs


def metadata(trained: TrainedRun) -> dict[str, str]:
    """What an exported file says of itself; what is no text is JSON.

    ``input`` is of the file: its type, and the scale of its numbers.
    """
    about, task = dict(trained.record["input"]), trained.record
    kind = getattr(torch, about["dtype"])
    scale = "0 to 1" if kind == torch.uint8 else AS_IT_IS
    about |= {"dtype": statistics_name(kind), "scale": scale}
    names = ("classes", "labels", "targets", "tokens")
    return {
        **{name: json.dumps(task[name]) for name in names if name in task},
        "input": json.dumps(about),
        "normalisation": "part of the network",
        "bayesnas": __version__,
    }


def shares(inputs: Tensor) -> Tensor:
    """Raw inputs as exported networks take them: bytes as shares of 255."""
    return numbers(inputs).to(statistics_type(inputs.dtype))


def _examples(trained: TrainedRun) -> tuple[Tensor, str]:
    """Raw inputs to check a file on, and what they are: of the run's test part, if it is here."""
    try:
        test = trained.own_data().test
    except DiagnosticError:
        return _like_data(trained), "random inputs, as the data of the run cannot be read here"
    chosen = torch.linspace(0, len(test) - 1, _CHECKED).long()  # of many classes
    return test.inputs[chosen], f"{min(_CHECKED, len(test))} examples of the test part"


def _like_data(trained: TrainedRun) -> Tensor:
    """Random bytes, or numbers with the mean and deviation of the training data."""
    shape = (_CHECKED, *trained.shape)
    if trained.record["input"]["dtype"] == "uint8":
        return torch.randint(0, 256, shape, dtype=torch.uint8)
    mean, std = (trained.network.get_buffer(name) for name in (MEAN, STD))
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


def check_packages() -> None:
    """Refuse where a package that ONNX needs is missing.

    Raises:
        DiagnosticError: D436.
    """
    if missing := [name for name in _ONNX if not find_spec(name)]:
        raise DiagnosticError(
            Diagnostic(
                "D436",
                f"ONNX needs {' and '.join(f'`{name}`' for name in missing)}",
                help="pip install 'bayesnas[onnx]', or export to a name that ends in .pt2",
            )
        )


def _difference(module: nn.Module, run: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    """The largest difference of network and file on raw inputs, over the largest output."""
    with torch.no_grad():
        expected = module(inputs)
    difference = (run(shares(inputs)) - expected).abs().max()
    return float(difference / expected.abs().max().clamp_min(1e-12))


Written = tuple[bytes, Callable[[Tensor], Tensor]]  # a file, and what it computes


def _program(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(
        module, (example,), dynamic_shapes=({0: torch.export.Dim("examples", min=1)},)
    )


def _pt2(module: nn.Module, example: Tensor, about: Mapping[str, str]) -> Written:
    whole = io.BytesIO()
    torch.export.save(_program(module, example), whole, extra_files=dict(about))
    whole.seek(0)
    loaded: Callable[[Tensor], Tensor] = torch.export.load(whole).module()
    return whole.getvalue(), loaded


def _onnx(module: nn.Module, example: Tensor, about: Mapping[str, str]) -> Written:
    import onnxruntime

    program = torch.onnx.export(
        _program(module, example), input_names=["input"], output_names=["logits"], verbose=False
    )
    assert program is not None
    program.model.metadata_props.update(about)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "network.onnx"
        program.save(file, external_data=False)
        data = file.read_bytes()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0])

    return data, run


WRITERS: Final[Mapping[str, Callable[[nn.Module, Tensor, Mapping[str, str]], Written]]] = {
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
