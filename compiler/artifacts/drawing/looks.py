"""What looks alike: instances that one drawing stands for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

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
    ParallelStage,
)


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
    return (
        choice
        if choice is not None and len(labels) > 1
        else "\n".join(lines(listed(labels, bar=True)))
    )


def kind_of(instance: Instance) -> str:
    """The part of a tied group's name that tells reductions from the rest."""
    path = instance.group_path
    return path.rpartition("/")[2] if "/" in path else ""


def looks(contents: Contents) -> list[Look]:
    """Every drawing, the network last.

    Instances that share their architecture are drawn once, and so are those that were not tied
    but differ in widths alone.
    """
    tied: dict[tuple[str, str], list[Instance]] = {}
    for instance in contents.graph.instances.values():
        tied.setdefault((instance.motif, instance.group_path), []).append(instance)
    root = contents.graph.root
    del tied[root.motif, ""]
    alike: dict[Hashable, list[Instance]] = {}
    for members in tied.values():
        alike.setdefault(_form(members[0], contents), []).extend(members)
    return [Look(n, tuple(m)) for n, m in enumerate([*alike.values(), [root]])]


def same_numbers(members: Iterable[Instance], graph: Graph) -> bool:
    """Whether the widths and sizes that are drawn for the first are those of all."""
    return len({(m.parameters, *(graph.node(i).shape for i in m.inputs)) for m in members}) == 1


def _form(instance: Instance, contents: Contents) -> Hashable:
    """What is drawn of an instance but for its path, its widths and its sizes."""
    local = _locals(instance, contents)
    return (
        instance.motif,
        kind_of(instance),
        tuple(
            (node.name, node.role, node.merge, node.id in contents.alive)
            for node in contents.nodes.get(instance.path, ())
        ),
        tuple((child.motif, kind_of(child)) for child in contents.children.get(instance.path, ())),
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
    stages = tuple(_stage_form(stage) for stage in edge.operation.stages)
    weight = None if gamma is None or removal is not None else f"{gamma:.2g}"
    return edge.kind, edge.operation.definition, stages, weight, removal


def _stage_form(stage: AnyStage) -> Hashable:
    if isinstance(stage, ParallelStage):
        return tuple(tuple(_stage_form(one) for one in branch) for branch in stage.branches)
    return stage.primitive, tuple(a for a in stage.arguments if a[0] != "width")
