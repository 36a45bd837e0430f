"""The discrete members of a search space, and what is left of them while a search narrows it.

A member keeps, on each searched connection, exactly one of its candidates or none; into a node
under ``retain k``, exactly k connections (all, where fewer arrive). Tied connections choose
together. This is the genotype of the field (Liu et al. 2019); a search may also leave several
operations on one edge, and such networks are not counted. Isomorphic members count apart, and so
do members in which nothing reaches an output, as in the papers' own counts.

An *option* is a candidate, or to drop a connection where no `retain` says how many stay, so that
every decision of a search is the removal of an option.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, groupby, product
from math import prod
from random import Random
from typing import Final, TypeAlias

from attrs import evolve, frozen

from bayesnas.compiler.graph.model import Graph, RetainConstraint
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

MAX_RETAINED: Final = 250_000  # connections into a node times those of them that stay

Member: TypeAlias = frozenset[str]  # the tied groups it keeps


@frozen
class SearchedConnection:
    """A searched connection, tied ones folded together: the groups it chooses from."""

    name: str
    target: str
    options: tuple[str, ...]


@frozen
class MemberSpace:
    """What may be chosen: connections by the node they enter, and how many each node keeps.

    ``retained`` maps a node to its k; a node that is not in it keeps any number of connections,
    but for those in ``required``, which stay.
    """

    connections: tuple[SearchedConnection, ...]
    retained: Mapping[str, int]
    required: frozenset[str] = frozenset()

    def nodes(self) -> list[tuple[tuple[SearchedConnection, ...], int | None]]:
        """The connections into each node, and how many of them a member keeps there."""
        by_target = groupby(sorted(self.connections, key=_target), key=_target)
        return [(tuple(arriving), self.retained.get(node)) for node, arriving in by_target]

    def droppable(self, connection: SearchedConnection) -> bool:
        """Whether to drop the connection is an option."""
        return connection.target not in self.retained and connection.name not in self.required

    # ----------------------------------------------------------------------------------- members

    def count(self) -> int:
        """How many members there are, dimensionless and exact."""
        factors: Counter[int] = Counter()
        for arriving, kept in self.nodes():
            if kept is None:
                factors.update(len(c.options) + self.droppable(c) for c in arriving)
            else:
                sizes = [len(connection.options) for connection in arriving]
                if kept < len(sizes):
                    factors[_symmetric(sizes, kept)[-1][-1]] += 1
                else:
                    factors.update(sizes)
        return prod(factor**times for factor, times in factors.items())

    def members(self) -> Iterator[Member]:
        """Every member, in order: the last connection of the last node varies fastest."""
        for parts in product(*(self._choices(*node) for node in self.nodes())):
            yield frozenset().union(*parts)

    def _choices(self, arriving: Sequence[SearchedConnection], kept: int | None) -> list[Member]:
        """What may be kept of the connections into one node."""
        counts = range(len(arriving) + 1) if kept is None else [min(kept, len(arriving))]
        return [
            frozenset(options)
            for count in counts
            for chosen in combinations(arriving, count)
            if kept is not None or all(c in chosen or self.droppable(c) for c in arriving)
            for options in product(*(connection.options for connection in chosen))
        ]

    def draw(self, random: Random) -> Member:
        """A member, each as likely as any other."""
        chosen: list[str] = []
        for arriving, kept in self.nodes():
            if kept is None:
                none = [(None,) if self.droppable(c) else () for c in arriving]
                options = [
                    random.choice((*n, *c.options)) for n, c in zip(none, arriving, strict=True)
                ]
                chosen += [option for option in options if option is not None]
            else:
                chosen += [random.choice(c.options) for c in _subset(arriving, kept, random)]
        return frozenset(chosen)

    def mean(self) -> dict[str, float]:
        """Of each candidate, the probability that a random member keeps it."""
        means: dict[str, float] = {}
        for arriving, kept in self.nodes():
            if kept is None:
                chances = [1 / (len(c.options) + self.droppable(c)) for c in arriving]
            else:
                chances = _retained_chances([len(c.options) for c in arriving], kept)
            for connection, chance in zip(arriving, chances, strict=True):
                means.update(dict.fromkeys(connection.options, chance))
        return means

    # --------------------------------------------------------------------------------- narrowing

    def candidates(self) -> Member:
        """Every candidate."""
        return frozenset(o for connection in self.connections for o in connection.options)

    def options(self) -> list[str]:
        """Options whose removal leaves members: candidates, and `dropped` for connections."""
        options: list[str] = []
        for arriving, kept in self.nodes():
            for connection in arriving:
                spare = kept is not None and len(arriving) > kept
                if spare or self.droppable(connection) or len(connection.options) > 1:
                    options += connection.options
                if self.droppable(connection):
                    options.append(dropped(connection))
        return options

    def excess(self) -> int:
        """How many options must go until one member is left."""
        total = 0
        for arriving, kept in self.nodes():
            total += sum(len(c.options) for c in arriving)
            if kept is None:
                total -= sum(not self.droppable(c) for c in arriving)
            else:
                total -= min(kept, len(arriving))
        return total

    def without(self, option: str) -> MemberSpace:
        """What is left when one of `options` goes."""
        required = {c.name for c in self.connections if option == dropped(c)}
        rest = self.restricted(self.candidates() - {option})
        return evolve(rest, required=self.required | required)

    def restricted(self, kept: Collection[str]) -> MemberSpace:
        """With these candidates alone; a connection without any is dropped."""
        connections = (
            evolve(c, options=tuple(o for o in c.options if o in kept)) for c in self.connections
        )
        return evolve(self, connections=tuple(c for c in connections if c.options))

    def only(self, member: Member) -> MemberSpace:
        """This member alone."""
        rest = self.restricted(member)
        return evolve(rest, required=frozenset(c.name for c in rest.connections))


def dropped(connection: SearchedConnection) -> str:
    """The option to drop a connection."""
    return f"{connection.name}:dropped"


def _target(connection: SearchedConnection) -> str:
    return connection.target


def _symmetric(sizes: Sequence[int], kept: int) -> list[list[int]]:
    """Row n, column k: the elementary symmetric polynomial of degree k of the first n sizes."""
    rows = [[1] + [0] * kept]
    for size in sizes:
        last = rows[-1]
        rows.append([1] + [last[k] + size * last[k - 1] for k in range(1, kept + 1)])
    return rows


def _subset(
    arriving: Sequence[SearchedConnection], kept: int, random: Random
) -> list[SearchedConnection]:
    """Connections of a node, a set as likely as it has members."""
    sizes = [len(connection.options) for connection in arriving]
    due = min(kept, len(sizes))
    rows = _symmetric(sizes, due)
    chosen = []
    for n in range(len(sizes), 0, -1):
        without = rows[n - 1][due]
        if due and random.randrange(rows[n][due]) >= without:
            chosen.append(arriving[n - 1])
            due -= 1
    return chosen


def _retained_chances(sizes: Sequence[int], kept: int) -> list[float]:
    """Of one candidate of each connection, the chance to be kept where ``kept`` of them stay."""
    if kept >= len(sizes):
        return [1 / size for size in sizes]
    whole = _symmetric(sizes, kept)[-1][-1]
    return [
        _symmetric([*sizes[:n], *sizes[n + 1 :]], kept - 1)[-1][-1] / whole
        for n in range(len(sizes))
    ]


def member_space(graph: Graph) -> MemberSpace:
    """The members of a compiled graph.

    Raises:
        DiagnosticError: D224 (too many ways to retain connections into a node).
    """
    options: dict[tuple[str, str], dict[str, None]] = {}
    for connection in graph.all_connections():
        if connection.searched:
            place = connection.tie, graph.folded(connection.target)
            options.setdefault(place, {}).update(dict.fromkeys(connection.groups))
    retained: dict[str, int] = {}
    for retain in graph.retains:
        node = graph.folded(retain.node)
        retained[node] = min(retain.count, retained.get(node, retain.count))
    arriving = Counter(target for _, target in options)
    for retain in graph.retains:
        node = graph.folded(retain.node)
        _check_retained(retain, min(retained[node], arriving[node]), arriving[node])
    connections = tuple(
        SearchedConnection(name, target, tuple(groups))
        for (name, target), groups in options.items()
    )
    return MemberSpace(connections, retained)


def _check_retained(retain: RetainConstraint, kept: int, arriving: int) -> None:
    """Refuse what takes too long to count: the sets of connections that may stay."""
    if kept * arriving > MAX_RETAINED:
        message = f"too many ways to retain {kept:,} of {arriving:,} connections"
        note = f"the limit is {MAX_RETAINED:,} for the product of both"
        remedy = "retain fewer, or let fewer searched connections arrive"
        raise DiagnosticError(Diagnostic("D224", message, retain.span, "", (note,), remedy))
