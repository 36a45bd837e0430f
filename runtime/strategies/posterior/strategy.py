"""The strategy `posterior`: members are judged, and one posterior joins all that is known of them.

In the warm-up random parts of the space learn, then parts and single members by turns. After the
last round come the derivatives at the mean of the gates and the losses of the steps, as `Sources`;
members are judged by shared weights on held-out examples: the biggest, some at random, and then
those that draws from the posterior say are best (Thompson, *Biometrika* 1933; Zhou et al., AAAI
2020). What stays is the judged member of the least mean of the posterior.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from attrs import evolve
from torch import Tensor

from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.draws import random_member
from bayesnas.compiler.space.prices import best_member
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import (
    NUMBER,
    Schema,
    agreeing,
    between,
    both,
    listed,
    open_record,
)
from bayesnas.runtime.strategies.evidence import Look
from bayesnas.runtime.strategies.interface import Looks, Problem, Removal, Standing, Strategy
from bayesnas.runtime.strategies.posterior.belief import Belief
from bayesnas.runtime.strategies.posterior.effects import LEAST, effects
from bayesnas.runtime.strategies.posterior.judgements import Judgements
from bayesnas.runtime.strategies.posterior.regression import Regression
from bayesnas.runtime.strategies.posterior.sources import Capacity, Sources, indicators
from bayesnas.runtime.strategies.posterior.terms import EXAMPLES, FEWEST, Terms
from bayesnas.runtime.supernet.supernet import RECALIBRATION
from bayesnas.runtime.tasks.bundle import Inputs

REFERENCE: Final = 512  # random members that stand for the space
ENUMERATED: Final = 4096  # members up to which all of a space are looked at
GUIDED: Final = 64  # draws whose best members are looked at, where they are not all
CLIMB: Final = 3  # times a draw's function is taken linear anew
RANDOM: Final = 0.4  # share of the judged members that are any, but for the biggest
BATCH: Final = 4  # members judged before the posterior is taken anew
DRAWS: Final = 2000  # of the losses, for chances
CLOSE: Final = 0.01  # of the loss: members that near to the best are as good


class Posterior(Strategy):
    """One posterior over members, from capacity, derivatives, training losses and judgements."""

    default_draws = 40

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.members: list[list[int]] = []  # of every step that trained one, its groups' numbers
        self.losses: list[float] = []

    # ---------------------------------------------------------------------------------- training

    def step(self, inputs: Inputs, targets: Tensor, searching: bool) -> float:
        """A random part of the space learns in the warm-up, then a member every second step.

        Parts keep the mean of the gates, where the derivatives are taken, a network that works.
        """
        if not searching or self.net.steps % 2:
            return self.learn_part(inputs, targets)
        member = self.life.living(random_member(self.space, self.problem.prices, self.random))
        loss = self.learn_member(inputs, targets, member)
        self.members.append(sorted(self.net.gates.numbers[group] for group in member))
        self.losses.append(loss)
        return loss

    def _training_effects(self) -> Tensor:
        """What each group does to the loss of the later half of the members' steps [R]."""
        first = len(self.losses) // 2
        groups = len(self.net.gates.groups)
        if len(self.losses) - first < LEAST:
            return torch.zeros(groups, dtype=torch.float64)
        x = indicators(self.members[first:], groups)
        return effects(x, torch.tensor(self.losses[first:], dtype=torch.float64)).mean

    # ----------------------------------------------------------------------------------- choosing

    def _spare(self) -> int:
        """Images that judgements may take, so that no more are judged than trained in the end."""
        last = len(self.net.held_part) + min(RECALIBRATION, len(self.net.fit_part))
        return max(0, self.net.trained - self.net.evaluated - last)

    def update(self, number: int, rounds: int) -> Removal:
        """Members are judged after the last round, and the best of all stays."""
        if number < rounds:
            return Removal()
        reference = self._reference()
        if len(reference) == 1:
            return self.keep_only(reference[0], "alone")
        look = Look.at(self.space, self.problem)
        capacity = Capacity.of(self.problem.prices.graph, self.net.gates.numbers)
        sources = Sources.of(capacity, look, self._training_effects(), reference, self.life.living)
        belief, judged = self._judge(sources, reference)
        return self._choose(sources, belief, judged)

    def looks(self, rounds: int, trained: int) -> Looks:
        """With a look; no more is judged than is trained, but for the fewest members."""
        members = min(self.draws, self.space.count())
        watched = super().looks(rounds, trained).forward - members * self.judgement
        looks = Look.examples(self.problem)
        spare = trained - watched - looks.forward - looks.gradient - looks.curvature
        few = sum(min(EXAMPLES, len(part)) for part in (self.net.held_part, self.net.fit_part))
        fewest = min(FEWEST, self.space.count()) * few
        judged = max(fewest, min(members * self.judgement, spare))
        return evolve(looks, forward=looks.forward + watched + judged)

    def _reference(self) -> list[Member]:
        """Random members inside the budgets, or all in random order, each network once."""
        prices = self.problem.prices
        if self._enumerated():
            every = [m for m in self.space.members() if prices.fit(m)]
            self.random.shuffle(every)
            if every:
                return self.life.different(every)
        drawn = (random_member(self.space, prices, self.random) for _ in range(REFERENCE))
        return self.life.different(drawn)

    def _enumerated(self) -> bool:
        """Whether all members are looked at."""
        return self.space.count() <= ENUMERATED and not self.problem.prices.budgets

    def _judge(self, sources: Sources, reference: list[Member]) -> tuple[Belief, Judgements]:
        """Judge the biggest, any, then those that draws say are best; finalists on more."""
        biggest = best_member(self.space, self.sizes(), self.problem.prices)
        pool = self.life.different([*reference, *([] if biggest is None else [biggest])])
        most = min(max(FEWEST, self.draws), len(pool))
        terms = Terms.of(self._spare(), most, len(self.net.held_part), len(self.net.fit_part))
        asked = min(self.settings.draws, most)
        if terms.members < asked:
            say_note(
                f"{terms.members} of {asked} members are judged: more would take more images "
                "than the search has trained on; train it for longer"
            )
        sample = self.net.sample(self.net.held_part, terms.examples + terms.others)
        count, biggest = terms.members, self._biggest_of(pool)
        judged = Judgements(examples=max(1, terms.others) / terms.examples)

        def believed(regression: Regression | None = None) -> Belief:
            doublings = self._doublings()
            return Belief.of(sources, pool, judged, len(reference), doublings, regression)

        def look_at(members: list[Member]) -> Belief:
            for member in members:
                living, examples = self.life.living(member), sample.first(terms.examples)
                losses = self.net.losses(living, examples, terms.normalisation)
                judged.first[member] = losses.reshape(-1, terms.parts).mean(dim=0)
            return believed()

        first = [biggest, *(member for member in pool if member != biggest)]
        belief = look_at(first[: max(FEWEST, round(RANDOM * count))])
        while len(judged) < count:
            pool = self._widened(sources, belief, reference, judged)
            belief = believed(belief.regression)
            due = min(BATCH, count - len(judged))
            promising = _promising(belief, judged, due, self.net.generator)
            if not promising:
                break
            belief = look_at(promising)
        if terms.others:
            others = sample.subset(
                torch.arange(terms.examples, len(sample), device=self.net.device)
            )
            for member in _best(belief, judged)[: terms.finalists]:
                losses = self.net.losses(self.life.living(member), others, terms.normalisation)
                judged.again[member] = losses.mean(dim=0, keepdim=True)
            belief = believed()
        return belief, judged

    def _biggest_of(self, members: Iterable[Member]) -> Member:
        """Of some members, the biggest."""
        sizes = self.sizes()
        return max(members, key=lambda m: sum(sizes[group] for group in self.life.living(m)))

    def _widened(
        self,
        sources: Sources,
        belief: Belief,
        reference: list[Member],
        judged: Judgements,
    ) -> list[Member]:
        """The reference, what was judged, and the best members of functions that were drawn."""
        if self._enumerated():
            return reference
        guided: list[Member] = []
        coefficients = belief.regression.coefficients
        drawn = coefficients.sample(self.net.generator, GUIDED)
        for draw in (coefficients.mean, *drawn):
            at, before = sources.center, None
            for _ in range(CLIMB):
                values = self.net.gates.named(belief.values(sources, at, draw))
                member = best_member(self.space, values, self.problem.prices)
                if member is None or member == before:
                    break
                guided.append(member)
                at, before = sources.rows([member])[0], member
        return self.life.different([*reference, *judged, *guided])

    def _doublings(self) -> float:
        """Of the images seen, until the training that is wanted has ended; 0 at least."""
        epochs = self.settings.wanted_epochs or self.problem.train_epochs
        images = epochs * (len(self.net.fit_part) + len(self.net.held_part))
        return max(0.0, math.log2(images / max(1, self.net.trained)))

    def _choose(self, sources: Sources, belief: Belief, judged: Judgements) -> Removal:
        mean, held_out = belief.mean, dict(zip(judged, judged.losses.tolist(), strict=True))
        places = {member: n for n, member in enumerate(belief.members)}
        rows = [places[member] for member in _best(belief, judged)]
        best, biggest = rows[0], self._biggest_of(judged)
        losses = belief.losses(DRAWS, self.net.generator)
        least = losses.min(dim=1, keepdim=True).values
        bests = losses.argmin(dim=1)
        chance = torch.bincount(bests, minlength=len(mean)).to(mean.dtype) / DRAWS
        close = (losses <= least + CLOSE * least.abs()).to(mean.dtype).mean(dim=0)
        better = (losses < losses[:, best : best + 1]).to(mean.dtype).mean(dim=0)
        error = losses.std(dim=0)
        columns = {"loss": mean, "error": error, "best": chance, "close": close, "better": better}
        for n in rows:
            member = belief.members[n]
            numbers = {name: float(column[n]) for name, column in columns.items()}
            self.standings.append(
                Standing(member, judged=held_out[member], biggest=member == biggest, **numbers)
            )
        self._report(sources, belief, chance)
        return self.keep_only(belief.members[best], "posterior")

    def _report(self, sources: Sources, belief: Belief, chance: Tensor) -> None:
        """Of each group: its mean effect and error, and the chance that the best member has it."""
        members = sources.rows(belief.members)
        kept = chance @ members
        slopes = sources.slopes(sources.center)
        worth = belief.values(sources, sources.center, belief.regression.coefficients.mean)
        error = (slopes @ belief.regression.coefficients.root).square().sum(dim=1).sqrt()
        for group, n in sources.numbers.items():
            self.report[group] = {
                "w": float(worth[n]),
                "error": float(error[n]),
                "chance": float(kept[n]),
            }

    # ------------------------------------------------------------------------------ interruption

    def state(self) -> dict[str, Any]:
        """With all members and losses so far."""
        own = {"members": self.members, "losses": self.losses}
        return super().state() | own

    def state_schema(self) -> Schema:
        """With what `state` adds."""
        groups = listed(between(0, len(self.net.gates.groups) - 1))
        own = {"members": listed(groups), "losses": listed(NUMBER)}
        return both(super().state_schema(), open_record(own), agreeing(_miscounted))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to what `state` gave."""
        super().restore(state)
        self.members, self.losses = state["members"], state["losses"]


def _best(belief: Belief, judged: Judgements) -> list[Member]:
    """The judged members, that of the least mean of the posterior first."""
    mean = belief.mean
    places = {member: n for n, member in enumerate(belief.members)}
    return sorted(judged, key=lambda member: float(mean[places[member]]))


def _promising(
    belief: Belief, judged: Judgements, count: int, generator: torch.Generator
) -> list[Member]:
    """Different members not judged yet: the best of the mean, then the best of draws."""
    functions = [belief.mean[None], belief.judgements(8 * count, generator)]
    chosen: dict[Member, None] = {}
    for losses in torch.cat(functions):
        best = next(
            (
                belief.members[n]
                for n in losses.argsort().tolist()[: 4 * count + len(judged)]
                if belief.members[n] not in judged and belief.members[n] not in chosen
            ),
            None,
        )
        if best is not None and len(chosen) < count:
            chosen[best] = None
    return list(chosen)


def _miscounted(state: Mapping[str, Any]) -> str | None:
    """What does not fit together in a state; None if nothing."""
    if len(state["members"]) != len(state["losses"]):
        return "members and losses are not of one length"
    return None
