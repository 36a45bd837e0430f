"""What looks alike: instances that one drawing stands for."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from graphlib import TopologicalSorter
from typing import TypeAlias

from attrs import define, field, frozen

from bayesnas.compiler.artifacts.drawing.words import lines, listed
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import (
    AnyStage,
    Connection,
    Edge,
    Graph,
    Instance,
    Node,
    Operation,
    ParallelStage,
)

_Group: TypeAlias = tuple[str, str]  # a motif, and what its tied instances share of their paths


@frozen
class Look:
    """Instances drawn as one; ``number`` is the drawing's place in the figure."""

    number: int
    members: tuple[Instance, ...]

    @property
    def first(self) -> Instance:
        """The one whose numbers are drawn."""
        return self.members[0]

    @property
    def kind(self) -> str:
        """`normal` or `reduction` in a tied chain that reduces, else nothing."""
        return kind_of(self.first)


@define
class Contents:
    """What stands directly in each instance, by its path, and what a search has told of it."""

    graph: Graph
    annotation: Annotation
    alive: frozenset[str]  # nodes that what was removed has not made dead
    nodes: dict[str, list[Node]] = field(factory=dict)
    children: dict[str, list[Instance]] = field(factory=dict)
    connections: dict[str, list[Connection]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for node in self.graph.nodes():
            self.nodes.setdefault(node.scope, []).append(node)
        for instance in self.graph.instances.values():
            if instance.parent is not None:
                self.children.setdefault(instance.parent, []).append(instance)
        for connection in self.graph.all_connections():
            self.connections.setdefault(connection.edges[0].scope, []).append(connection)

    def is_alias(self, identifier: str) -> bool:
        """Whether a node only names an instance's output: it is drawn as that instance."""
        node = self.graph.node(identifier)
        if node.role != "inner":
            return False
        arrivals = self.graph.connections(identifier)
        return (
            len(arrivals) == 1
            and len(arrivals[0].edges) == 1
            and arrivals[0].edges[0].operation.is_identity
            and not arrivals[0].searched
            and self.graph.node(arrivals[0].source).scope != node.scope
        )

    @property
    def is_result(self) -> bool:
        """Whether a search has been over it."""
        return bool(self.annotation.gammas or self.annotation.removed)


def label_of(connection: Connection) -> str:
    """What a searched connection is called: its choice, or its candidates."""
    labels = [edge.operation.label for edge in connection.edges]
    choice = connection.edges[0].choice
    if choice is not None and len(labels) > 1:
        return choice
    return "\n".join(lines(listed(labels, bar=True)))


def kind_of(instance: Instance) -> str:
    """The part of a tied group's name that tells reductions from the rest."""
    path = instance.group_path
    return path.rpartition("/")[2] if "/" in path else ""


def looks(contents: Contents) -> list[Look]:
    """Every drawing, the network last.

    Instances that share their architecture are drawn once, and so are those that were not tied
    but differ in widths alone.
    """
    tied: dict[_Group, list[Instance]] = {}
    for instance in contents.graph.instances.values():
        tied.setdefault(_group(instance), []).append(instance)
    numbers: dict[str, int] = {}  # of forms, by the instances that have them
    forms: dict[Hashable, int] = {}
    for group in _children_first(tied, contents):
        form = _form(tied[group][0], contents, numbers)
        number = forms.setdefault(form, len(forms))
        numbers |= {member.path: number for member in tied[group]}
    root = contents.graph.root
    alike: dict[int, list[Instance]] = {}
    for members in tied.values():
        if members != [root]:
            alike.setdefault(numbers[members[0].path], []).extend(members)
    return [Look(n, tuple(m)) for n, m in enumerate([*alike.values(), [root]])]


def _group(instance: Instance) -> _Group:
    return instance.motif, instance.group_path


def _children_first(tied: Mapping[_Group, list[Instance]], contents: Contents) -> Iterable[_Group]:
    """Groups of tied instances, each after those inside its first member."""
    return TopologicalSorter(
        {
            group: [_group(child) for child in contents.children.get(members[0].path, ())]
            for group, members in tied.items()
        }
    ).static_order()


def same_numbers(members: Iterable[Instance], graph: Graph) -> bool:
    """Whether the widths and sizes that are drawn for the first are those of all."""
    return len({(m.parameters, *(graph.node(i).shape for i in m.inputs)) for m in members}) == 1


def _form(instance: Instance, contents: Contents, numbers: Mapping[str, int]) -> Hashable:
    """What is drawn of an instance but for its path, its widths and its sizes.

    Which of its children look alike counts as well, for it decides what is folded; how they look
    does not.
    """
    local = _locals(instance, contents)
    children = contents.children.get(instance.path, ())
    looks = {number: n for n, number in enumerate(dict.fromkeys(numbers[c.path] for c in children))}
    return (
        instance.motif,
        kind_of(instance),
        instance.states is None,
        tuple(
            (node.name, node.role, node.merge, node.id in contents.alive)
            for node in contents.nodes.get(instance.path, ())
        ),
        tuple(
            (child.motif, kind_of(child), looks[numbers[child.path]], child.states is None)
            for child in children
        ),
        tuple(
            (
                local[connection.source],
                local[connection.target],
                tuple(_edge_form(edge, contents) for edge in connection.edges),
            )
            for connection in contents.connections.get(instance.path, ())
        ),
    )


def _locals(instance: Instance, contents: Contents) -> Mapping[str, int]:
    """The nodes that an instance's edges may touch, numbered."""
    inside = [node.id for node in contents.nodes.get(instance.path, ())]
    for child in contents.children.get(instance.path, ()):
        inside += [*child.inputs, *child.outputs]
    return {identifier: number for number, identifier in enumerate(inside)}


def _edge_form(edge: Edge, contents: Contents) -> Hashable:
    """What an edge's label says but for widths: of a named choice its name alone, at first."""
    if edge.choice is not None and not contents.is_result:
        return edge.choice
    gamma = contents.annotation.gammas.get(edge.id)
    removal = contents.annotation.removed.get(edge.id)
    weight = None if gamma is None or removal is not None else f"{gamma:.2g}"
    return edge.kind, _operation_form(edge.operation), weight, removal


def _operation_form(operation: Operation) -> Hashable:
    """Its label and stages without widths.

    The label counts, for it alone tells of numbers that were multiplied into widths.
    """
    widths: set[int] = set()
    stages = tuple(_stage_form(stage, widths) for stage in operation.stages)
    numbers = re.compile(r"\d+")
    return numbers.sub(lambda n: "width" if int(n[0]) in widths else n[0], operation.label), stages


def _stage_form(stage: AnyStage, widths: set[int]) -> Hashable:
    if isinstance(stage, ParallelStage):
        return tuple(tuple(_stage_form(one, widths) for one in branch) for branch in stage.branches)
    widths |= {number for name, number in stage.arguments if name == "width"}
    return stage.primitive, tuple(a for a in stage.arguments if a[0] != "width")
