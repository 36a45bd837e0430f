"""How much a spec expands to, by arithmetic alone: what is too large is refused before it is built.

In: a `Program`, one of its networks and values of its parameters. Out: the `Size` of what `expand`
will build, exact for a spec without mistakes. Non-goals: wrong numbers; what has no value counts
as nothing here, and expansion reports it.

Connections are multiplied out, loops are walked turn by turn, and a motif is measured once for
each set of values it is given, however many instances of it there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from attrs import define, field

from bayesnas.compiler.expand.sizes import (
    Motiflike,
    Scope,
    complete,
    kept,
    known,
    links,
    ports,
    weight,
)
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import evaluate
from bayesnas.compiler.program.limits import (
    COUNTED,
    LIMITS,
    MAX_DEPTH,
    MAX_TURNS,
    MAX_WALK,
    Counted,
    Limited,
    Size,
    about,
    too_deep,
    too_large,
)
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError

_Call: TypeAlias = tree.Instantiation | tree.Chain
# A motif, its numbers and the motifs passed to it: instances alike in these expand alike.
_Key: TypeAlias = tuple[int, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]
# Steps that stand for the work of an instance, a choice and a statement besides their parts.
_INSTANCE, _CHOICE, _STATEMENT = 30, 8, 3


def measure(program: Program, network: tree.Network, values: Mapping[str, int]) -> Size:
    """See the module's docstring; ``values`` override the defaults of the network's parameters.

    Raises:
        DiagnosticError: D224 (past a limit of `bayesnas.compiler.limits`), at the statement that
            makes most of it.
    """
    measurer = _Measurer(program)
    root = measurer.part(Scope(network, complete(network, values), {}, 0))
    size = root.total.plus(Size(nodes=ports(network), instances=1))
    for what, limit in LIMITS.items():
        if (count := getattr(size, what)) > limit:
            raise measurer.refusal(root, what, count, limit)
    return size


@define(eq=False)
class _Part:
    """What one instance holds: its own, put down to its statements, and instances inside it.

    The instances inside and their ports are its own, and what they hold is not.
    """

    motif: Motiflike
    own: dict[Counted, int] = field(factory=lambda: dict.fromkeys(COUNTED, 0))
    shares: dict[Limited, dict[int, int]] = field(
        factory=lambda: {"size": {}, "turns": {}, "steps": {}}
    )  # by id of the statement
    visits: dict[int, int] = field(factory=dict)  # id of statement -> how often it was walked
    inside: dict[_Key, int] = field(factory=dict)
    height: int = 0  # levels of motifs below it
    total: Size = field(factory=Size)

    def add(self, statement: tree.Statement, what: Counted, count: int) -> None:
        """Put so much down to a statement."""
        if count:
            self.own[what] += count
            shares = self.shares[COUNTED[what]]
            shares[id(statement)] = shares.get(id(statement), 0) + count


class _Measurer:
    """Measures motifs, each once for all instances that are alike."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.parts: dict[_Key, _Part] = {}  # what lies inside another comes before that other
        self.statements: dict[int, tuple[tree.Statement, Motiflike]] = {}
        self.weights: dict[int, int] = {}
        self.choices: dict[tuple[str, tuple[tuple[str, int], ...]], int] = {}
        self.unfinished: list[_Part] = []
        self.turns = 0
        self.steps = 0

    def part(self, scope: Scope) -> _Part:
        """What an instance of the scope's motif holds."""
        key = _key(scope)
        known_part = self.parts.get(key)
        if known_part is not None and scope.depth + known_part.height <= MAX_DEPTH:
            return known_part
        self.steps += _INSTANCE
        part = _Part(scope.motif)
        self.unfinished.append(part)
        self._declare(scope, part, scope.motif.body)
        self._walk(scope, part, scope.motif.body)
        self.unfinished.pop()
        self._finish(part)
        self.parts[key] = part
        return part

    def _finish(self, part: _Part) -> None:
        for identity, visits in part.visits.items():
            steps = visits * self.weights[identity]
            part.add(self.statements[identity][0], "steps", steps)
        part.total = Size(**part.own)
        for key, count in part.inside.items():
            inner = self.parts[key]
            part.total = part.total.plus(inner.total, count)
            part.height = max(part.height, 1 + inner.height)

    def refusal(self, root: _Part, what: Limited, count: int, limit: int) -> DiagnosticError:
        """The diagnostic at the statement that makes most of it, in all instances together."""
        times: Counter[_Key] = Counter()
        instances: Counter[int] = Counter()
        totals: Counter[int] = Counter()
        for key, part in reversed(self.parts.items()):
            many = times[key] + (part is root)
            instances[id(part.motif)] += many
            for inner, number in part.inside.items():
                times[inner] += many * number
            for identity, share in part.shares[what].items():
                totals[identity] += many * share
        identity, share = totals.most_common(1)[0]
        statement, motif = self.statements[identity]
        where = f"`{motif.name}`"
        if isinstance(motif, tree.Motif):
            many = instances[id(motif)]
            where += f", {about(many)} instance{'s' * (many > 1)} of it"
        return too_large(what, count, limit, statement, share, where)

    # ------------------------------------------------------------------------------- walking

    def _declare(self, scope: Scope, part: _Part, body: Iterable[tree.Statement]) -> None:
        """Names and lengths first, as in expansion; resolve lets no loop declare anything."""
        for statement in body:
            try:
                if isinstance(statement, tree.Branch):
                    self._declare(scope, part, scope.taken(statement))
                elif made := scope.declare(statement):
                    self._enter(scope, statement)
                    part.add(statement, "nodes", made)
            except DiagnosticError as error:
                _pass_over(error)

    def _walk(self, scope: Scope, part: _Part, body: Iterable[tree.Statement]) -> None:
        for statement in body:
            identity = id(statement)
            if identity not in self.weights:
                self._enter(scope, statement)
            part.visits[identity] = part.visits.get(identity, 0) + 1
            self._spend(part, statement, self.weights[identity])
            try:
                match statement:
                    case tree.Connect() | tree.Merge() | tree.Transform() | tree.Retain():
                        self._lay(scope, part, statement)
                    case tree.Loop():
                        self._loop(scope, part, statement)
                    case tree.Branch():
                        self._walk(scope, part, scope.taken(statement))
                    case tree.Instantiation() | tree.Chain():
                        self._call(scope, part, statement)
                    case _:
                        pass
            except DiagnosticError as error:
                _pass_over(error)

    def _enter(self, scope: Scope, statement: tree.Statement) -> None:
        if id(statement) not in self.weights:
            self.weights[id(statement)] = _STATEMENT + weight(statement)
            self.statements[id(statement)] = (statement, scope.motif)

    def _spend(self, part: _Part, statement: tree.Statement, steps: int) -> None:
        """Take the time that reading takes, so that no walk lasts."""
        self.steps += steps
        if self.steps > MAX_WALK:
            share = max(steps, part.visits.get(id(statement), 1) * self.weights[id(statement)])
            where = f"`{part.motif.name}`"
            raise too_large("walk", MAX_WALK, MAX_WALK, statement, share, where)

    def _loop(self, scope: Scope, part: _Part, loop: tree.Loop) -> None:
        start, stop = evaluate(loop.start, scope.values), evaluate(loop.stop, scope.values)
        turns = max(0, stop - start)
        part.add(loop, "turns", turns)
        self.turns += turns
        if self.turns > MAX_TURNS:
            raise self._too_many_turns()
        for k in range(start, stop):
            scope.values[loop.variable] = k
            self._walk(scope, part, loop.body)
        scope.values.pop(loop.variable, None)

    def _too_many_turns(self) -> DiagnosticError:
        """The turns walked so far are too many: most of them were this loop's."""
        walked: Counter[int] = Counter()
        for part in (*self.parts.values(), *self.unfinished):
            walked.update(part.shares["turns"])
        identity, share = walked.most_common(1)[0]
        loop, motif = self.statements[identity]
        return too_large("turns", self.turns, MAX_TURNS, loop, share, f"`{motif.name}`")

    # ------------------------------------------------------------------------------- counting

    def _lay(
        self,
        scope: Scope,
        part: _Part,
        statement: tree.Merge | tree.Transform | tree.Connect | tree.Retain,
    ) -> None:
        """Edges, or retained nodes, of a statement that makes no instance."""
        match statement:
            case tree.Merge(sources=sources):
                part.add(statement, "edges", scope.lookups(sources))
            case tree.Transform(source=source, operation=operation):
                part.add(statement, "edges", scope.lookup(source) * kept(operation))
            case tree.Retain(targets=targets):
                part.add(statement, "retained", scope.lookups(targets))
            case tree.Connect(sources=sources, targets=targets):
                many, into = scope.lookups(sources), scope.lookups(targets)
                part.add(statement, "steps", many + into)
                if pairs := many * into:
                    operations = self._operations(scope, part, statement)
                    part.add(statement, "edges", pairs * operations)

    def _operations(self, scope: Scope, part: _Part, statement: tree.Connect) -> int:
        """How many edges the statement lays from one node to another."""
        if statement.operation is None:
            return 1
        if not statement.searched:
            return kept(statement.operation)
        return self._candidates(part, statement, statement.operation, scope.values)

    def _candidates(
        self,
        part: _Part,
        statement: tree.Connect,
        term: tree.OperationTerm,
        values: Mapping[str, int],
    ) -> int:
        """How many candidates a term stands for: see `bayesnas.compiler.lower.candidates`."""
        match term:
            case tree.Alternatives(options=options):
                return sum(self._candidates(part, statement, o, values) for o in options)
            case tree.Conditional():
                chosen = term.then if evaluate(term.condition, values) else term.otherwise
                return self._candidates(part, statement, chosen, values)
            case tree.Call(name=name):
                choice = self.program.operations.get(name)
                if isinstance(choice, tree.ChoiceDefinition):
                    return self._choice(part, statement, choice, term, values)
        return 1

    def _choice(
        self,
        part: _Part,
        statement: tree.Connect,
        choice: tree.ChoiceDefinition,
        call: tree.Call,
        values: Mapping[str, int],
    ) -> int:
        names = [p.name for p in choice.parameters]
        given = {(a.name or names[n]): a.value for n, a in enumerate(call.arguments)}
        actual = complete(choice, known(given, values))
        key = (choice.name, tuple(actual.items()))
        self._spend(part, statement, _CHOICE)
        if key not in self.choices:
            self._spend(part, statement, _CHOICE * weight(choice.body))
            self.choices[key] = self._candidates(part, statement, choice.body, actual)
        return self.choices[key]

    # ------------------------------------------------------------------------------- instances

    def _call(self, scope: Scope, part: _Part, call: _Call) -> None:
        """Instances of a motif: alone, or in a row."""
        motif = scope.motifs.get(call.motif) or self.program.motifs.get(call.motif)
        if motif is None or scope.lookups(call.inputs) != len(motif.inputs):
            return
        given = {str(a.name): a.value for a in call.arguments}
        motifs = self._passed(scope, motif, given)
        if motifs is None:
            return
        taken = {p.name for p in motif.parameters if isinstance(p, tree.Parameter)}
        numbers = known({n: v for n, v in given.items() if n in taken}, scope.values)
        for link, count in self._links(scope, part, call, motif, numbers):
            if scope.depth == MAX_DEPTH:
                raise too_deep(call, motif, scope.motif)
            inner = Scope(motif, complete(motif, link), motifs, scope.depth + 1)
            self._place(part, call, inner, count)

    def _passed(
        self, scope: Scope, motif: tree.Motif, given: Mapping[str, tree.Expression]
    ) -> dict[str, tree.Motif] | None:
        """The motifs passed to one; None where one of them is not known."""
        result = {}
        for parameter in motif.parameters:
            if isinstance(parameter, tree.MotifParameter):
                value = given.get(parameter.name)
                if isinstance(value, tree.Name):
                    passed = scope.motifs.get(value.name) or self.program.motifs.get(value.name)
                else:
                    passed = self.program.motifs.get(parameter.default or "")
                if passed is None:
                    return None
                result[parameter.name] = passed
        return result

    def _links(
        self, scope: Scope, part: _Part, call: _Call, motif: tree.Motif, numbers: dict[str, int]
    ) -> list[tuple[dict[str, int], int]]:
        """The numbers of the instances a call makes, and how many of them have these."""
        if isinstance(call, tree.Instantiation):
            return [(numbers, 1)]
        length = scope.lists.get(call.targets[0].name, 0)
        reductions = {evaluate(r, scope.values) for r in call.reductions}
        if any(not 0 <= r < length for r in reductions):
            return []
        # Expansion asks for every link which reductions came before it.
        part.add(call, "steps", length * len(reductions))
        return [(link, count) for link, count in links(motif, numbers, length, reductions) if count]

    def _place(self, part: _Part, call: _Call, inner: Scope, count: int) -> None:
        """So many instances alike."""
        self._spend(part, call, _STATEMENT + len(inner.values))
        self.part(inner)
        key = _key(inner)
        part.inside[key] = part.inside.get(key, 0) + count
        part.add(call, "instances", count)
        part.add(call, "nodes", count * ports(inner.motif))
        part.add(call, "edges", count * (len(inner.motif.inputs) + len(call.targets)))


def _key(scope: Scope) -> _Key:
    passed = tuple((name, id(motif)) for name, motif in scope.motifs.items())
    return id(scope.motif), tuple(scope.values.items()), passed


def _pass_over(error: DiagnosticError) -> None:
    """Only what is too large is this pass's business."""
    if error.diagnostics[0].code == "D224":
        raise error
