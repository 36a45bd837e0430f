"""Functions of emitted source that build operations and mixed edges."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from bayesnas.compiler.emit.names import TAKEN, identifier, unique
from bayesnas.compiler.emit.source import Family, ModuleSource, call_source, unify
from bayesnas.compiler.emit.texts import INDENT, place_comment, wrapped
from bayesnas.dsl.diagnostics import Span


class Functions:
    """Functions that build operations and mixed edges: one for each name and structure.

    Uses are announced first (`announce`), because a family's parameters depend on all of them.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.members: dict[tuple[str, Hashable], list[ModuleSource]] = {}
        self.places: dict[tuple[str, Hashable], Span | None] = {}
        self.families: dict[tuple[str, Hashable], Family] = {}
        self.names: dict[tuple[str, Hashable], str] = {}
        self.taken: set[str] = set(taken)

    def announce(self, name: str, source: ModuleSource, span: Span | None) -> None:
        """One use of a source under a name; ``span`` is where it is defined."""
        key = (name, source.key)
        self.members.setdefault(key, []).append(source)
        self.places.setdefault(key, span)

    def settle(self) -> None:
        """All uses are known: give each family its name and parameters."""
        for key in self.members:
            if key not in self.names:
                self.names[key] = unique(identifier(key[0]), self.taken | TAKEN)
                self.taken.add(self.names[key])
        for key, members in self.members.items():
            if key not in self.families:
                values = [m.values for m in members]
                self.families[key] = unify(values, members[0].hints, taken=self.taken)

    def call(self, name: str, source: ModuleSource) -> ModuleSource:
        """A call of the function in the place of what it returns."""
        key = (name, source.key)
        family = self.families[key]
        arguments = family.arguments(source.values)
        return call_source(self.names[key], name, family.parameters, arguments)

    def helpers(self) -> frozenset[str]:
        """What the definitions name of `preludes`."""
        members = (member for several in self.members.values() for member in several)
        return frozenset[str]().union(*(member.helpers for member in members))

    def source(self, only: Callable[[Hashable], bool]) -> list[str]:
        """Definitions, in order of first use."""
        blocks = []
        for key, members in self.members.items():
            if only(key[1]):
                family = self.families[key]
                body = members[0].write(family.texts)
                head = wrapped(
                    "def ", f"{self.names[key]}({', '.join(family.parameters)})", tail=":"
                )
                place = f" ({place_comment(self.places[key])})" if self.places[key] else ""
                doc = f'{INDENT}"""`{key[0]}`{place}."""'
                lines = wrapped(f"{INDENT}return ", body, level=1, always=True)
                blocks.append("\n".join(["", "", *head, doc, *lines, ""]))
        return blocks
