"""Strategies to compare with: `random`, `darts`, `magnitude` and `largest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayesnas.compiler.cost import edge_cost
from bayesnas.compiler.members import cost_of
from bayesnas.compiler.space import MemberSpace, SearchedConnection, dropped
from bayesnas.runtime.modules import logits
from bayesnas.runtime.strategy import Removal, Strategy, Task, judged


class RandomChoice(Strategy):
    """`random`: some random members inside the budgets, the best by held-out loss.

    The weights learn along random paths (Guo et al., *Single path one-shot NAS*, ECCV 2020), one
    member a step, so that they are those the members are judged by.
    """

    likes = 24

    def step(self, inputs: Tensor, labels: Tensor, searching: bool) -> float:  # noqa: ARG002
        """The weights of one random member learn."""
        member = self.space.draw(self.random)
        self.net.keep(member)
        return self.net.descend(inputs, labels, self.net.gates(dict.fromkeys(member, 1.0)))

    def update(self, number: int, rounds: int) -> Removal:
        """The best of the members drawn, after the last round."""
        if number < rounds:
            return Removal()
        return self.keep_only(judged(self.net, self.random_members()), "judged")


class Largest(Strategy):
    """`largest`: the biggest member inside the budgets, without a look at the data."""

    trains: ClassVar[bool] = False

    def step(self, inputs: Tensor, labels: Tensor, searching: bool) -> float:  # noqa: ARG002
        """Nothing is trained."""
        raise AssertionError("the largest member needs no training")

    def update(self, number: int, rounds: int) -> Removal:  # noqa: ARG002
        """The member of most parameters, or most of what the budgets count."""
        prices = self.task.prices
        name = prices.budgets[0].cost if prices.budgets else "parameters"
        sizes = {
            group: float(sum(cost_of(edge_cost(edge), name) for edge in edges))
            for group, edges in prices.graph.groups().items()
        }
        return self.settle(sizes, "largest")


class Magnitude(Strategy):
    """`magnitude`: gates learn with the weights; the largest stay (Han et al., NeurIPS 2015)."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.w = task.net.table(self.space.mean())

    def gates(self) -> Tensor:
        """w, tied gates alike."""
        return self.net.spread(self.w)

    def step(self, inputs: Tensor, labels: Tensor, searching: bool) -> float:
        """Weights by SGD; gates by plain gradient steps, once the search has begun."""
        self.net.keep(self.space.candidates())
        w = self.w.clone().requires_grad_(searching)
        loss = self.net.descend(inputs, labels, self.net.spread(w))
        if searching:
            assert w.grad is not None
            self.w = self.w - self.settings.gate_learning_rate * w.grad
        return loss

    def update(self, number: int, rounds: int) -> Removal:
        """The member of the largest weights, after the last round."""
        size = dict(zip(self.net.groups, self.w.abs().tolist(), strict=True))
        self.report = {g: {"w": w} for g, w in zip(self.net.groups, self.w.tolist(), strict=True)}
        return self.settle(size, "magnitude") if number == rounds else Removal()

    def state(self) -> dict[str, Any]:
        """With the gates."""
        return super().state() | {"w": self.w}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.w = state["w"].cpu()


class Darts(Strategy):
    """`darts`: a softmax over each connection's options, by gradient steps on held-out examples.

    First order (Liu et al., ICLR 2019): a step of the architecture on a held-out batch, by Adam as
    in the authors' code, then one of the weights. To drop a connection is an option like the
    others, and passes nothing on.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.whole = self.space
        names = [o for c in self.whole.connections for o in _softmax_options(self.whole, c)]
        self.places = {name: n for n, name in enumerate(names)}
        start = torch.randn(len(names), generator=task.net.generator, dtype=torch.float64)
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
        return self.net.spread(chances[[self.places[group] for group in self.net.groups]])

    def gates(self) -> Tensor:
        """The softmax of every candidate."""
        return self._gates().detach()

    def step(self, inputs: Tensor, labels: Tensor, searching: bool) -> float:
        """A step of the architecture, once the search has begun, and one of the weights."""
        self.net.keep(self.space.candidates())
        if searching:
            held, answers = self.net.held_batch(len(labels))
            loss = cross_entropy(logits(self.net.module, held, self._gates()), answers)
            [self.alpha.grad] = torch.autograd.grad(loss, [self.alpha])
            self.adam.step()
            self.net.trained += len(answers)
        return self.net.descend(inputs, labels, self.gates())

    def update(self, number: int, rounds: int) -> Removal:
        """The member of the largest softmax, after the last round."""
        found = self._chances().detach().tolist()
        values = {name: found[n] for name, n in self.places.items()}
        self.report = {group: {"w": values[group]} for group in self.net.groups}
        return self.settle(values, "darts") if number == rounds else Removal()

    def state(self) -> dict[str, Any]:
        """With the architecture and its optimizer."""
        own = {"alpha": self.alpha.detach(), "adam": self.adam.state_dict()}
        return super().state() | own

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.adam.load_state_dict(state["adam"])


def _softmax_options(space: MemberSpace, connection: SearchedConnection) -> list[str]:
    nothing = [dropped(connection)] if space.droppable(connection) else []
    return [*connection.options, *nothing]
