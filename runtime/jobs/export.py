"""Trained networks for other programs: ONNX and PyTorch's own exported programs, checked.

What is exported takes inputs as the data has them, bytes as shares of 255; the normalisation of the
training data is part of it. The number of examples is open.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor, nn

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import write_bytes
from bayesnas.runtime.jobs.failures import plugins_named
from bayesnas.runtime.jobs.trained import TrainedRun

TOLERANCE: Final = 1e-3  # of the largest logit, by which an exported network may differ
_CHECKED: Final = (1, 5)  # examples at once
_ONNX: Final = ("onnx", "onnxscript", "onnxruntime")


@frozen
class Exported:
    """A file that was written, and how far it is from PyTorch: of the largest logit."""

    out: Path
    difference: float


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
    module, shape = trained.deployed(), trained.shape
    with _quietly():
        data, run = WRITERS[out.suffix](module, torch.rand(2, *shape))
        difference = max(_difference(module, run, torch.rand(n, *shape)) for n in _CHECKED)
    check_difference(difference)
    write_bytes(out, data)
    return Exported(out, difference)


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
    """The largest difference of two functions, over the largest output."""
    with torch.no_grad():
        expected = module(inputs)
    return float((run(inputs) - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


Written = tuple[bytes, Callable[[Tensor], Tensor]]  # a file, and what it computes


def _program(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(
        module, (example,), dynamic_shapes=({0: torch.export.Dim("examples", min=1)},)
    )


def _pt2(module: nn.Module, example: Tensor) -> Written:
    whole = io.BytesIO()
    torch.export.save(_program(module, example), whole)
    whole.seek(0)
    loaded: Callable[[Tensor], Tensor] = torch.export.load(whole).module()
    return whole.getvalue(), loaded


def _onnx(module: nn.Module, example: Tensor) -> Written:
    import onnxruntime

    program = torch.onnx.export(
        _program(module, example), input_names=["input"], output_names=["logits"], verbose=False
    )
    assert program is not None
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "network.onnx"
        program.save(file, external_data=False)
        data = file.read_bytes()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0])

    return data, run


WRITERS: Final[Mapping[str, Callable[[nn.Module, Tensor], Written]]] = {
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
