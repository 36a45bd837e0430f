"""Lists folded: where the elements of a motif's lists are alike, `h[k]` stands for all of them.

A DenseNet of 16 layers has 136 searched lines; folded it has two, from `x` and from `h[..k]`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from attrs import field, frozen

from bayesnas.compiler.artifacts.drawing.looks import Contents, label_of
from bayesnas.compiler.graph.model import Connection, Node

_MINUS: Final = "\N{MINUS SIGN}"
_Key: TypeAlias = tuple[bool, str]  # whether it is searched, what stands on it
_Source: TypeAlias = tuple[str, int]  # a list and how many elements back, or a node and -1


@frozen
class Reading:
    """What element k of a list reads: a node, or elements of a list.

    ``connection`` is one of those that it stands for. ``offsets`` count back from k; they are
    empty where ``source`` is a node.
    """

    target: str
    source: str
    offsets: tuple[int, ...]
    connection: Connection


@frozen
class Folded:
    """The lists of an instance, all of one length, each drawn as its element k."""

    members: Mapping[str, tuple[Node, ...]]
    readings: tuple[Reading, ...]
    places: Mapping[str, tuple[str, int]] = field(repr=False)  # of nodes: their list, their index

    @property
    def length(self) -> int:
        """How many elements each list has."""
        return len(next(iter(self.members.values())))

    def name(self, base: str, offsets: Sequence[int]) -> str:
        """Elements of a list before the k-th: `h[..k]` for all, else `h[k−1, k−2]`."""
        if len(offsets) == self.length - 1:
            return f"{base}[..k]"
        return f"{base}[{', '.join(f'k{_MINUS}{offset}' for offset in offsets)}]"


def folded(path: str, contents: Contents) -> Folded | None:
    """The lists of an instance, or None where their elements are not all alike."""
    members = _lists(path, contents)
    places = {
        node.id: (base, index)
        for base, nodes in members.items()
        for index, node in enumerate(nodes)
    }
    forms: dict[str, dict[tuple[_Key, _Source], Connection]] = {}  # of each element
    for connection in contents.connections.get(path, ()):
        if connection.target in places:
            index = places[connection.target][1]
            source, other = places.get(connection.source, (connection.source, index + 1))
            part = ((connection.searched, label_of(connection)), (source, index - other))
            form = forms.setdefault(connection.target, {})
            if part in form:
                return None  # the same twice, which one line would hide
            form[part] = connection
    for nodes in members.values():
        last = forms.get(nodes[-1].id, {})
        for index, node in enumerate(nodes):
            expected = {part for part in last if part[1][1] <= index}
            if forms.get(node.id, {}).keys() != expected:
                return None
    readings = [r for base, nodes in members.items() for r in _readings(base, forms[nodes[-1].id])]
    return Folded(members, tuple(readings), places) if readings else None


def _lists(path: str, contents: Contents) -> dict[str, tuple[Node, ...]]:
    """The lists into which most is searched, and those that are as long."""
    lists: dict[str, list[Node]] = {}
    for node in contents.nodes.get(path, ()):
        match = re.fullmatch(r"(.*)\[(\d+)\]", node.name)
        if not match or node.role != "inner" or contents.is_alias(node.id):
            continue
        if int(match[2]) == len(lists.get(match[1], ())):
            lists.setdefault(match[1], []).append(node)
    bases = {node.id: base for base, nodes in lists.items() for node in nodes}
    searched = Counter(
        bases.get(c.target, "") for c in contents.connections.get(path, ()) if c.searched
    )
    first = searched.most_common(1)[0][0] if searched else ""
    length = len(lists.get(first, ()))
    return {base: tuple(nodes) for base, nodes in lists.items() if len(nodes) == length}


def _readings(target: str, form: Mapping[tuple[_Key, _Source], Connection]) -> list[Reading]:
    """What the last element reads, elements of one list together."""
    together: dict[tuple[_Key, str, bool], list[tuple[int, Connection]]] = {}
    for (key, (source, offset)), connection in form.items():
        kind = (key, source, offset > 0)
        together.setdefault(kind, []).append((offset, connection))
    return [
        Reading(target, source, tuple(sorted(o for o, _ in parts if o >= 0)), parts[0][1])
        for (_, source, _), parts in together.items()
    ]
