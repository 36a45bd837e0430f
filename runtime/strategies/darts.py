"""The strategy `darts`: a softmax over each connection's options, first order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bayesnas.compiler.space.choices import MemberSpace, SearchedConnection, dropped
from bayesnas.runtime.network.together.synchronised import parted
from bayesnas.runtime.runs.reading import Schema, both, like, like_optimizer, open_record
from bayesnas.runtime.strategies.interface import Problem, Removal, Strategy
from bayesnas.runtime.supernet.curvature import fixed_weights
from bayesnas.runtime.tasks.bundle import Inputs


class Darts(Strategy):
    """`darts`: a softmax over each connection's options, by gradient steps on held-out examples.

    First order (Liu et al., ICLR 2019): a step of the architecture on a held-out batch, by Adam as
    in the authors' code, then one of the weights. To drop a connection is an option like the
    others, and passes nothing on.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.whole = self.space
        names = [o for c in self.whole.connections for o in _softmax_options(self.whole, c)]
        self.places = {name: n for n, name in enumerate(names)}
        start = torch.randn(len(names), generator=problem.net.generator, dtype=torch.float64)
        self.alpha = (1e-3 * start).requires_grad_()
        self.adam = torch.optim.Adam([self.alpha], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)

    def _chances(self) -> Tensor:
        """The softmax of every option, in the order of ``places``."""
        parts = []
        for connection in self.whole.connections:
            options = _softmax_options(self.whole, connection)
            parts.append(self.alpha[[self.places[o] for o in options]].softmax(dim=0))
        return torch.cat(parts)

    def _gates(self) -> Tensor:
        chances = self._chances()
        return self.net.gates.spread(
            chances[[self.places[group] for group in self.net.gates.groups]].to(torch.float32)
        )

    def gates(self) -> Tensor:
        """The softmax of every candidate."""
        return self._gates().detach()

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:
        """A step of the architecture, once the search has begun, and one of the weights."""
        self.net.keep(self.space.candidates())
        if searching:
            self.net.release()
            # As many as take no more memory than the step of the weights; two, for normalisation.
            most = max(2, self.net.at_once.derivative())
            held, answers = self.net.held_batch(min(len(targets), most))
            with fixed_weights(self.net.module), parted(len(answers)) as share:
                loss = self.net.loss(share, held, answers, self._gates())
                [self.alpha.grad] = torch.autograd.grad(loss, [self.alpha])
            self.adam.step()
            self.net.trained += len(answers)
            self.net.release()
        return self.net.descend(inputs, targets, self.gates())

    def update(self, number: int, rounds: int) -> Removal:
        """The member of the largest softmax, after the last round."""
        chances = self._chances().detach().tolist()
        values = {name: chances[n] for name, n in self.places.items()}
        self.report = {group: {"w": values[group]} for group in self.net.gates.groups}
        return self.settle(values, "darts") if number == rounds else Removal()

    def state(self) -> dict[str, Any]:
        """With the architecture and its optimizer."""
        own = {"alpha": self.alpha.detach(), "adam": self.adam.state_dict()}
        return super().state() | own

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        own = {"alpha": like(self.alpha.detach()), "adam": like_optimizer(self.adam)}
        return both(super().state_schema(), open_record(own))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.adam.load_state_dict(state["adam"])


def _softmax_options(space: MemberSpace, connection: SearchedConnection) -> list[str]:
    nothing = [dropped(connection)] if space.droppable(connection) else []
    return [*connection.options, *nothing]
