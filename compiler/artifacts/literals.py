"""Numbers and names of nodes as syntax: what texts that are derived from graphs are made of."""

from __future__ import annotations

from collections.abc import Mapping

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span


def literal_arguments(values: Mapping[str, int], span: Span) -> tuple[tree.Argument, ...]:
    """Whole numbers that are given to a motif."""
    return tuple(
        tree.Argument(name, literal_number(value, span), span=span)
        for name, value in values.items()
    )


def literal_number(value: int, span: Span) -> tree.Expression:
    """A whole number as it is written."""
    number = tree.Number(abs(value), span=span)
    return number if value >= 0 else tree.Unary("-", number, span=span)


def node_name(reference: tree.Reference) -> str:
    """The node's name in its scope; references in residuals have literal indices."""
    if isinstance(reference.index, tree.Index):
        assert isinstance(reference.index.value, tree.Number)
        return f"{reference.name}[{reference.index.value.value}]"
    return reference.name


def node_reference(name: str, span: Span) -> tree.Reference:
    """The node of that name in its scope."""
    plain, bracket, index = name.partition("[")
    if not bracket:
        return tree.Reference(plain, span=span)
    number = tree.Number(int(index[:-1]), span=span)
    return tree.Reference(plain, tree.Index(number, span=span), span=span)
