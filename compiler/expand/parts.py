"""Nodes, edges and instances as they are made, each under its name and in its place."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from bayesnas.compiler.expand.calls import Row
from bayesnas.compiler.expand.scopes import Scope, Selection
from bayesnas.compiler.graph.model import (
    BudgetConstraint,
    Edge,
    Gate,
    Graph,
    Instance,
    Kind,
    Node,
    Operation,
    Residual,
    RetainConstraint,
    Role,
)
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.compiler.program.limits import MAX_SIZE
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span, mistake


@define
class Place(Scope):
    """An instance while it is built: where it stands, and the statements it leaves."""

    path: str
    group_path: str
    defined: set[str] = field(init=False, factory=set)  # node ids that have had their `=`
    body: list[Residual] = field(init=False, factory=list)
    shared: dict[str, Row] = field(init=False, factory=dict)  # by motif, the first that is shared

    def identifier(self, name: str) -> str:
        """The id of a node or instance of this one."""
        return f"{self.path}.{name}" if self.path else name

    def group(self, local: str) -> str:
        """What tied instances share in the place of an id."""
        return f"{self.group_path}.{local}" if self.group_path else local

    def nodes(self, selections: Iterable[Selection]) -> list[tuple[tree.Reference, str]]:
        """Literal references to nodes, and their ids."""
        return [
            (reference, self.identifier(name))
            for selection in selections
            for reference, name in selection.nodes()
        ]


@define
class Parts:
    """What a graph is built from; ``paths`` has parents before children."""

    nodes: dict[str, Node] = field(factory=dict)
    edges: list[Edge] = field(factory=list)
    instances: dict[str, Instance] = field(factory=dict)
    paths: list[str] = field(factory=list)
    retains: list[RetainConstraint] = field(factory=list)
    budgets: list[BudgetConstraint] = field(factory=list)
    gates: int = 0
    size: int = 0
    connections: dict[str, int] = field(factory=dict)

    def graph(self, name: str) -> Graph:
        """The graph of all of them."""
        instances = {path: self.instances[path] for path in self.paths}
        constraints = tuple(self.retains), tuple(self.budgets)
        graph = Graph(name, instances, retains=constraints[0], budgets=constraints[1])
        return graph.rebuild(self.nodes.values(), self.edges)

    def spend(self, count: int, span: Span) -> None:
        """Refuse what would fill the memory after all: `measure` counts most of it before.

        Candidates and turns of loops count as well here; three times as much holds them all.
        """
        self.size += count
        if self.size > 3 * MAX_SIZE:
            message = f"the spec expands past {MAX_SIZE:,} nodes, edges and turns of loops"
            raise mistake("D224", message, span, "choose smaller sizes, or fewer instances")

    def node(
        self,
        place: Place,
        local: str,
        span: Span,
        role: Role = "inner",
        shape: Shape | None = None,
    ) -> str:
        """Make a node; its id. ``local`` is its name, with the index of an element of a list.

        Raises:
            DiagnosticError: D208 (there is one of that name).
        """
        identifier = place.identifier(local)
        if identifier in self.nodes:
            where = self.nodes[identifier].span
            raise mistake(
                "D208",
                f"`{local}` is defined twice",
                span,
                "rename one of them",
                f"`{local}` is defined at {where}",
            )
        self.nodes[identifier] = Node(identifier, local, place.path, role, "sum", shape, span)
        return identifier

    def connect(self, source: str, target: str) -> str:
        """A name for the parallel edges that one statement lays between two nodes."""
        plain = f"{source}->{target}"
        count = self.connections[plain] = self.connections.get(plain, 0) + 1
        return plain if count == 1 else f"{plain}#{count}"

    def edge(
        self,
        place: Place,
        source: str,
        target: str,
        kind: Kind,
        operation: Operation,
        span: Span,
        connection: str | None = None,
        choice: str | None = None,
        tie: str = "",
    ) -> Edge:
        """Make an edge; searched ones get the next gate, and the group that ties it."""
        self.spend(1, span)
        connection = connection or self.connect(source, target)
        gate = None
        if kind == "searched":
            prefix = f"{place.path}." if place.path else ""
            local = connection.replace(f"->{prefix}", "->", 1).removeprefix(prefix)
            gate = Gate(self.gates, place.group(f"{local}:{tie}"), choice)
            self.gates += 1
        edge = Edge(
            f"{connection}:{operation.name}",
            source,
            target,
            kind,
            connection,
            place.path,
            len(self.edges),
            operation,
            gate,
            span,
        )
        self.edges.append(edge)
        return edge
