"""The widths of a supernet's layers, searched with its operations.

A channel has a gate of value 1 where it is read (`runtime/weights/gated.py`), and the same updates
as operations have. A budget counts what is left of both, and one evidence pays for both: that of a
member is what its operations are worth, less what lasts of the rise of the loss once its channels
have gone in turn, as in `compress` (`runtime/weights/turns.py`), until it fits. Budgets of rounds
fall by equal shares to what is wanted. Without a budget channels go by entropy, as operations do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.graph.cost import Cost, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.slices.counts import Kept, kept_cost, kept_costs
from bayesnas.compiler.slices.groups import sources_of
from bayesnas.compiler.slices.layers import Layer
from bayesnas.compiler.slices.ties import Strand
from bayesnas.compiler.space.choices import Member, MemberSpace
from bayesnas.compiler.space.members import dead_groups, prune_to
from bayesnas.compiler.space.prices import Prices, best_member, chosen
from bayesnas.runtime.runs.reading import (
    ANY_NUMBER,
    COUNT,
    TORCH_STATE,
    Schema,
    listed,
    record,
    table,
)
from bayesnas.runtime.strategies.bayesnas.updates import entropy
from bayesnas.runtime.strategies.widths.channels import Channels, View
from bayesnas.runtime.strategies.widths.costs import Timer, least_member, share_of, too_small
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.weights.choice import Limits, Ranking, fitting
from bayesnas.runtime.weights.curvature import gradient_of_channels
from bayesnas.runtime.weights.gated import believed
from bayesnas.runtime.weights.neighbours import StrandNeighbours
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.subject import Rows, kept_of
from bayesnas.runtime.weights.turns import Rises, Turns, over

AT_ONCE: Final = 4  # examples of a pass for the curvature: many small ones say more
TINY: Final = 1e-12
LASTING: Final = 0.1  # of what the loss rises by without channels, what training on leaves
PRICES: Final = 24  # of operations that are tried after none, up to where nothing else counts


@frozen
class Look:
    """What is known of channels at a time.

    Args:
        alive: which are there.
        layers: of the supernet, and what comes into them.
        rises: of the loss without each channel that is there.
        gamma: of all channels.
        unknown: those of which nothing in the subject says anything.
    """

    alive: Rows
    layers: Reconstruction
    rises: Rises
    gamma: Rows
    unknown: Rows

    @property
    def kept(self) -> Kept:
        """The channels that are there."""
        return kept_of(self.alive)


class Widths:
    """Decides which channels of a supernet go.

    Args:
        net: the supernet; what has gone is held at zero in its steps from now on.
        prices: of its candidates, without budgets.
        budgets: what the found network may cost.
        lambda_w: the likelihood counts as 1 / lambda_w examples.
        seed: of the examples that derivatives are taken on.
        clock: times of the supernet's operations, where a budget is of latency.
    """

    def __init__(
        self,
        net: Supernet,
        prices: Prices,
        budgets: Sequence[BudgetConstraint],
        lambda_w: float,
        seed: int,
        clock: Timer | None = None,
    ) -> None:
        self.lambda_w, self.clock = lambda_w, clock
        self.net, self.prices, self.budgets = net, prices.unlimited(), tuple(budgets)
        self.generator = torch.Generator().manual_seed(seed + 1)
        pace = None if clock is None else clock.pace
        self.channels = Channels(net, self.generator, pace)
        self.slices = self.channels.slices(net.graph)
        self.rows: list[dict[str, float]] = []  # what was found of each channel last
        self.settled: list[list[int]] = []  # channels that stay, strand by strand, at last

    # ----------------------------------------------------------------------------------- decisions

    def update(
        self, space: MemberSpace, worth: Mapping[str, float], gates: Tensor, rounds_left: int
    ) -> Member | None:
        """Some channels go; the member that is best with its channels, under budgets.

        Args:
            space: what is left of the supernet.
            worth: of its groups, what the log evidence loses without each, nats an example.
            gates: of the supernet [G].
            rounds_left: this one among them.

        Raises:
            DiagnosticError: D602, D604 (status 1): inputs of a layer are too large for their
                squares; no member was found inside the budgets.
        """
        view = self.channels.view(space.candidates())
        look = self._look(view, gates)
        if not self.budgets:
            self.channels.cut(view, self._by_entropy(look), look.layers)
            return None
        budgets = self._course(space, worth, view, look.kept, rounds_left)
        member, kept = self._best(space, worth, view, look, budgets)
        self.channels.cut(view, kept, look.layers)
        return member

    def possible(self, space: MemberSpace) -> bool:
        """Whether there is a member, and one that meets the budgets at some widths."""
        least = least_member(space, self.prices, self.slices, self.budgets)
        return least is not None and not unmet_budgets(least[1], self.budgets)

    def settle(self, groups: Member, gates: Tensor) -> None:
        """The channels of what stays, each for itself where it was tied before.

        What is left of the budgets goes to channels that had gone: they are learned anew.

        Raises:
            DiagnosticError: D602, as `update`; D609 (none was measured to be fast enough).
        """
        if not self.budgets:
            return
        view = self.channels.view(groups - {*dead_groups(self.net.graph, groups)})
        look = self._look(view, gates)
        alive, turns = look.alive, self._turns(view, view.graph, look.alive, self.budgets)
        turns.until(-math.inf, look.rises)
        scores = view.subject.split(turns.scores(look.rises))
        for strand, row in scores.items():
            row[~alive[strand]] = _late(row[alive[strand]], int((~alive[strand]).sum()))
        choose = partial(fitting, view.graph, view.slices, Ranking(scores, Limits()))
        if self.clock is None:
            kept: Kept = choose(self.budgets)
        else:
            self.clock = self.clock.on(view.graph, view.slices)
            kept = self.clock.fitting(choose, self.budgets)
        self.channels.cut(view, kept, look.layers)
        self.settled = [[*kept[strand]] for strand in view.subject.strands]

    def told(self, view: View) -> list[dict[str, Any]]:
        """Of each channel of what stays: its strand and number, whether it stays, what was found.

        That is of the last look, and nothing where that was of other channels.
        """
        kept, numbers = self.kept(view), {s: n for n, s in enumerate(view.slices.strands)}
        names = [(s, k) for s in view.subject.strands for k in range(s.size)]
        rows = self.rows if len(self.rows) == len(names) else [{} for _ in names]
        return [
            {"strand": numbers[s], "channel": k, **row, "kept": k in kept[s]}
            for (s, k), row in zip(names, rows, strict=True)
        ]

    def kept(self, view: View) -> Kept:
        """The channels that the found network has."""
        if not self.settled:
            return self.channels.kept(view)
        return dict(zip(view.subject.strands, self.settled, strict=True))

    def latency(self, view: View) -> int | None:
        """What the operations of the found network were measured to take, nanoseconds."""
        if self.clock is None:
            return None
        self.clock = self.clock.on(view.graph, view.slices)
        return self.clock.takes(self.kept(view))

    def remark(self, layers: Sequence[Layer]) -> str:
        """What is said where no layer has lost a channel; the empty text else."""
        if any(layer.channels_kept < layer.channels for layer in layers):
            return ""
        if self.budgets:
            return "no channel went: what was found is inside the budget with all of them"
        return (
            "no channel went: without a budget those go whose gamma falls to nothing, and none "
            "did; `--budget flops=AMOUNT` or `parameters=AMOUNT` asks for a smaller network"
        )

    def _look(self, view: View, gates: Tensor) -> Look:
        """What is known of channels now."""
        net, subject, settings = self.net, view.subject, self.net.settings
        part = net.fit_part.sample(settings.curvature_examples, self.generator).at_hand()
        batches = [*net.passes(part, settings.batch_size)]
        alive = self.channels.alive(view)
        there = subject.joined(alive).bool()  # of none, too
        layers = Reconstruction.of(net.module, subject.sliced, (x for x, _ in batches), gates)
        g = gradient_of_channels(subject, net.data.task, batches, gates)
        few = net.passes(part, AT_ONCE)
        rises = Rises.of(subject, net.data.task, few, layers, there, gates)
        unknown = subject.split(rises.unknown)
        unread = {strand for strand, row in unknown.items() if row.all()}
        neighbours = StrandNeighbours(subject, sources_of(view.slices), unread)
        belief = believed((g, rises.curvature), there, neighbours, self.lambda_w)
        rows = (rises.now().tolist(), belief.gamma.tolist(), belief.error.tolist())
        self.rows = [
            {"score": loss, "gamma": gamma, "gamma_error": error}
            for loss, gamma, error in zip(*rows, strict=True)
        ]
        return Look(alive, layers, rises, subject.split(belief.gamma), unknown)

    def _by_entropy(self, look: Look) -> Kept:
        """Without those of no positive entropy, the smallest gamma first, as many as may go.

        Of those that are unknown none goes.
        """
        kept, gamma = look.kept, look.gamma
        living = {s: len(channels) for s, channels in kept.items()}
        most = math.floor(self.net.settings.prune_fraction * sum(living.values()))
        low = [
            (float(gamma[s][k]), n, s, k)
            for n, (s, channels) in enumerate(kept.items())
            for k in channels
            if entropy(gamma[s][k]) <= 0 and not look.unknown[s][k]
        ]
        gone: set[tuple[Strand, int]] = set()
        for _, _, strand, k in sorted(low, key=lambda row: row[:2]):
            if len(gone) < most and living[strand] > 1:
                living[strand] -= 1
                gone.add((strand, k))
        return {s: [k for k in row if (s, k) not in gone] for s, row in kept.items()}

    def _course(
        self,
        space: MemberSpace,
        worth: Mapping[str, float],
        view: View,
        kept: Kept,
        rounds_left: int,
    ) -> tuple[BudgetConstraint, ...]:
        """Budgets of this round: costs fall by equal shares."""
        best = next(self._members(space, worth, {}))
        cost = kept_cost(prune_to(self.net.graph, best), view.slices, kept)

        def limit(budget: BudgetConstraint) -> int:
            now = cost.of(budget.cost)
            share = min(1.0, budget.limit / max(1, now))
            return max(budget.limit, int(now * share ** (1 / rounds_left)))

        return tuple(evolve(budget, limit=limit(budget)) for budget in self.budgets)

    def _best(
        self,
        space: MemberSpace,
        worth: Mapping[str, float],
        view: View,
        look: Look,
        budgets: Sequence[BudgetConstraint],
    ) -> tuple[Member, Kept]:
        """The member and the channels that are inside the budgets with the most evidence.

        Of operations that is what they are worth, of channels what the loss rises by without them,
        as far as it lasts.
        """
        costs = kept_costs(view.graph, view.slices, look.kept)
        prices = {
            group: sum(share_of(costs[edge.id], budgets) for edge in edges)
            for group, edges in view.graph.groups().items()
        }
        narrowest = {strand: channels[:1] for strand, channels in look.kept.items()}
        best: tuple[Member, Kept] | None = None
        most = -math.inf
        for member in dict.fromkeys(self._members(space, worth, prices)):
            evidence = sum(worth.get(option, 0.0) for option in chosen(space, member))
            graph = prune_to(self.net.graph, member)
            cost = kept_cost(graph, view.slices, narrowest)
            if evidence <= most or unmet_budgets(cost, budgets):
                continue
            turns = self._turns(view, graph, look.alive, budgets)
            turns.until(0, look.rises.copy())
            evidence -= LASTING * turns.risen
            if evidence > most:
                best, most = (member, turns.kept()), evidence
        if best is None:
            raise too_small(self.budgets, self._least(space)[1])
        return best

    def _members(
        self, space: MemberSpace, worth: Mapping[str, float], prices: Mapping[str, float]
    ) -> Iterator[Member]:
        """The member of the most evidence, then those at rising prices; all where several stay."""
        if self.net.settings.discretize == "no":
            yield frozenset(space.candidates())
            return
        top = max(map(abs, worth.values()), default=0.0) or 1.0
        dear = max(prices.values(), default=0.0) or 1.0
        for k in range(PRICES + 1):
            scale = top / dear * 2.0 ** (k - PRICES / 2) if k else 0.0
            options = {*space.candidates(), *space.options()}  # and to drop connections
            values = {o: worth.get(o, 0.0) - scale * prices.get(o, 0.0) for o in options}
            if (member := best_member(space, values, self.prices)) is not None:
                yield member
        yield self._least(space)[0]

    def _least(self, space: MemberSpace) -> tuple[Member, Cost]:
        """What takes the least of the budgets at one channel everywhere, and what that costs."""
        least = least_member(space, self.prices, self.slices, self.budgets)
        assert least is not None, "a space without members has been refused"
        return least

    def _turns(
        self, view: View, graph: Graph, alive: Rows, budgets: Sequence[BudgetConstraint]
    ) -> Turns:
        """Channels of a member that go one after another, until it is inside the budgets."""

        def excess(kept: Kept) -> float:
            cost = kept_cost(graph, view.slices, kept)
            return over(cost.of(b.cost) / max(1, b.limit) - 1 for b in budgets)

        return Turns(view.subject, excess, alive=view.subject.joined(alive).bool())

    # ------------------------------------------------------------------------------- interruption

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides the weights, which say what has gone."""
        return {
            "generator": self.generator.get_state(),
            "rows": self.rows,
            "settled": self.settled,
        }

    def state_schema(self) -> Schema:
        """What `state` gives."""
        rows, settled = listed(table(ANY_NUMBER)), listed(listed(COUNT))
        return record({"generator": TORCH_STATE, "rows": rows, "settled": settled})

    def restore(self, state: Mapping[str, Any], groups: Member) -> None:
        """Back to what `state` gave, once the weights are back; ``groups`` are left."""
        self.generator.set_state(state["generator"].cpu())
        self.rows, self.settled = state["rows"], state["settled"]
        view = self.channels.view(groups)
        self.channels.cut(view, self.channels.kept(view))


def _late(scores: Tensor, count: int) -> Tensor:
    """Of so many channels that had gone, in the order of their coming back [count], below 0.

    Strands of the highest mean score come first, and each less soon with every channel it gets.
    """
    mean = scores.mean().clamp(TINY, 1 / TINY) if len(scores) else TINY
    return -(torch.arange(count).to(scores) + 1) / mean
