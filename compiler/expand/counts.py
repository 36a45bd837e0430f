"""What instances hold, counted and put down to the statements that make it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, TypeAlias

from attrs import define, field, fields, has

from bayesnas.compiler.expand.scopes import Motiflike, Scope
from bayesnas.compiler.program.limits import (
    COUNTED,
    MAX_TURNS,
    Counted,
    Limited,
    Size,
    about,
    too_large,
)
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError

# A motif, its numbers and the motifs passed to it: instances alike in these expand alike.
Key: TypeAlias = tuple[int, tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]

STATEMENT: Final = 3  # steps that stand for the work of a statement besides its parts
_APART: Final = {"span", "body", "then", "otherwise"}


def key_of(scope: Scope) -> Key:
    """What an instance has in common with those that expand alike."""
    passed = tuple((name, id(motif)) for name, motif in scope.motifs.items())
    return id(scope.graph), tuple(scope.values.items()), passed


@define(eq=False)
class Part:
    """What one instance holds: its own, put down to its statements, and instances inside it.

    The instances inside and their ports are its own, and what they hold is not.
    """

    motif: Motiflike
    own: dict[Counted, int] = field(factory=lambda: dict.fromkeys(COUNTED, 0))
    shares: dict[Limited, dict[int, int]] = field(
        factory=lambda: {"size": {}, "turns": {}, "steps": {}}
    )  # by id of the statement
    visits: dict[int, int] = field(factory=dict)  # id of statement -> how often it was read
    inside: dict[Key, int] = field(factory=dict)
    height: int = 0  # levels of motifs below it
    total: Size = field(factory=Size)

    def add(self, statement: tree.Statement, what: Counted, count: int) -> None:
        """Put so much down to a statement."""
        if count:
            self.own[what] += count
            shares = self.shares[COUNTED[what]]
            shares[id(statement)] = shares.get(id(statement), 0) + count


@define
class Counts:
    """The parts of all instances, and the statements they are put down to."""

    # What lies inside another comes before that other.
    parts: dict[Key, Part] = field(factory=dict)
    unfinished: list[Part] = field(factory=list)
    statements: dict[int, tuple[tree.Statement, Motiflike]] = field(factory=dict)
    weights: dict[int, int] = field(factory=dict)  # steps to read a statement, by its id

    def steps(self, statement: tree.Statement, motif: Motiflike) -> int:
        """How many steps it takes to read a statement; the first time, it is entered."""
        identity = id(statement)
        if identity not in self.weights:
            self.weights[identity] = STATEMENT + weight(statement)
            self.statements[identity] = (statement, motif)
        return self.weights[identity]

    def finish(self, key: Key, part: Part) -> None:
        """Add up what a part holds, when all that lies inside it is finished."""
        for identity, visits in part.visits.items():
            part.add(self.statements[identity][0], "steps", visits * self.weights[identity])
        part.total = Size(**part.own)
        for inside, count in part.inside.items():
            inner = self.parts[inside]
            part.total = part.total.plus(inner.total, count)
            part.height = max(part.height, 1 + inner.height)
        self.parts[key] = part

    def too_many_turns(self, turns: int) -> DiagnosticError:
        """The turns walked so far are too many: at the loop that made most of them."""
        walked: Counter[int] = Counter()
        for part in (*self.parts.values(), *self.unfinished):
            walked.update(part.shares["turns"])
        identity, share = walked.most_common(1)[0]
        loop, motif = self.statements[identity]
        return too_large("turns", turns, MAX_TURNS, loop, share, f"`{motif.name}`")

    def refusal(self, root: Part, what: Limited, count: int, limit: int) -> DiagnosticError:
        """The diagnostic at the statement that makes most of it, in all instances together."""
        times: Counter[Key] = Counter()
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


def weight(item: Any) -> int:
    """How many parts a piece of syntax has, without the statements inside it."""
    if isinstance(item, tuple):
        return sum(map(weight, item))
    if not has(type(item)):
        return 0
    apart = _APART if isinstance(item, tree.Loop | tree.Branch) else {"span"}
    names = [f.name for f in fields(type(item)) if f.name not in apart]
    return 1 + sum(weight(getattr(item, name)) for name in names)
