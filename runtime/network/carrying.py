"""States of scans that are carried over a text: windows in its order, each begun where one ended.

A window alone begins each scan with the state that its network gives. In truncated back-propagation
through time a window begins with the state at the end of the window before it, through which no
gradient goes back (Williams and Peng, 1990).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from attrs import frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.scans import carried_scans
from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, check_idle
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.tasks.interface import Task

STRETCH: Final = 1000  # windows that a state is carried over at least, in a text that has them


@frozen
class States:
    """The states that a network may carry; none of one that was not built to.

    Args:
        carriers: its `Carried` modules, by number.
    """

    carriers: tuple[Any, ...]

    @classmethod
    def of(cls, module: nn.Module) -> States:
        """Of a network."""
        return cls(tuple(m for m in module.modules() if hasattr(m, "carries")))

    def make_room(self, rows: int) -> None:
        """For batches of so many rows at most; the states are fresh."""
        for carrier in self.carriers:
            carrier.state = carrier.state.new_zeros(rows, carrier.state.shape[1])
        self.begin()

    def begin(self) -> None:
        """The next call begins a text."""
        for carrier in self.carriers:
            carrier.fresh.fill_(True)

    @contextmanager
    def carried(self) -> Iterator[None]:
        """Calls go on from each other."""
        for carrier in self.carriers:
            carrier.carries = True
        try:
            yield
        finally:
            for carrier in self.carriers:
                carrier.carries = False

    @contextmanager
    def elsewhere(self, rows: int) -> Iterator[None]:
        """Calls go on from each other in another text; the states come back after."""
        before = [(carrier.state, carrier.fresh) for carrier in self.carriers]
        for carrier in self.carriers:
            carrier.fresh = carrier.fresh.clone()
        self.make_room(rows)
        try:
            with self.carried():
                yield
        finally:
            for carrier, (state, fresh) in zip(self.carriers, before, strict=True):
                carrier.state, carrier.fresh = state, fresh

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of them."""
        named: dict[str, Tensor] = {}
        for number, carrier in enumerate(self.carriers):
            named |= {f"{number}.state": carrier.state, f"{number}.fresh": carrier.fresh}
        return named

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Back to what `tensors` gave."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])


def judged_rows(count: int, at_once: int) -> int:
    """How many stretches a text of so many windows is judged in: of `STRETCH` windows or more."""
    return max(1, min(at_once, count // STRETCH))


def check_carrying(settings: TrainSettings, task: Task, graph: Graph, data: str) -> None:
    """Refuse to carry states where there are none, or nothing to carry them over.

    Raises:
        DiagnosticError: D232 (no scan, or no windows that follow each other), D423 (several
            processes).
    """
    if settings.carry_state == "no":
        return
    if world().size > 1:
        check_idle(["carry_state = yes"], "with several processes", "leave it out")
    remedy = ""
    if not any(carried_scans(graph)):
        remedy = f"leave it out: `{graph.name}` has no `scan` that runs once for each example"
    elif not task.causal(graph):
        remedy = f"leave it out: examples of `{data}` are no windows that follow each other"
    if remedy:
        message = "`carry_state` does nothing here"
        raise DiagnosticError(Diagnostic("D232", message, help=remedy))
