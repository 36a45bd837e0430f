"""How much a spec expands to, by arithmetic alone: what is too large is refused before it is built.

In: a `Program`, one of its networks and values of its parameters. Out: the `Size` of what `expand`
will build, exact for a spec without mistakes. Non-goals: wrong numbers; what has no value counts
as nothing here, and expansion reports it.

Connections are multiplied out, loops are walked turn by turn, and a motif is measured once for
each set of values it is given, however many instances of it there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import define, field
from typing_extensions import assert_never, override

from bayesnas.compiler.expand.calls import Row, network_values
from bayesnas.compiler.expand.counts import STATEMENT, Counts, Part, key_of, weight
from bayesnas.compiler.expand.scopes import Bundle, Connecting, Motiflike, Scope, Selection, total
from bayesnas.compiler.expand.walk import Named, Walk
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import evaluate
from bayesnas.compiler.program.limits import (
    LIMITS,
    MAX_DEPTH,
    MAX_TURNS,
    MAX_WALK,
    Size,
    too_large,
)
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError

# Steps that stand for the work of an instance and a choice besides their parts.
_INSTANCE, _CHOICE = 30, 8


def measure(program: Program, network: tree.Network, values: Mapping[str, int]) -> Size:
    """See the module's docstring; ``values`` override the defaults of the network's parameters.

    Raises:
        DiagnosticError: D224 (past a limit of `bayesnas.compiler.program.limits`), at the
            statement that makes most of it.
    """
    try:
        numbers = network_values(network, values)
    except DiagnosticError:  # nothing will be built
        return Size()
    measurer = _Measurer(program)
    root = measurer.part(_Measured(network, numbers, {}, 0))
    size = root.total.plus(Size(nodes=_ports(network), instances=1))
    for what, limit in LIMITS.items():
        if (count := getattr(size, what)) > limit:
            raise measurer.counts.refusal(root, what, count, limit)
    return size


@define
class _Measured(Scope):
    """An instance while what it holds is counted."""

    part: Part = field(init=False)

    def __attrs_post_init__(self) -> None:
        Scope.__attrs_post_init__(self)
        self.part = Part(self.graph)


class _Measurer(Walk[_Measured]):
    """Counts; each motif is walked once for all instances that are alike."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.counts = Counts()
        self.choices: dict[tuple[str, tuple[tuple[str, int], ...]], int] = {}
        self.turns = 0
        self.steps = 0

    def part(self, scope: _Measured) -> Part:
        """What an instance of the scope's motif holds."""
        key = key_of(scope)
        part = self.counts.parts.get(key)
        if part is not None and scope.depth + part.height <= MAX_DEPTH:
            return part
        self.steps += _INSTANCE
        self.counts.unfinished.append(scope.part)
        self.fill(scope)
        self.counts.unfinished.pop()
        self.counts.finish(key, scope.part)
        return scope.part

    # -------------------------------------------------------------------------------- reading

    @override
    def read(self, scope: _Measured, statement: tree.Statement) -> None:
        visits = scope.part.visits
        visits[id(statement)] = visits.get(id(statement), 0) + 1
        self._spend(scope, statement, self.counts.steps(statement, scope.graph))

    def _spend(self, scope: _Measured, statement: tree.Statement, steps: int) -> None:
        """Take the time that reading takes, so that no walk lasts."""
        self.steps += steps
        if self.steps > MAX_WALK:
            visits = scope.part.visits[id(statement)]
            share = max(steps, visits * self.counts.steps(statement, scope.graph))
            where = f"`{scope.graph.name}`"
            raise too_large("walk", MAX_WALK, MAX_WALK, statement, share, where)

    @override
    def turn(self, scope: _Measured, loop: tree.Loop, turns: int) -> None:
        scope.part.add(loop, "turns", turns)
        self.turns += turns
        if self.turns > MAX_TURNS:
            raise self.counts.too_many_turns(self.turns)

    # ------------------------------------------------------------------------------- counting

    @override
    def make(
        self, scope: _Measured, statement: tree.Statement, named: Named, indices: range | None
    ) -> None:
        scope.part.add(statement, "nodes", 1 if indices is None else len(indices))

    @override
    def declared(
        self, scope: _Measured, statement: tree.NodeDeclaration, sizes: list[int | None]
    ) -> None:
        pass

    @override
    def define(self, scope: _Measured, target: Selection, merge: str) -> None:
        pass

    @override
    def connect(self, scope: _Measured, bundle: Bundle) -> None:
        part, statement = scope.part, bundle.statement
        sources, targets = total(bundle.sources), total(bundle.targets)
        if isinstance(statement, tree.Connect):  # it may read much to lay nothing
            part.add(statement, "steps", sources + targets)
        if pairs := sources * targets:
            operations = self._operations(scope, statement, bundle.unrolled.values)
            part.add(statement, "edges", pairs * operations)
            if isinstance(statement, tree.Connect) and statement.searched and operations:
                part.add(statement, "relays", 2 * pairs)  # i' and the edge to it

    @override
    def retain(
        self, scope: _Measured, statement: tree.Retain, targets: list[Selection], count: int
    ) -> None:
        scope.part.add(statement, "retained", total(targets))

    @override
    def budget(self, statement: tree.Budget, limit: int) -> None:
        pass

    @override
    def instances(self, scope: _Measured, row: Row) -> None:
        part, call = scope.part, row.call
        # A long chain that reduces often has many kinds of links.
        part.add(call, "steps", len(row) * len(row.reductions))
        for values, count in row.links:
            self._spend(scope, call, STATEMENT + len(values))
            inner = _Measured(row.motif, values, row.motifs, scope.depth + 1)
            self.part(inner)
            key = key_of(inner)
            part.inside[key] = part.inside.get(key, 0) + count
            part.add(call, "instances", count)
            part.add(call, "nodes", count * _ports(row.motif))
            part.add(call, "edges", count * _ports(row.motif))  # one to or from each

    # ----------------------------------------------------------------------------- candidates

    def _operations(
        self, scope: _Measured, statement: Connecting, values: Mapping[str, int]
    ) -> int:
        """How many edges a statement lays from one node to another."""
        if isinstance(statement, tree.Merge) or statement.operation is None:
            return 1
        if isinstance(statement, tree.Connect) and statement.searched:
            return self._candidates(scope, statement, statement.operation, values)
        operation = statement.operation
        return len(operation.branches) if isinstance(operation, tree.Parallel) else 1

    def _candidates(
        self,
        scope: _Measured,
        statement: tree.Statement,
        term: tree.OperationTerm,
        values: Mapping[str, int],
    ) -> int:
        """How many candidates `bayesnas.compiler.expand.lower.candidates` makes of a term."""
        match term:
            case tree.Alternatives(options=options):
                return sum(self._candidates(scope, statement, o, values) for o in options)
            case tree.Conditional():
                chosen = term.then if evaluate(term.condition, values) else term.otherwise
                return self._candidates(scope, statement, chosen, values)
            case tree.Call(name=name):
                choice = self.program.operations.get(name)
                if isinstance(choice, tree.ChoiceDefinition):
                    return self._choice(scope, statement, choice, term, values)
                return 1
            case tree.Pipeline() | tree.Parallel():
                return 1
            case _:
                assert_never(term)

    def _choice(
        self,
        scope: _Measured,
        statement: tree.Statement,
        choice: tree.ChoiceDefinition,
        call: tree.Call,
        values: Mapping[str, int],
    ) -> int:
        names = [p.name for p in choice.parameters]
        given = {(a.name or names[n]): a.value for n, a in enumerate(call.arguments)}
        actual = _numbers(choice, given, values)
        key = (choice.name, tuple(actual.items()))
        self._spend(scope, statement, _CHOICE)
        if key not in self.choices:
            self._spend(scope, statement, _CHOICE * weight(choice.body))
            self.choices[key] = self._candidates(scope, statement, choice.body, actual)
        return self.choices[key]


def _numbers(
    choice: tree.ChoiceDefinition,
    given: Mapping[str, tree.Expression],
    values: Mapping[str, int],
) -> dict[str, int]:
    """The parameters of a choice; those without a value are left out, since it may not use them."""
    numbers: dict[str, int] = {}
    for parameter in choice.parameters:
        name, default = parameter.name, parameter.default
        with suppress(DiagnosticError):
            if name in given:
                numbers[name] = evaluate(given[name], values)
            elif default is not None:
                numbers[name] = evaluate(default, numbers)
    return numbers


def _ports(motif: Motiflike) -> int:
    """How many nodes are inputs and outputs."""
    return len(motif.inputs) + len(motif.outputs)
