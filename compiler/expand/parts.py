"""Nodes, edges and instances as they are made, each under its name."""

from __future__ import annotations

from attrs import define, field

from bayesnas.compiler.expand.scopes import Scope, wrong
from bayesnas.compiler.graph.model import (
    BudgetConstraint,
    Edge,
    Gate,
    Graph,
    Instance,
    Kind,
    Merge,
    Node,
    Operation,
    RetainConstraint,
    Role,
)
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.compiler.program.limits import MAX_SIZE
from bayesnas.dsl.diagnostics import Span


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
            raise wrong("D224", message, span, "choose smaller sizes, or fewer instances")

    def node(
        self,
        scope: Scope,
        name: str,
        local: str,
        span: Span,
        role: Role = "inner",
        merge: Merge = "sum",
        shape: Shape | None = None,
    ) -> str:
        """Make a node; its id. ``local`` is its name with the index, if ``name`` is a list.

        Raises:
            DiagnosticError: D208 (there is one of that name).
        """
        identifier = scope.identifier(local)
        if identifier in self.nodes:
            where = self.nodes[identifier].span
            raise wrong(
                "D208",
                f"`{local}` is defined twice",
                span,
                "rename one of them",
                f"`{local}` is defined at {where}",
            )
        self.nodes[identifier] = Node(identifier, local, scope.path, role, merge, shape, span)
        if name == local:
            scope.singles[name] = identifier
        else:
            scope.lists.setdefault(name, []).append(identifier)
        return identifier

    def connect(self, source: str, target: str) -> str:
        """A name for the parallel edges that one statement lays between two nodes."""
        plain = f"{source}->{target}"
        count = self.connections[plain] = self.connections.get(plain, 0) + 1
        return plain if count == 1 else f"{plain}#{count}"

    def edge(
        self,
        scope: Scope,
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
            prefix = f"{scope.path}." if scope.path else ""
            local = connection.replace(f"->{prefix}", "->", 1).removeprefix(prefix)
            gate = Gate(self.gates, scope.group(f"{local}:{tie}"), choice)
            self.gates += 1
        edge = Edge(
            f"{connection}:{operation.name}",
            source,
            target,
            kind,
            connection,
            scope.path,
            len(self.edges),
            operation,
            gate,
            span,
        )
        self.edges.append(edge)
        return edge
