"""The state of the architecture: weights w of the gates, and the posterior over them.

Gates that are tied form a group, which lives and dies as one; an untied gate is a group of its
own. The i' node of a searched edge has the fixed weight 1, so that its curvature follows from
that of the edge's gates: scaling an edge by r moves every gate of it by w dr, hence
H_rr = w_e^T H_ee w_e.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor

from bayesnas.compiler.graph.model import Connection, Graph
from bayesnas.compiler.passes.gamma import Gammas, evaluate_gamma
from bayesnas.runtime.runs.reading import Schema, like, record, table
from bayesnas.runtime.strategies.bayesnas import updates
from bayesnas.runtime.strategies.bayesnas.penalised import PenalisedQuadratic
from bayesnas.runtime.strategies.interface import evidence_change
from bayesnas.runtime.supernet.gates import Gates

MAX_ITERATIONS = 50
TOLERANCE = 1e-3


@frozen(eq=False)
class Layout:
    """Which gates meet where.

    ``connections`` are the searched edges; ``edge_gates`` the gates of each, ``relay_groups`` [E]
    numbers the group of each one's i' node; ``targets`` [G] numbers the node each gate's edge
    enters.
    """

    gates: Gates
    connections: tuple[Connection, ...]
    relay_groups: Tensor
    relay_count: int
    edge_gates: tuple[Tensor, ...]
    targets: Tensor

    @classmethod
    def of(cls, graph: Graph, gates: Gates) -> Layout:
        """The layout of a graph with i' nodes."""
        device = gates.group_of_gate.device
        numbers = {edge.id: gate for gate, edge in enumerate(graph.searched())}
        connections = tuple(c for c in graph.all_connections() if c.searched)
        edge_gates = [[numbers[edge.id] for edge in c.edges] for c in connections]
        targets = torch.zeros_like(gates.group_of_gate)
        nodes: dict[str, int] = {}
        relays: dict[frozenset[str], int] = {}
        relay_groups = []
        for connection, own in zip(connections, edge_gates, strict=True):
            targets[own] = nodes.setdefault(connection.target, len(nodes))
            key = frozenset(edge.searched_gate.group for edge in connection.edges)
            relay_groups.append(relays.setdefault(key, len(relays)))
        return cls(
            gates,
            connections,
            torch.tensor(relay_groups, dtype=torch.int64, device=device),
            len(relays),
            tuple(torch.tensor(own, device=device) for own in edge_gates),
            targets,
        )


