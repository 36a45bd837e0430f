"""The strategy `pgnas`: every operation learns how probably it is dropped; draws are judged.

Zhou, Sun, Luo, Zha, Zeng: *Posterior-guided neural architecture search*, AAAI 2020, for whole
operations: the authors mask the input channels of convolutions. The equations are in
`runtime/weights/concrete.py`; docs/algorithm.md names what is done otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bayesnas.compiler.space.choices import Member, dropped
from bayesnas.compiler.space.draws import no_member
from bayesnas.compiler.space.prices import best_member
from bayesnas.runtime.runs.reading import Schema, both, like, like_optimizer, open_record
from bayesnas.runtime.strategies.interface import Problem, Removal, Strategy
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.concrete import (
    START,
    entropy_term,
    logistic,
    mean_masks,
    relaxed_masks,
    weight_term,
)


class Pgnas(Strategy):
    """A drop probability for each operation, learned with the weights; then masks are judged.

    With ``discretize = no`` draws are hard masks as they come, and several operations may stay on
    one edge. Otherwise they are members: drawn from the same posterior, given that they are.
    """

    default_draws = 24

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        net = self.net
        start = dict.fromkeys(net.gates.groups, 1 - START)
        if self.settings.discretize == "yes":
            start |= self.space.mean()
        kept = net.gates.table(start)
        self.logits = torch.logit(1 - kept, eps=1e-3).requires_grad_()
        self.adam = torch.optim.Adam([self.logits], lr=self.settings.gate_learning_rate)
        self.precision = self.settings.weight_decay
        for group in net.optimizer.param_groups:
            group["weight_decay"] = 0.0  # the bound has it, operation by operation
        self.weights = self._weights()

    def _weights(self) -> list[list[nn.Parameter]]:
        """The weights of each group's operations, and last those of no searched operation."""
        net = self.net
        rest = {id(weight): weight for weight in net.module.parameters()}
        groups: list[list[nn.Parameter]] = []
        for gates in net.gates.groups.values():
            weights: list[nn.Parameter] = []
            for gate in gates:
                path, candidate = net.emitted.gates[gate]
                operation = net.module.get_submodule(f"{path}.candidates.{candidate}")
                weights += [w for w in operation.parameters() if rest.pop(id(w), None) is not None]
            groups.append(weights)
        return [*groups, [*rest.values()]]

    # ---------------------------------------------------------------------------------- training

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:
        """Weights and probabilities descend the bound, a mask for each example and group."""
        self.net.keep(self.space.candidates())
        masks = relaxed_masks(self.logits, len(targets), self.net.generator)
        gates = masks.to(self.net.device, torch.float32)[:, self.net.gates.group_of_gate]
        loss = self.net.descend(inputs, targets, gates, self.penalty())
        if searching:
            self.adam.step()
        self.adam.zero_grad()
        return loss

    def penalty(self) -> Tensor:
        """What the bound has besides the likelihood, in nats an example."""
        zero = next(self.net.module.parameters()).new_zeros(())
        squares = torch.stack(
            [sum((w.square().sum() for w in weights), start=zero) for weights in self.weights]
        )
        always = torch.full((1,), -torch.inf, dtype=self.logits.dtype)
        prior = weight_term(torch.cat([self.logits, always]).to(squares), squares, self.precision)
        masks = torch.ones_like(self.logits)  # one per group: tied operations go together
        return prior + entropy_term(self.logits, masks, len(self.net.fit_part)).to(prior)

    def gates(self) -> Tensor:
        """The mean masks; 1 once the choice is made."""
        if self.space.required:  # all that was not chosen has gone
            return self.net.gates.at(dict.fromkeys(self.space.candidates(), 1.0))
        return self.net.gates.spread(mean_masks(self.logits.detach()).to(torch.float32))

    # ---------------------------------------------------------------------------------- choosing

    def update(self, number: int, rounds: int) -> Removal:
        """The best of the drawn masks, after the last round."""
        logits = self.logits.detach()
        kept = self.net.gates.named(torch.sigmoid(-logits))
        means = self.net.gates.named(mean_masks(logits))
        self.report = {group: {"w": means[group], "chance": kept[group]} for group in kept}
        if number < rounds:
            return Removal()
        return self.keep_judged(self.candidates())

    def candidates(self) -> list[Member]:
        """The most probable mask inside the budgets and different draws, as many as are asked for.

        Raises:
            DiagnosticError: D604 (status 1) if none was found inside the budgets.
        """
        draw = self._member if self.settings.discretize == "yes" else self._mask
        drawn = [draw(scale) for scale in (0.0, *[1.0] * self.draws)]
        members = self.life.different(member for member in drawn if member is not None)
        if not members:
            raise no_member(self.problem.prices)
        return members

    def _member(self, scale: float) -> Member | None:
        """A member of the posterior, by the largest sum of perturbed log odds.

        Where a connection chooses for itself that is a draw with the masks' own probabilities,
        given that at most one operation stays (Gumbel). ``scale`` 0 is the most probable one.
        """
        options = [*self.net.gates.groups, *(dropped(c) for c in self.space.connections)]
        uniform = torch.rand(len(options), generator=self.net.generator, dtype=torch.float64)
        noise = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
        odds = torch.cat([-self.logits.detach(), noise.new_zeros(len(self.space.connections))])
        values = dict(zip(options, (odds + scale * noise).tolist(), strict=True))
        return best_member(self.space, values, self.problem.prices)

    def _mask(self, scale: float) -> Member | None:
        """A hard mask; the best member by the same draw, if that fits no budget or is no network.

        Into a node that keeps k connections come those of the largest sums of log odds.
        """
        noise = logistic(1, len(self.logits), self.net.generator)[0]
        odds = self.net.gates.named(-self.logits.detach() + scale * noise)
        kept: set[str] = set()
        for arriving, count in self.space.nodes():
            stays = [[o for o in c.options if odds[o] > 0] for c in arriving]
            stays.sort(key=lambda options: -sum(odds[o] for o in options))
            kept.update(option for options in stays[:count] for option in options)
        mask, prices = frozenset(kept), self.problem.prices
        return mask if prices.fit(mask) else best_member(self.space, odds, prices)

    # ------------------------------------------------------------------------------ interruption

    def state(self) -> dict[str, Any]:
        """With the probabilities and their optimizer."""
        own = {"logits": self.logits.detach(), "adam": self.adam.state_dict()}
        return super().state() | own

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        own = {"logits": like(self.logits.detach()), "adam": like_optimizer(self.adam)}
        return both(super().state_schema(), open_record(own))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self.adam.load_state_dict(state["adam"])
