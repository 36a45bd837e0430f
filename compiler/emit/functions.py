"""Functions of emitted source that build operations and mixed edges."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from bayesnas.compiler.emit.source import (
    INDENT,
    TAKEN,
    Expression,
    Family,
    identifier,
    place_comment,
    unify,
    unique,
    wrapped,
)
from bayesnas.dsl.diagnostics import Span


class Functions:
    """Functions that build operations and mixed edges: one for each name and structure.

    Uses are announced first (`announce`), because a family's parameters depend on all of them.
    """

    def __init__(self) -> None:
        self.members: dict[tuple[str, Hashable], list[Expression]] = {}
        self.places: dict[tuple[str, Hashable], Span | None] = {}
        self.families: dict[tuple[str, Hashable], Family] = {}
        self.names: dict[tuple[str, Hashable], str] = {}
        self.taken: set[str] = set()

    def announce(self, name: str, expression: Expression, span: Span | None) -> None:
        """One use of an expression under a name; ``span`` is where it is defined."""
        key = (name, expression.key)
        self.members.setdefault(key, []).append(expression)
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

    def call(self, name: str, expression: Expression) -> Expression:
        """A call of the function in the place of what it returns."""
        key = (name, expression.key)
        family, function = self.families[key], self.names[key]
        return Expression(
            ("call", function),
            family.arguments(expression.values),
            family.parameters,
            lambda texts: f"{function}({', '.join(texts)})",
        )

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
