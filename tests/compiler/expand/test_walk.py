"""The walk that measuring and expanding share: no kind of statement counts as nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

import pytest
from attrs import evolve, field, frozen
from support import network, resolve_text

from bayesnas.compiler.expand.expansion import expand
from bayesnas.compiler.expand.measure import measure
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.limits import Size
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span

STEP = "motif step(a) -> (b) { a -> b : relu }\nmotif turn(a, b) -> (c) { c = sum(a, b) }\n"
REST = "\nx -> y"
# Each kind of statement, and what one more of it makes: nodes, edges, instances, retained, turns.
KINDS: dict[type, tuple[str, tuple[int, int, int, int, int]]] = {
    tree.NodeDeclaration: ("node h[3]", (3, 0, 0, 0, 0)),
    tree.Merge: ("h = concat(x, x)", (1, 2, 0, 0, 0)),
    tree.Transform: ("h = x : relu", (1, 1, 0, 0, 0)),
    tree.Connect: ("x ~> y : relu | skip", (0, 2, 0, 0, 0)),
    tree.Instantiation: ("h = step(x)", (3, 3, 1, 0, 0)),
    tree.Scan: ("h = scan turn(x) from x", (4, 5, 1, 0, 0)),
    tree.Chain: ("h = chain step(x) times 2", (6, 6, 2, 0, 0)),
    tree.Loop: ("for k in 0..3 { }", (0, 0, 0, 0, 3)),
    tree.Branch: ("if 1 { x -> y }", (0, 1, 0, 0, 0)),
    tree.Retain: ("retain 1 into y", (0, 0, 0, 1, 0)),
    tree.Budget: ("budget parameters <= 3M", (0, 0, 0, 0, 0)),
}


def measured(text: str) -> Size:
    program = resolve_text(text)
    return measure(program, program.network(), {})


def test_the_table_has_every_kind_of_statement() -> None:
    assert set(KINDS) == set(get_args(tree.Statement))


@pytest.mark.parametrize("kind", KINDS)
def test_every_statement_is_counted(kind: type) -> None:
    """What it makes, and the steps to read it; that expansion makes as much, others test."""
    text, made = KINDS[kind]
    program = resolve_text(STEP + network(text + REST))
    assert isinstance(program.network().body[0], kind)
    more, less = measure(program, program.network(), {}), measured(STEP + network(REST))
    names = ("nodes", "edges", "instances", "retained", "turns")
    assert tuple(getattr(more, n) - getattr(less, n) for n in names) == made
    assert more.steps > less.steps


@frozen
class Unheard:
    """A kind of statement that no pass has heard of."""

    span: Span = field(eq=False, repr=False, kw_only=True)


@pytest.mark.parametrize("action", [measure, expand])
@pytest.mark.parametrize("around", [REST, "for k in 0..2 { x -> y }", "if 1 { x -> y }"])
def test_a_new_kind_of_statement_is_not_passed_over(
    around: str, action: Callable[[Program, tree.Network, dict[str, int]], object]
) -> None:
    program = resolve_text(network(around))
    statement = program.network().body[0]
    unheard = cast(Any, Unheard(span=statement.span))
    if isinstance(statement, tree.Loop):
        unheard = evolve(statement, body=(unheard,))
    elif isinstance(statement, tree.Branch):
        unheard = evolve(statement, then=(unheard,))
    chosen = evolve(program.network(), body=(unheard,))
    with pytest.raises(AssertionError, match="Unheard"):
        action(program, chosen, {})
