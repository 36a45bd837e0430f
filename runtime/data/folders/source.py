"""The data `folder:PATH`: classes as folders, or pairs where a network ends in a map."""

from __future__ import annotations

from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.folders import classes, pairs
from bayesnas.runtime.data.registry import Request


def load(request: Request) -> Data:
    """What the folder holds, read for the network's output.

    Raises:
        DiagnosticError: what `classes.load` and `pairs.load` raise.
    """
    return pairs.load(request) if len(request.outputs) > 1 else classes.load(request)
