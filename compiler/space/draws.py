"""Random members of a space, inside budgets, and what is said where there are none."""

from __future__ import annotations

from random import Random
from typing import Final

from bayesnas.compiler.graph.cost import budgets_text
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.space.choices import Member, MemberSpace, member_space
from bayesnas.compiler.space.members import JOINING, least_note, prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

DRAWS: Final = 200


def draw_member(graph: Graph, seed: int) -> tuple[Member, Graph]:
    """A living member inside the budgets of a graph, and the graph of it.

    Each is as likely as any other, but for two things: a draw in which nothing reaches an output
    gets back connections at random until something does (one that no connection brings to life,
    since a node keeps so many, is drawn anew), and where no draw fits, random values decide.

    Raises:
        DiagnosticError: D601 (status 1) if no member was found that joins all inputs and outputs,
            D604 (status 1) if none was found inside the budgets, D611 (a budget of time, and no
            latencies are known).
    """
    prices, space, random = Prices.of(graph, graph.budgets), member_space(graph), Random(seed)
    living = False
    for _ in range(DRAWS):
        order = list(space.connections)
        random.shuffle(order)
        member = prices.life.revive(space.draw(random), order, lambda c: random.choice(c.options))
        alive = prices.life.alive(member)
        if alive and prices.fit(member):
            return member, prune_to(graph, member)
        living = living or alive
    best = _by_random_values(space, prices, random)
    if best is None:
        raise no_member(prices if living else prices.unlimited())
    return best, prune_to(graph, best)


def random_member(space: MemberSpace, prices: Prices, random: Random) -> Member:
    """A random member inside the budgets.

    Each that fits is as likely as any other; where `DRAWS` draws do not fit, random values decide.

    Raises:
        DiagnosticError: D604 (status 1) if no member was found inside the budgets.
    """
    for _ in range(DRAWS):
        member = space.draw(random)
        if prices.life.alive(member) and prices.fit(member):
            return member
    best = _by_random_values(space, prices, random)
    if best is None:
        raise no_member(prices)
    return best


def _by_random_values(space: MemberSpace, prices: Prices, random: Random) -> Member | None:
    # In the space's own order: sets have another in each process.
    values = {o: random.random() for c in space.connections for o in c.options}
    return best_member(space, values, prices)


def no_member(prices: Prices, status: int = 1) -> DiagnosticError:
    """D604: nothing was found inside the budgets; ``status`` 2 before any work.

    Without a budget it is D601: nothing joins all inputs and outputs.
    """
    if not prices.budgets:
        message = "no member of the space was found that joins all inputs and outputs"
        return DiagnosticError(Diagnostic("D601", message, help=JOINING), status=status)
    return DiagnosticError(
        Diagnostic(
            "D604",
            "no member of the space was found inside the budget",
            prices.budgets[0].span,
            notes=(f"budget: {budgets_text(prices.budgets)}", least_note(prices.graph)),
            help="raise the budget, or make the space smaller: its width, or its number of cells",
        ),
        status=status,
    )
