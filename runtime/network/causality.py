"""Whether a network that predicts what follows each token reads no token that follows."""

from __future__ import annotations

import torch
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.modules import build

_SAME = 1e-5  # of the largest output: by as much may rounding change what should not change


def check_causal(graph: Graph, origin: str, example: Tensor) -> None:
    """Refuse outputs [K, length] at some place that change with what stands behind it.

    A network that reads what it is to predict learns nothing else. It is tried, with fresh weights
    and all operations of a supernet, in evaluation mode.

    Args:
        graph: of the network.
        origin: the spec's name.
        example: one, [1, ..., length].

    Raises:
        DiagnosticError: D517.
    """
    node = graph.node(graph.root.outputs[0])
    module, _ = build(graph, origin, 0, layout=layout(graph, example.device))
    module.to(example.device).eval()
    middle = example.shape[-1] // 2
    changed = example.clone()
    changed[..., middle:] = torch.where(changed[..., middle:] == 1, 0.0, 1.0)
    with torch.no_grad():
        before, after = module(example), module(changed)
    difference = (before - after)[..., :middle].abs().max()
    if difference > _SAME * before.abs().max():
        raise DiagnosticError(
            Diagnostic(
                "D517",
                f"`{node.name}` reads the tokens that it is to predict",
                node.span,
                notes=("what it says of a place changes with the tokens behind that",),
                help="let no operation read what comes later, or predict what follows a window "
                f"alone: `{node.name}: [{(node.shape or (0,))[0]}]`",
            )
        )
