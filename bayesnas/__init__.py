"""BayesNAS: a language for neural architecture search spaces, its compiler, a Bayesian search.

The public API; importing it does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayesnas.dsl import __version__ as __version__

if TYPE_CHECKING:
    from bayesnas.compiler.operations.plugins import primitive as primitive
    from bayesnas.compiler.operations.primitives import ShapeError as ShapeError
    from bayesnas.compiler.pipeline import compile_spec as compile_spec
    from bayesnas.dsl.diagnostics import DiagnosticError as DiagnosticError
    from bayesnas.runtime.jobs.train import load_network as load_network
    from bayesnas.runtime.network.modules import build as build

__all__ = [
    "DiagnosticError",
    "ShapeError",
    "build",
    "compile_spec",
    "load_network",
    "primitive",
]

_HOMES = {
    "ShapeError": "bayesnas.compiler.operations.primitives",
    "DiagnosticError": "bayesnas.dsl.diagnostics",
    "build": "bayesnas.runtime.network.modules",
    "compile_spec": "bayesnas.compiler.pipeline",
    "load_network": "bayesnas.runtime.jobs.train",
    "primitive": "bayesnas.compiler.operations.plugins",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `bayesnas` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
