"""Numbers of one instance before it is built: nodes it declares, nodes a reference stands for.

What has no value counts as nothing, or raises as `evaluate` does: expansion reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from attrs import define, field, fields, has

from bayesnas.compiler.program.evaluate import LARGEST, evaluate
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError

Motiflike: TypeAlias = tree.Motif | tree.Network


@define
class Scope:
    """A motif while it is walked; loop variables join its ``values`` for their turns."""

    motif: Motiflike
    values: dict[str, int]
    motifs: Mapping[str, tree.Motif]  # those passed to it
    depth: int
    singles: set[str] = field(factory=set)
    lists: dict[str, int] = field(factory=dict)  # name -> length
    chains: set[str] = field(factory=set)  # lists whose bare name is their last element

    def __attrs_post_init__(self) -> None:
        self.singles |= {p.name for p in (*self.motif.inputs, *self.motif.outputs)}

    def taken(self, branch: tree.Branch) -> tuple[tree.Statement, ...]:
        """The statements a condition chooses."""
        return branch.then if evaluate(branch.condition, self.values) else branch.otherwise

    # ------------------------------------------------------------------------------- declaring

    def declare(self, statement: tree.Statement) -> int:
        """Enter the names a statement defines; how many nodes it makes by that."""
        match statement:
            case tree.NodeDeclaration(nodes=nodes):
                return sum(map(self._declare_nodes, nodes))
            case tree.Merge(target=target) | tree.Transform(target=target):
                return self._define(target)
            case tree.Instantiation(targets=targets):
                return sum(map(self._define, targets))
            case tree.Chain(targets=targets):
                length = max(0, evaluate(statement.length, self.values))
                self.lists |= {target.name: length for target in targets}
                self.chains |= {target.name for target in targets}
                return length * len(targets)
            case _:
                return 0

    def _declare_nodes(self, declared: tree.Declared) -> int:
        if declared.size is None:
            self.singles.add(declared.name)
            return 1
        size = max(0, known({"": declared.size}, self.values).get("", 0))
        self.lists[declared.name] = self.lists.get(declared.name, 0) + size
        return size

    def _define(self, target: tree.Reference) -> int:
        """1 where the left of ``=`` makes a node: it is no element of a list, and no output."""
        if target.index is not None or target.name in {p.name for p in self.motif.outputs}:
            return 0
        self.singles.add(target.name)
        return 1

    # ------------------------------------------------------------------------------- referring

    def lookups(self, references: Iterable[tree.Reference]) -> int:
        """How many nodes the references stand for."""
        return sum(map(self.lookup, references))

    def lookup(self, reference: tree.Reference) -> int:
        """How many nodes a reference stands for."""
        if reference.name in self.singles:
            return 1
        length = self.lists.get(reference.name, 0)
        match reference.index:
            case None:
                return min(1, length) if reference.name in self.chains else length
            case tree.Index(value=value):
                return int(0 <= evaluate(value, self.values) < length)
            case tree.Slice(start=start, stop=stop):
                first = 0 if start is None else evaluate(start, self.values)
                last = length if stop is None else evaluate(stop, self.values)
                return max(0, last - first) if first >= 0 and last <= length else 0


def links(
    motif: tree.Motif, given: dict[str, int], length: int, reductions: set[int]
) -> Iterator[tuple[dict[str, int], int]]:
    """The numbers of a chain's links, and how many links have them.

    A reduction doubles the width from there on; it has stride 2, and the link after it lag 2.
    """
    if not reductions:
        yield given, length
        return
    lags = any(p.name == "lag" for p in motif.parameters)
    width = complete(motif, {"stride": 1, "lag": 1, **given}).get("width", 0)

    def link(stride: int, lag: int) -> dict[str, int]:
        numbers = {**given, "width": width, "stride": stride}
        return {**numbers, "lag": lag} if lags else numbers

    starts = sorted(reductions)
    yield link(1, 1), starts[0]
    for start, stop in zip(starts, (*starts[1:], length), strict=True):
        # Numbers past the largest have no value, so that all of them are alike.
        width = max(-LARGEST - 1, min(2 * width, LARGEST + 1))
        yield link(2, 2 if start - 1 in reductions else 1), 1
        yield link(1, 2), min(1, stop - start - 1)
        yield link(1, 1), max(0, stop - start - 2)


def ports(motif: Motiflike) -> int:
    """How many nodes are inputs and outputs."""
    return len(motif.inputs) + len(motif.outputs)


def kept(operation: tree.OperationTerm) -> int:
    """How many operations a fixed edge keeps together."""
    return len(operation.branches) if isinstance(operation, tree.Parallel) else 1


# ------------------------------------------------------------------------------------- values


def known(given: Mapping[str, tree.Expression], values: Mapping[str, int]) -> dict[str, int]:
    """Values of arguments; those that have none are left out."""
    result = {}
    for name, expression in given.items():
        try:
            result[name] = evaluate(expression, values)
        except DiagnosticError:
            continue
    return result


def complete(
    definition: Motiflike | tree.ChoiceDefinition, given: Mapping[str, int]
) -> dict[str, int]:
    """Values of all parameters that have one; a default may use the parameters before it."""
    values: dict[str, int] = {}
    for parameter in definition.parameters:
        if parameter.name in given:
            values[parameter.name] = given[parameter.name]
        elif isinstance(parameter, tree.Parameter) and parameter.default is not None:
            values |= known({parameter.name: parameter.default}, values)
    return values


_APART: Final = {"span", "body", "then", "otherwise"}


def weight(item: Any) -> int:
    """How many parts a piece of syntax has, without the statements inside it."""
    if isinstance(item, tuple):
        return sum(map(weight, item))
    if not has(type(item)):
        return 0
    apart = _APART if isinstance(item, tree.Loop | tree.Branch) else {"span"}
    names = [f.name for f in fields(type(item)) if f.name not in apart]
    return 1 + sum(weight(getattr(item, name)) for name in names)
