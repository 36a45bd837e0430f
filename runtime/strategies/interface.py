"""One interface for all strategies: how a search trains its supernet, and what it removes.

A search trains for `warmup_epochs`, then, round by round, trains for `epochs` and asks `update`
what goes. After the last update what is left meets the space's constraints.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from random import Random
from typing import Any, ClassVar, Final

from attrs import asdict, evolve, field, frozen
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.compiler.space.choices import Member, MemberSpace, member_space
from bayesnas.compiler.space.draws import no_member, random_member
from bayesnas.compiler.space.members import Life, group_costs
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.runtime.runs.reading import (
    ANY_NUMBER,
    DURATION,
    FLAG,
    NUMBER,
    PYTHON_STATE,
    Schema,
    between,
    listed,
    one_of,
    open_record,
    record,
    table,
)
from bayesnas.runtime.strategies.gaussian import Gaussian
from bayesnas.runtime.strategies.sampling import draw_members, thinned
from bayesnas.runtime.strategies.widths.decisions import Widths
from bayesnas.runtime.supernet.supernet import RECALIBRATION, Supernet
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.tasks.scores import Score

# Of `gates.jsonl`; docs/algorithm.md says what they are.
COLUMNS = ("w", "w_solved", "s", "gamma", "omega", "C", "error", "evidence_change", "chance")

UNDECIDED = 0.25  # chance to be better than what stays, from which the data do not decide


@frozen
class Removal:
    """Groups that go, each with its reason.

    ``refused`` are groups that should go and stay, since without them an output would no longer
    hear of any input; where the last round refuses some, the search has failed.
    """

    reasons: Mapping[str, str] = field(factory=dict)
    refused: tuple[str, ...] = ()


@frozen
class Standing:
    """What is believed of a member that was judged; losses in nats an example, on held-out ones.

    Args:
        member: the groups that it keeps.
        judged: its loss by shared weights.
        loss: the mean of its posterior, after the training that is wanted.
        error: the deviation of that posterior.
        best: chance to be the best of all that were thought of.
        close: chance to be within 1 % of the best's loss.
        better: chance to be better than the member that stays.
        biggest: whether it is the biggest member inside the budgets.
    """

    member: Member
    judged: float
    loss: float
    error: float
    best: float
    close: float
    better: float
    biggest: bool = False

    def record(self) -> dict[str, Any]:
        """As checkpoints have it."""
        return {**asdict(self), "member": sorted(self.member)}

    @classmethod
    def of_record(cls, entries: Mapping[str, Any]) -> Standing:
        """From what `record` gave."""
        return cls(**{**entries, "member": frozenset(entries["member"])})

    @staticmethod
    def schema(groups: Schema) -> Schema:
        """Of a `record`, by that of the name of a group."""
        chances = dict.fromkeys(("best", "close", "better"), between(0, 1, "number"))
        losses = {"judged": NUMBER, "loss": NUMBER, "error": DURATION}
        entries = {"member": listed(groups), **losses, **chances, "biggest": FLAG}
        return record(entries, optional=("biggest",))


@frozen
class Problem:
    """What a strategy is given.

    ``prices`` are those of the network that is wanted; the supernet may be a smaller one.
    ``train_epochs`` are those of its training, by the spec. ``widths`` decides on channels, where
    those are searched as well: then budgets are its own, and ``prices`` have none.
    """

    net: Supernet
    prices: Prices
    settings: SearchSettings
    seed: int
    train_epochs: int = TrainSettings().epochs
    widths: Widths | None = None

    @property
    def graph(self) -> Graph:
        """The supernet's graph."""
        return self.net.graph

    def possible(self, space: MemberSpace, values: Mapping[str, float]) -> bool:
        """Whether a member is left inside the budgets, at some widths where those are searched.

        ``values`` of options say where a member is looked for first.
        """
        if self.widths is not None:
            return self.widths.possible(space)
        return best_member(space, values, self.prices) is not None


@frozen
class Looks:
    """Examples that a search looks at besides those of its training steps.

    ``forward``: without gradients; ``gradient`` and ``curvature``: for these in the gates.
    """

    forward: int = 0
    gradient: int = 0
    curvature: int = 0


WATCHED: Final = 256  # examples that the score of a round takes; see `Strategy.score`


