"""The compiler in one place: the passes in order, with the invariants checked between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from bayesnas.compiler.expand.expansion import expand
from bayesnas.compiler.expand.measure import measure
from bayesnas.compiler.graph.auxiliary import without_auxiliary
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.graph.verify import verify
from bayesnas.compiler.objectives import Objective, objectives_of
from bayesnas.compiler.passes.relays import insert_relays
from bayesnas.compiler.passes.shapes import infer_shapes
from bayesnas.compiler.passes.structure import check_structure
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.limits import stack_kept
from bayesnas.compiler.program.resolve import resolve
from bayesnas.compiler.space.latencies import Latencies
from bayesnas.compiler.space.members import check_budgets
from bayesnas.dsl import tree
from bayesnas.dsl.collector import without_collector
from bayesnas.dsl.loader import Loaded, load

# Each takes a graph and returns one; their modules' docstrings say what holds before and after.
PASSES: Final[tuple[Callable[[Graph], Graph], ...]] = (
    check_structure,
    infer_shapes,
    insert_relays,
)


@frozen
class Compiled:
    """A network with all that led to it.

    ``graph`` is the network, ``training`` the same with its auxiliary outputs, if it has some: they
    are there to be trained with, and nothing else knows of them.
    """

    loaded: Loaded
    program: Program
    network: tree.Network
    values: Mapping[str, int]
    graph: Graph
    training: Graph

    def settings(self, kind: str) -> dict[str, int | float | str]:
        """Entries of the spec's ``search`` or ``train`` block."""
        return {entry.name: entry.value for entry in self.program.settings[kind]}

    def at(self, values: Mapping[str, int]) -> Compiled:
        """The same at other values of some of its parameters.

        Raises:
            DiagnosticError: whatever is wrong with the spec at these values.
        """
        every, name = {**self.values, **values}, self.network.name
        compiled = compile_resolved(self.loaded, self.program, every, name)
        return compiled.learning(self.training.objectives)

    def learning(self, objectives: Sequence[Objective]) -> Compiled:
        """The same with these objectives of its outputs over those of the spec.

        Raises:
            DiagnosticError: D234, D235, D237 (they do not suit the network).
        """
        chosen = objectives_of(self.network, self.program.objectives, objectives)
        training = evolve(self.training, objectives=chosen)
        return evolve(self, training=training, graph=without_auxiliary(training))

    def budgeted(self, budgets: Sequence[BudgetConstraint]) -> Compiled:
        """The same under these budgets, over those of the spec that count the same."""
        named = {budget.cost for budget in budgets}
        kept = (budget for budget in self.graph.budgets if budget.cost not in named)
        return evolve(self, graph=evolve(self.graph, budgets=(*budgets, *kept)))

    def priced(self, latencies: Latencies | None) -> Compiled:
        """The same with the latencies of a table, if there is one.

        Raises:
            DiagnosticError: D228 (no member is fast enough), D612 (the table is of another
                network).
        """
        if latencies is None:
            return self
        graph = latencies.priced(self.graph)
        check_budgets(graph)
        return evolve(self, graph=graph)


def compile_spec(
    path: str | Path, values: Mapping[str, int] | None = None, network: str | None = None
) -> Compiled:
    """Compile a spec file (or a packaged spec, by name) up to its graph with i' nodes.

    Args:
        path: the spec.
        values: parameters of the network, over their defaults.
        network: which network of the file; the first, if none is named.

    Raises:
        DiagnosticError: whatever is wrong with the spec, all errors of a pass at once.
    """
    return compile_loaded(load(path), values, network)


def compile_loaded(
    loaded: Loaded, values: Mapping[str, int] | None = None, network: str | None = None
) -> Compiled:
    """Like `compile_spec`, for a spec that has been read."""
    return compile_resolved(loaded, resolve(loaded), values, network)


@without_collector()
def compile_resolved(
    loaded: Loaded,
    program: Program,
    values: Mapping[str, int] | None = None,
    network: str | None = None,
) -> Compiled:
    """Like `compile_loaded`, for a spec whose names are resolved: for many networks of it."""
    with stack_kept(loaded.main.span):
        chosen = program.network(network)
        measure(program, chosen, values or {})
        graph = expand(program, chosen, values or {})  # may hold cycles, which are refused next
        for apply in PASSES:
            graph = verify(apply(graph), apply.__name__)
        compiled = Compiled(loaded, program, chosen, dict(values or {}), graph, graph).learning(())
        check_budgets(compiled.graph)
    return compiled
