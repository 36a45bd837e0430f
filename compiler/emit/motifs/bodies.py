"""What a motif instance is in source: attributes, and the lines of its forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import networkx as nx
from attrs import field, frozen

from bayesnas.compiler.emit.motifs.chains import chain_at, passes_on
from bayesnas.compiler.emit.motifs.loops import write_chain
from bayesnas.compiler.emit.motifs.nodes import write_node
from bayesnas.compiler.emit.motifs.scans import write_scan
from bayesnas.compiler.emit.motifs.writing import Attribute, Common, Writing, local_name, numbered
from bayesnas.compiler.emit.source import Value
from bayesnas.compiler.graph.model import Instance


@frozen
class Body:
    """One instance as it stands in source: two of equal ``key`` share a class.

    ``gates`` is how many it takes; the rest is as `Writing` has it.
    """

    attributes: tuple[Attribute, ...]
    lines: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gates: int
    helpers: frozenset[str] = field(eq=False)
    places: Mapping[int, tuple[str, str]] = field(eq=False)
    operations: Mapping[str, str] = field(eq=False)
    children: Mapping[str, str] = field(eq=False)

    @property
    def key(self) -> Hashable:
        """What must be equal for one class to serve."""
        names = tuple((a.name, a.source.key) for a in self.attributes)
        return names, self.lines, self.inputs, self.outputs

    @property
    def values(self) -> tuple[Value, ...]:
        """All that may be a parameter of the class."""
        return tuple(value for a in self.attributes for value in a.source.values)


def body_of(common: Common, instance: Instance) -> Body:
    """The body of one instance, whose children's classes are settled."""
    writing = Writing(common, instance)
    for node in instance.inputs:
        writing.variables[node] = writing.variable(common.graph.node(node).name)
    for group in _groups(writing):
        if isinstance(group, str):
            write_node(writing, group)
        else:
            _write_links(writing, group)
    return Body(
        tuple(writing.attributes),
        tuple(writing.lines),
        tuple(map(writing.value, instance.inputs)),
        tuple(map(writing.value, instance.outputs)),
        writing.last_gate - writing.first_gate,
        frozenset(writing.helpers).union(*(a.source.helpers for a in writing.attributes)),
        writing.places,
        writing.operations,
        writing.children,
    )


def _groups(writing: Writing) -> list[str | list[Instance]]:
    """Nodes, and child instances, each after all it depends on; items of a list together."""
    path = writing.instance.path
    children = {f"<{child.path}>": child for child in writing.graph.children(path)}
    inside = writing.common.scopes[path]
    order = {name: k for k, name in enumerate(inside)}
    groups: list[str | list[Instance]] = []
    for name in nx.lexicographical_topological_sort(inside, key=order.__getitem__):
        if name not in children:
            if _is_made(writing, name):
                groups.append(name)
            continue
        last = groups[-1] if groups else ""
        if isinstance(last, list) and _follows(last[-1], children[name]):
            last.append(children[name])
        else:
            groups.append([children[name]])
    return groups


def _is_made(writing: Writing, node: str) -> bool:
    """Whether lines make a node: it does not come in, and is not but another name."""
    if node in writing.variables or writing.graph.node(node).role == "relay":
        return False
    return not passes_on(writing.graph, node)


def _follows(one: Instance, other: Instance) -> bool:
    """Whether one is the next in a list after another of its motif: ``h[3]`` after ``h[2]``."""
    if one.states is not None or other.states is not None:
        return False
    (name, number), after = numbered(one.path), numbered(other.path)
    return one.motif == other.motif and number is not None and after == (name, number + 1)


def _write_links(writing: Writing, links: Sequence[Instance]) -> None:
    """Children that stand in a list, or one: loops where they are fed alike."""
    graph, common = writing.graph, writing.common
    classes = {link.path: common.classes[link.path].name for link in links}
    start = 0
    while start < len(links):
        chain = chain_at(graph, links, start, classes, common.ranges)
        if chain is None:
            _write_child(writing, links[start])
            start += 1
        else:
            write_chain(writing, chain)
            start += len(chain.links)


def _write_child(writing: Writing, child: Instance) -> None:
    name = local_name(child.path, writing.instance.path)
    attribute = writing.children[child.path] = writing.module(child, name)
    if child.states is not None:
        write_scan(writing, child, attribute)
        return
    arguments = [*writing.given(child), *writing.gates_of(child)]
    outputs = writing.returned(child, name)
    writing.assign(outputs, f"self.{attribute}({', '.join(arguments)})", 2)