class Strategy(ABC):
    """The base of all strategies: what is left, random numbers, the report of every group."""

    trains: ClassVar[bool] = True  # whether it looks at data at all
    default_draws: ClassVar[int] = 0  # draws where the settings leave it to the strategy

    def __init__(self, problem: Problem) -> None:
        self.problem, self.net, self.settings = problem, problem.net, problem.settings
        self.space = member_space(problem.graph)
        self.random = Random(problem.seed)
        self.stable = False  # whether more rounds would change nothing
        self.report: dict[str, dict[str, float]] = {}  # of each group, what was found last
        self.standings: list[Standing] = []  # of judged members by their posterior, if there is one

    @property
    def draws(self) -> int:
        """How many members are drawn at last, and judged; 0 where nothing is to be compared."""
        draws = self.settings.draws or self.default_draws
        return draws if draws > 1 else 0

    @abstractmethod
    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:
        """One training step; the loss. ``searching`` is False before the first round.

        Where several processes work together, streamed inputs are those of this one's rows alone;
        `Supernet.descend` takes these.
        """

    def learn_part(self, inputs: Inputs, targets: Tensor) -> float:
        """A step in which a random part of the space learns; the loss."""
        part = thinned(self.space, self.settings.operation_drop, self.random)
        self.net.keep(part.candidates())
        return self.net.descend(inputs, targets, self.net.gates.at(part.mean()))

    @property
    def life(self) -> Life:
        """Which operations of a member do something."""
        return self.problem.prices.life

    def learn_member(self, inputs: Inputs, targets: Tensor, member: Member) -> float:
        """A step in which one member learns; the loss."""
        self.net.keep(member)
        return self.net.descend(inputs, targets, self.net.gates.at(dict.fromkeys(member, 1.0)))

    @abstractmethod
    def update(self, number: int, rounds: int) -> Removal:
        """What goes after round ``number`` of ``rounds``, counted from 1."""

    def score(self, whole: bool = True) -> Score:
        """What held-out examples say of what is left, normalisation recalibrated.

        All of them, or the first `WATCHED` and as many for normalisation: a round's score is to be
        looked at, and images are better spent on what decides.
        """
        self.net.keep(self.space.candidates())
        gates = self.gates()
        with self.net.recalibrated(gates, None if whole else WATCHED):
            return self.net.score(gates, None if whole else self.net.held_part.first(WATCHED))

    def looks(self, rounds: int, trained: int) -> Looks:
        """What all of a search will look at, but for widths, as `estimate` foretells it.

        Args:
            rounds: of updates.
            trained: examples of all training steps together.
        """
        del trained
        held, fit = len(self.net.held_part), len(self.net.fit_part)
        watched = rounds * (min(WATCHED, held) + min(WATCHED, fit))
        judged = min(self.draws, self.space.count())
        return Looks(watched + (1 + judged) * self.judgement)

    @property
    def judgement(self) -> int:
        """Examples that a judgement by all held-out ones takes, normalisation recalibrated."""
        return len(self.net.held_part) + min(RECALIBRATION, len(self.net.fit_part))

    def gates(self) -> Tensor:
        """The gates [G] at which the supernet stands for what is left."""
        return self.net.gates.at(self.space.mean())

    def finish(self) -> Removal:
        """What still goes where `stable` has ended the search early."""
        return Removal()

    def remedy(self) -> str:
        """What helps where a search has ended with groups refused."""
        return "search fewer `rounds`"

    def rows(self) -> list[dict[str, Any]]:
        """What was found of each gate, in order; a column that a strategy has not is None."""
        rows = []
        for edge in self.problem.graph.searched():
            numbers = self.report.get(edge.searched_gate.group, {})
            rows.append({name: numbers.get(name) for name in COLUMNS})
        return rows

    def runners_up(self) -> list[Member]:
        """Members that the data do not tell from the one that stays, the best first."""
        return [s.member for s in self.standings[1:] if s.better >= UNDECIDED]

    def _narrow(self, worth: Mapping[str, float], rounds_left: int) -> Member | None:
        """Channels go, if they are searched; the member that is best with its channels.

        Args:
            worth: of the groups that are left, what the log evidence loses without each.
            rounds_left: this one among them.
        """
        if self.problem.widths is None:
            return None
        self.net.keep(self.space.candidates())
        with self.net.recalibrated(self.gates()):
            return self.problem.widths.update(self.space, worth, self.gates(), rounds_left)

    def _finish_widths(self) -> None:
        """The channels of what stays, if they are searched."""
        if self.problem.widths is not None:
            self.net.keep(self.space.candidates())
            with self.net.recalibrated(self.gates()):
                self.problem.widths.settle(self.space.candidates(), self.gates())

    def settle(self, values: Mapping[str, float], reason: str) -> Removal:
        """Everything goes but the member of the largest sum of values inside the budgets.

        Raises:
            DiagnosticError: D604 (status 1) if no member was found inside the budgets.
        """
        member = best_member(self.space, values, self.problem.prices)
        if member is None:
            raise no_member(self.problem.prices)
        return self.keep_only(member, reason)

    def sizes(self) -> dict[str, int]:
        """Parameters of each group, or what the budgets count; the biggest member has the most."""
        prices = self.problem.prices
        name = prices.budgets[0].cost if prices.budgets else "parameters"
        return group_costs(prices.graph, name)

    def drawn_members(self, posterior: Gaussian) -> list[Member]:
        """Members of draws from what the groups are worth, as `draw_members` has it.

        Raises:
            DiagnosticError: D604 (status 1) if no member was found inside the budgets.
        """
        members = draw_members(self.space, self.problem.prices, posterior, self.net, self.draws)
        if not members:
            raise no_member(self.problem.prices)
        return members

    def random_members(self) -> list[Member]:
        """Random members inside the budgets, one at least, each network once.

        Raises:
            DiagnosticError: D604 (status 1) if no member was found inside the budgets.
        """
        drawn = (
            random_member(self.space, self.problem.prices, self.random)
            for _ in range(max(1, self.draws))
        )
        return self.life.different(drawn)

    def keep_judged(self, members: Collection[Member]) -> Removal:
        """That of the least held-out loss by shared weights stays, normalisation recalibrated.

        One alone is not looked at. Operations that nothing reads, or that read nothing, are left
        out: of nothing, too, they would make something.
        """
        best = next(iter(members))
        if len(members) > 1:
            losses = {m: self.net.judge(self.life.living(m)).loss for m in members}
            best = min(losses, key=lambda m: (math.isnan(losses[m]), losses[m], sorted(m)))
        return self.keep_only(best, "judged")

    def keep_only(self, member: Member, reason: str) -> Removal:
        """Everything goes but this member."""
        going = self.space.candidates() - member
        self.space = self.space.only(member)
        return Removal(dict.fromkeys(sorted(going), reason))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides the supernet."""
        return {
            "candidates": sorted(self.space.candidates()),
            "required": sorted(self.space.required),
            "random": self.random.getstate(),
            "report": self.report,
            "standings": [standing.record() for standing in self.standings],
        }

    def state_schema(self) -> Schema:
        """What `state` gives of every strategy; those that keep more say so."""
        groups = one_of(self.net.gates.groups)
        connections = [c.name for c in member_space(self.problem.graph).connections]
        return open_record(
            {
                "candidates": listed(groups),
                "required": listed(one_of(connections)),
                "random": PYTHON_STATE,
                "report": table(table(ANY_NUMBER, one_of(COLUMNS)), groups),
                "standings": listed(Standing.schema(groups)),
            }
        )

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        space = member_space(self.problem.graph).restricted(state["candidates"])
        self.space = evolve(space, required=frozenset(state["required"]))
        version, numbers, gauss = state["random"]
        self.random.setstate((version, tuple(numbers), gauss))
        self.report = state["report"]
        self.standings = [Standing.of_record(entries) for entries in state["standings"]]


def evidence_change(gradient: Tensor, curvature: Tensor, move: Tensor) -> float:
    """The second-order change of the log evidence, in nats an example: -(g^T d + d^T H d / 2).

    Of a move that takes an operation out it is negative where the operation is missed. Prices of a
    budget are no part of it.

    Args:
        gradient: g of the mean loss in some gates [K].
        curvature: H of the mean loss in them [K, K].
        move: d, what the gates move by [K].
    """
    return -float(gradient @ move + move @ curvature @ move / 2)
