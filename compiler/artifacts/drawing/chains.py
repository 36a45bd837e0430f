"""Long chains folded: consecutive links that are alike become one box, `cell × 3`."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen

from bayesnas.compiler.artifacts.drawing.looks import Contents
from bayesnas.compiler.artifacts.drawing.strokes import is_plain
from bayesnas.compiler.graph.model import Instance


@frozen
class Box:
    """Consecutive links of a chain, or a single instance."""

    members: tuple[Instance, ...]

    @property
    def first(self) -> Instance:
        """The one whose ports are drawn."""
        return self.members[0]


@define
class _Wiring:
    """Between the instances and the nodes of one scope, instance outputs' other names resolved."""

    sources: dict[str, set[str]] = field(factory=dict)  # of an instance: paths, ids of nodes
    readers: dict[str, set[str]] = field(factory=dict)


def boxes(path: str, contents: Contents, numbers: Mapping[str, int]) -> list[Box]:
    """The boxes inside an instance.

    Args:
        path: the instance.
        contents: of the whole graph.
        numbers: the drawing that stands for each instance.
    """
    wiring = _wiring(path, contents)
    runs: list[list[Instance]] = []
    for child in contents.children.get(path, ()):
        if runs and _goes_on(runs[-1][-1], child, wiring, numbers):
            runs[-1].append(child)
        else:
            runs.append([child])
    return [Box(tuple(run)) for run in runs]


def _goes_on(
    before: Instance, child: Instance, wiring: _Wiring, numbers: Mapping[str, int]
) -> bool:
    """Whether a link may share the box of the one before it: nothing is hidden by that.

    Both look alike, the link reads the one before it, and what else it reads or feeds belongs to
    the chain, or feeds the one before it too: the second link of a chain of cells with two inputs
    still reads the stem.
    """
    sources = wiring.sources.get(child.path, set())
    near = {_neighbour(child, -k) for k in range(1, max(2, len(child.inputs) + 1))}
    after = {_neighbour(before, k) for k in range(1, max(2, len(child.inputs) + 1))}
    return (
        numbers[before.path] == numbers[child.path]
        and before.path == _neighbour(child, -1)
        and before.path in sources
        and sources - near <= wiring.sources.get(before.path, set())
        and wiring.readers.get(before.path, set()) <= after
    )


def _neighbour(instance: Instance, offset: int) -> str:
    """The path of the link so many places on; empty if there is none."""
    base, bracket, index = instance.path.removesuffix("]").rpartition("[")
    if not bracket or not index.isdigit():
        return ""
    return f"{base}[{int(index) + offset}]"


def _wiring(path: str, contents: Contents) -> _Wiring:
    aliases = {
        connection.target: contents.graph.node(connection.source).scope
        for connection in contents.connections.get(path, ())
        if contents.is_alias(connection.target)
    }
    wiring = _Wiring()
    for connection in contents.connections.get(path, ()):
        if connection.target in aliases:
            continue
        ends = (contents.graph.node(connection.source), contents.graph.node(connection.target))
        plain = is_plain(connection)
        source, target = (
            node.scope if node.scope != path else aliases.get(node.id, node.id) for node in ends
        )
        wiring.sources.setdefault(target, set()).add(source if plain else connection.id)
        wiring.readers.setdefault(source, set()).add(target if plain else connection.id)
    return wiring