@define
class GatePosterior:
    """w, and what the updates make of it; all float64 [G], or [E] for i' nodes.

    ``alive`` [G] marks the gates that have not been pruned; ``solved`` is the minimiser of (16) on
    the quadratic model at w. Everything starts at 1.
    """

    layout: Layout
    w: Tensor
    solved: Tensor
    alive: Tensor
    gamma: Tensor
    variance: Tensor  # C
    omega: Tensor  # of each gate's group
    s: Tensor  # of each gate's group
    relay_gamma: Tensor
    report: dict[str, Tensor] = field(factory=dict)

    @classmethod
    def start(cls, layout: Layout) -> GatePosterior:
        """gamma = omega = w = 1."""

        def ones(count: int) -> Tensor:
            return torch.ones(count, dtype=torch.float64, device=layout.targets.device)

        count = len(layout.gates)
        return cls(
            layout,
            ones(count),
            ones(count),
            ones(count).to(torch.bool),
            ones(count),
            ones(count),
            ones(count),
            ones(count),
            ones(len(layout.connections)),
        )

    def gates(self) -> Tensor:
        """What the supernet takes: w, and 0 where a gate is pruned; float32 [G]."""
        return (self.w * self.alive).to(torch.float32)

    def fix_gauge(self) -> None:
        """Scale w so that the living gates into each node have mean absolute value 1.

        Batch normalisation behind a merge makes the network blind to a common factor of the gates
        into it, which a penalty on w would otherwise drive to zero.
        """
        targets = self.layout.targets
        count = int(targets.max()) + 1 if len(targets) else 0
        living = self.alive.to(self.w.dtype)
        zeros = torch.zeros(count, dtype=self.w.dtype, device=self.w.device)
        total = zeros.index_add(0, targets, self.w.abs() * living)
        number = zeros.index_add(0, targets, living)
        scale = torch.where(total > 0, number / total, torch.ones_like(total))
        self.w = self.w * scale[targets]

    def infer(self, gradient: Tensor, curvature: Tensor, gammas: Gammas) -> float:
        """(16) to (20) and (8) iterated to their fixed point on one quadratic model of the loss.

        0, or how far the minimiser of (16) has missed the optimality conditions, relative.

        Args:
            gradient: of the mean loss in the gates, divided by lambda_w, [G].
            curvature: the GGN of the mean loss, divided by lambda_w, [G, G].
            gammas: the dependency expressions.

        Raises:
            NumericalError: the curvature is not finite, or far from positive semidefinite.
        """
        self._start_again()
        H = self._with_gauge(curvature)
        model = PenalisedQuadratic.of(
            gradient * self.alive, H, self.w * self.alive, self.layout.gates.group_of_gate
        )
        for _ in range(MAX_ITERATIONS):
            before = self.gamma
            self._update(model, H, gammas)
            if float((self.gamma - before).abs().max()) < TOLERANCE:
                break
        self._report()
        return model.residual

    def _report(self) -> None:
        """Keep what was found of each living gate; of a pruned one, what was found last."""
        columns = {
            "w": self.w,
            "w_solved": self.solved,
            "s": self.s,
            "gamma": self.gamma,
            "omega": self.omega,
            "C": self.variance,
            "error": self.variance.clamp_min(0).sqrt(),
        }
        for name, column in columns.items():
            before = self.report.get(name, column)
            self.report[name] = torch.where(self.alive, column, before)

    def _start_again(self) -> None:
        """The prior is inferred anew in each round: gamma = 1 wherever a gate lives."""
        self.gamma = self.alive.to(self.w.dtype)
        self.relay_gamma = torch.ones_like(self.relay_gamma)

    def _with_gauge(self, curvature: Tensor) -> Tensor:
        """H with the common scale of the gates into a node held fast.

        Along that direction the loss is flat (see `fix_gauge`), so that the penalty alone would
        drive all gates of the node to zero. The stiffness is that of the node or of the average
        node, whichever is more: where the data say nothing anywhere, nothing is held.
        """
        H = curvature.clone()
        targets = self.layout.targets
        w = self.w * self.alive
        nodes = [((targets == n) & (w != 0)).nonzero()[:, 0] for n in range(int(targets.max()) + 1)]
        nodes = [gates for gates in nodes if len(gates)]
        own = [float(curvature[gates, gates].sum()) for gates in nodes]
        for gates, stiffness in zip(nodes, own, strict=True):
            direction = w[gates] / w[gates].norm()
            stiffness = 2 * max(stiffness, sum(own) / len(own))
            H[gates[:, None], gates] += stiffness * direction[:, None] * direction
        return H

    def _update(self, model: PenalisedQuadratic, H: Tensor, gammas: Gammas) -> None:
        layout, gates = self.layout, self.layout.gates
        groups, count = gates.group_of_gate, len(gates.groups)
        self.variance = updates.posterior_variance(self.gamma, H)
        omega = updates.reweighting(self.gamma, self.variance, groups, count)
        w = model.minimise(omega) * self.alive
        s = updates.switches(updates.group_norm(w, groups, count), omega)
        relay_s = self._relay_switches(H, w)
        # Keeps a switch that is off from dividing by zero: far below the threshold of pruning, far
        # enough above rounding that (18) still knows the curvature.
        tiny = 1e-6
        relays = {c.id: relay_s[n].clamp_min(tiny) for n, c in enumerate(layout.connections)}
        gamma, relay_gamma = evaluate_gamma(gammas, gates.spread(s).clamp_min(tiny), relays)
        self.solved, self.omega, self.s = w, gates.spread(omega), gates.spread(s)
        # A group is off only if every gate of it is: the recursive expression is not one for all.
        self.gamma = gates.spread(gates.maximum(gamma)) * self.alive
        self.relay_gamma = torch.stack([relay_gamma[c.id] for c in layout.connections])

    def _relay_switches(self, curvature: Tensor, w: Tensor) -> Tensor:
        """s of the i' nodes [E], tied like their edges; their weight is 1."""
        layout = self.layout
        own = torch.stack([w[e] @ curvature[e][:, e] @ w[e] for e in layout.edge_gates]).clamp_min(
            0
        )
        variance = updates.posterior_variance(self.relay_gamma, own)
        omega = updates.reweighting(
            self.relay_gamma, variance, layout.relay_groups, layout.relay_count
        )
        norm = updates.group_norm(torch.ones_like(own), layout.relay_groups, layout.relay_count)
        return updates.switches(norm, omega)[layout.relay_groups]

    def evidence_changes(self, gradient: Tensor, curvature: Tensor) -> dict[str, float]:
        """What the log evidence changes by when the gates of a group go to 0, by group.

        Args:
            gradient: of the mean loss in the gates [G].
            curvature: of the mean loss [G, G].
        """
        w, g, H = (self.w * self.alive).cpu(), gradient.cpu(), curvature.cpu()
        own = {group: list(gates) for group, gates in self.layout.gates.groups.items()}
        return {k: evidence_change(g[n], H[n][:, n], -w[n]) for k, n in own.items()}

    def saliencies(self, gradient: Tensor, curvature: Tensor) -> Tensor:
        """What a group's removal adds to the mean loss, as far as the diagonal says it, [G].

        -g w + w^2 H / 2 (LeCun, Denker, Solla: *Optimal brain damage*, NeurIPS 1989), summed over
        tied gates.
        """
        w = self.w * self.alive
        change = -gradient * w + 0.5 * w**2 * curvature.diagonal()
        gates = self.layout.gates
        return gates.spread(gates.sum(change))

    def remove(self, gates: Iterable[int]) -> None:
        """Prune these gates."""
        for gate in gates:
            self.alive[gate] = False

    def state(self) -> dict[str, Any]:
        """Plain tensors, for a checkpoint."""
        return {"report": self.report, **self._tensors()}

    def _tensors(self) -> dict[str, Tensor]:
        names = ("w", "solved", "alive", "gamma", "variance", "omega", "s", "relay_gamma")
        return {name: getattr(self, name) for name in names}

    def state_schema(self) -> Schema:
        """What `state` gives."""
        plain = {name: like(tensor, finite=False) for name, tensor in self._tensors().items()}
        column = like(self.w, finite=False)
        return record({"report": table(column), **plain})

    def restore(self, state: dict[str, Any]) -> None:
        """Back to what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value if name == "report" else value.to(self.w.device))

    def rows(self) -> list[dict[str, float]]:
        """One row a gate: what was found of it last; empty before the first round."""
        lists = {name: column.tolist() for name, column in self.report.items()}
        return [
            {name: _finite(values[n]) for name, values in lists.items()}
            for n in range(len(self.layout.gates))
        ]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.copysign(1e308, value)
