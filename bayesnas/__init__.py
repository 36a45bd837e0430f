"""BayesNAS: a language for neural architecture search spaces, its compiler, a Bayesian search.

The public API; importing it does not import torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# `python -m` in a checkout's top folder finds this one there, and the rooms stand beside it.
if (Path(__file__).parents[1] / "hatch_build.py").exists():
    __path__.append(str(Path(__file__).parents[1]))

from bayesnas.dsl import __version__ as __version__

if TYPE_CHECKING:
    from bayesnas.api import Found as Found
    from bayesnas.api import Trained as Trained
    from bayesnas.api import compile as compile
    from bayesnas.api import report as report
    from bayesnas.api import search as search
    from bayesnas.api import train as train
    from bayesnas.compiler.operations.plugins import primitive as primitive
    from bayesnas.compiler.operations.primitives import ShapeError as ShapeError
    from bayesnas.compiler.pipeline import compile_spec as compile_spec
    from bayesnas.dsl.diagnostics import DiagnosticError as DiagnosticError
    from bayesnas.runtime.data.arrays import data_of_arrays as data_of_arrays
    from bayesnas.runtime.data.conventions.datasets import data_of_dataset as data_of_dataset
    from bayesnas.runtime.data.dataset import Data as Data
    from bayesnas.runtime.data.loading import load_data as load_data
    from bayesnas.runtime.data.registry import DataOptions as DataOptions
    from bayesnas.runtime.data.registry import Request as Request
    from bayesnas.runtime.data.registry import data_source as data_source
    from bayesnas.runtime.jobs.trained import load_network as load_network
    from bayesnas.runtime.network.modules import build as build
    from bayesnas.runtime.runs.events import Event as Event
    from bayesnas.runtime.runs.tensorboard import TensorBoard as TensorBoard

_HOMES = {
    "Data": "bayesnas.runtime.data.dataset",
    "DataOptions": "bayesnas.runtime.data.registry",
    "DiagnosticError": "bayesnas.dsl.diagnostics",
    "Event": "bayesnas.runtime.runs.events",
    "Found": "bayesnas.api",
    "Request": "bayesnas.runtime.data.registry",
    "ShapeError": "bayesnas.compiler.operations.primitives",
    "TensorBoard": "bayesnas.runtime.runs.tensorboard",
    "Trained": "bayesnas.api",
    "build": "bayesnas.runtime.network.modules",
    "compile": "bayesnas.api",
    "compile_spec": "bayesnas.compiler.pipeline",
    "data_of_arrays": "bayesnas.runtime.data.arrays",
    "data_of_dataset": "bayesnas.runtime.data.conventions.datasets",
    "data_source": "bayesnas.runtime.data.registry",
    "load_data": "bayesnas.runtime.data.loading",
    "load_network": "bayesnas.runtime.jobs.trained",
    "primitive": "bayesnas.compiler.operations.plugins",
    "report": "bayesnas.api",
    "search": "bayesnas.api",
    "train": "bayesnas.api",
}

__all__ = [
    "Data",
    "DataOptions",
    "DiagnosticError",
    "Event",
    "Found",
    "Request",
    "ShapeError",
    "TensorBoard",
    "Trained",
    "build",
    "compile",
    "compile_spec",
    "data_of_arrays",
    "data_of_dataset",
    "data_source",
    "load_data",
    "load_network",
    "primitive",
    "report",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `bayesnas` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
