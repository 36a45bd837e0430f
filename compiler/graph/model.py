"""The graph every pass reads and returns: a networkx multigraph with typed payloads.

A node is a place where tensors meet; an edge carries one operation. Parallel edges that one
statement lays between two nodes form a *connection*: a mixed edge of candidates, or operations
that are kept together. Motif instances are scopes: ``cells[2].h[0]`` is node ``h[0]`` of the
instance ``cells[2]``, whose inputs and outputs are nodes of their own (ports).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Literal, TypeAlias

import networkx as nx
from attrs import evolve, field, frozen

from bayesnas.compiler.objectives import Objective
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span

Role: TypeAlias = Literal["input", "output", "inner", "relay"]
Merge: TypeAlias = Literal["sum", "concat", "product"]
Kind: TypeAlias = Literal["fixed", "searched", "relay"]


@frozen
class Stage:
    """One primitive with its numbers; shapes are known after shape inference.

    ``written`` keeps the numbers as given, before the input's shape has completed them.
    """

    primitive: str
    arguments: tuple[tuple[str, int], ...]
    span: Span | None = field(default=None, eq=False, repr=False)
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    written: tuple[tuple[str, int], ...] | None = field(default=None, eq=False, repr=False)


@frozen
class ParallelStage:
    """Several sequences of stages on one input, summed."""

    branches: tuple[tuple[AnyStage, ...], ...]


AnyStage: TypeAlias = Stage | ParallelStage


@frozen
class Operation:
    """What one edge computes.

    ``label`` is for people (``sep_conv(3)``), ``name`` for source (``sep_conv_3``);
    ``definition`` names the ``op`` it comes from, if it is one, and ``span`` is where that stands.
    """

    label: str
    name: str
    stages: tuple[AnyStage, ...]
    definition: str | None = None
    span: Span | None = field(default=None, eq=False, repr=False)

    @property
    def is_identity(self) -> bool:
        """Whether it passes its input on unchanged."""
        return all(isinstance(s, Stage) and s.primitive == "skip" for s in self.stages)


@frozen
class Node:
    """A place where tensors meet; ``scope`` is the path of its motif instance."""

    id: str
    name: str
    scope: str
    role: Role
    merge: Merge = "sum"
    shape: Shape | None = None
    span: Span | None = field(default=None, eq=False, repr=False)


@frozen
class Gate:
    """What makes an edge a candidate of a search.

    ``number`` counts the searched edges from 0 in their order; ``group`` names the tied gates that
    share one architecture; ``choice`` is the choice the candidate was drawn from, if it has a
    name.
    """

    number: int
    group: str
    choice: str | None = None


@frozen
class Edge:
    """One operation between two nodes; ``order`` is the order of arrival at a merge."""

    id: str
    source: str
    target: str
    kind: Kind
    connection: str
    scope: str
    order: int
    operation: Operation
    gate: Gate | None = None
    span: Span | None = field(default=None, eq=False, repr=False)

    @property
    def searched_gate(self) -> Gate:
        """The gate of a searched edge; to ask another one for it is an error of the caller."""
        assert self.gate is not None, f"no gate on `{self.id}`"
        return self.gate

    def with_operation(self, operation: Operation) -> Edge:
        """The edge with another operation: `attrs.evolve` takes 7 times as long."""
        return Edge(
            self.id,
            self.source,
            self.target,
            self.kind,
            self.connection,
            self.scope,
            self.order,
            operation,
            self.gate,
            self.span,
        )

    @property
    def choice(self) -> str | None:
        """The named choice that a searched edge was drawn from, if it was."""
        return self.gate.choice if self.gate else None


@frozen
class Connection:
    """The parallel edges from one node to another, in order."""

    id: str
    source: str
    target: str
    searched: bool
    edges: tuple[Edge, ...]
    relay: str | None = None  # id of i' once inserted

    @property
    def groups(self) -> list[str]:
        """Of a searched one, the tied groups of its candidates."""
        return [edge.searched_gate.group for edge in self.edges]

    @property
    def tie(self) -> str:
        """Of a searched one, what it is called wherever tied instances choose for it."""
        return self.groups[0].rpartition(":")[0]


@frozen
class Residual:
    """A statement after expansion: loops unrolled, conditions decided, references literal.

    Parameters of the motif are still names in its operations, which is what a derived spec is
    written from. ``edges`` are the edges it laid: one for each source of a merge, one for each
    operation of a connection, with that operation as written in ``terms``. ``nodes`` are the nodes
    it declares, ``instances`` the motif instances it makes.
    """

    statement: tree.Statement
    edges: tuple[str, ...] = ()
    terms: tuple[tree.OperationTerm, ...] = ()
    nodes: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()


@frozen
class Instance:
    """A motif at work: the root is the network, whose path is empty.

    ``group_path`` is ``path`` with tied siblings folded together; ``chain`` names the chain it is
    a link of. Instances of one motif and parent that are ``shared`` are one module. One with
    ``states`` is a scan: it runs at each position of the series that come in, and each of these
    inputs holds what its output was at the position before.
    """

    path: str
    group_path: str
    motif: str
    parent: str | None
    parameters: tuple[tuple[str, int], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: tuple[Residual, ...] = field(default=(), eq=False, repr=False)
    chain: str | None = None
    shared: bool = False
    states: tuple[tuple[str, str], ...] | None = None


@frozen
class RetainConstraint:
    """At most ``count`` searched connections survive into the node."""

    node: str
    count: int
    span: Span | None = field(default=None, eq=False, repr=False)


CostName: TypeAlias = Literal["parameters", "flops", "latency"]


@frozen
class BudgetConstraint:
    """What a found network may cost at most.

    Trainable numbers, multiply-accumulates, or nanoseconds of a forward pass.
    """

    cost: CostName
    limit: int
    span: Span | None = field(default=None, eq=False, repr=False)


@frozen
class Timing:
    """How long the parts of a graph take, nanoseconds, as `Latencies.timing` has looked them up.

    Args:
        edges: each edge's operation, by its id.
        arrivals: at nodes that merge, each arrival after the first, by the node's id.
        call: the call of the whole network, whatever is in it.
    """

    edges: Mapping[str, int]
    arrivals: Mapping[str, int]
    call: int


# Parallel edges as networkx keeps them: by id, each a table with its payload. Its views of edges
# and degrees are left alone: they keep the whole graph alive until the collector comes.
_Parallel: TypeAlias = Mapping[str, Mapping[str, Edge]]


def _payloads(parallels: Iterable[_Parallel]) -> list[Edge]:
    """The edges by their order."""
    edges = [entry["payload"] for parallel in parallels for entry in parallel.values()]
    return sorted(edges, key=attrgetter("order"))


def topological(network: nx.DiGraph[str]) -> list[str]:
    """The nodes, each after all it depends on; those on a cycle or after one are left out."""
    waiting = {node: len(network.pred[node]) for node in network}
    order = [node for node, count in waiting.items() if not count]
    for node in order:  # which grows
        for successor in network.successors(node):
            waiting[successor] -= 1
            if not waiting[successor]:
                order.append(successor)
    return order


@frozen
class Graph:
    """A network: nodes and edges in ``network``, motif instances by path (parents first)."""

    name: str
    instances: dict[str, Instance]
    network: nx.MultiDiGraph[str] = field(factory=nx.MultiDiGraph)
    retains: tuple[RetainConstraint, ...] = ()
    budgets: tuple[BudgetConstraint, ...] = ()
    objectives: tuple[Objective, ...] = ()
    timing: Timing | None = field(default=None, eq=False, repr=False)  # what is left of it keeps it

    def rebuild(self, nodes: Iterable[Node], edges: Iterable[Edge]) -> Graph:
        """The graph with these payloads; edges that miss an end are an error of the caller."""
        network: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for node in nodes:
            network.add_node(node.id, payload=node)
        for edge in edges:
            assert edge.source in network, f"no node `{edge.source}`"
            assert edge.target in network, f"no node `{edge.target}`"
            network.add_edge(edge.source, edge.target, key=edge.id, payload=edge)
        return evolve(self, network=network)

    @property
    def root(self) -> Instance:
        """The network itself."""
        return self.instances[""]

    def node(self, identifier: str) -> Node:
        """The node of that id."""
        return self.network.nodes[identifier]["payload"]  # type: ignore[no-any-return]

    def nodes(self) -> Iterator[Node]:
        """All nodes in the order of their making."""
        payloads: Any = self.network.nodes(data="payload")
        for _, payload in payloads:
            yield payload

    def edges(self) -> list[Edge]:
        """All edges by their order."""
        rows: Any = self.network.adjacency()
        return _payloads(parallel for _, row in rows for parallel in row.values())

    def searched(self) -> list[Edge]:
        """The searched edges by gate number."""
        return [edge for edge in self.edges() if edge.gate is not None]

    def folded(self, node: str) -> str:
        """A node's name with tied instances folded together."""
        place = self.node(node)
        return f"{self.instances[place.scope].group_path}.{place.name}"

    def incoming(self, node: str) -> list[Edge]:
        """Edges into a node by their order."""
        network: Any = self.network
        return _payloads(network.get_edge_data(n, node) for n in network.predecessors(node))

    def outgoing(self, node: str) -> list[Edge]:
        """Edges out of a node by their order."""
        network: Any = self.network
        return _payloads(network.get_edge_data(node, n) for n in network.successors(node))

    def connections(self, node: str) -> list[Connection]:
        """The connections into a node, seen through their i' nodes."""
        by_id: dict[str, list[Edge]] = {}
        for edge in self.incoming(node):
            by_id.setdefault(edge.connection, []).append(edge)
        result = []
        for identifier, edges in by_id.items():
            source, relay = edges[0].source, None
            if self.node(source).role == "relay":
                source, relay = self.incoming(source)[0].source, source
            searched = edges[0].kind == "searched"
            result.append(Connection(identifier, source, node, searched, tuple(edges), relay))
        return result

    def all_connections(self) -> list[Connection]:
        """Every connection, by the node it enters."""
        return [
            connection
            for node in self.nodes()
            if node.role != "relay"
            for connection in self.connections(node.id)
        ]

    def topological(self) -> list[str]:
        """Node ids, each after all it depends on; see `topological`."""
        return topological(self.network)

    def children(self, path: str) -> list[Instance]:
        """Instances directly inside one, in order."""
        return [i for i in self.instances.values() if i.parent == path]

    def groups(self) -> dict[str, list[Edge]]:
        """Searched edges by tied group, in order of their first gate."""
        result: dict[str, list[Edge]] = {}
        for edge in self.searched():
            result.setdefault(edge.searched_gate.group, []).append(edge)
        return result

    def subgraph(self, nodes: set[str], edges: set[str]) -> Graph:
        """The graph of these nodes and edges alone, gates renumbered in order."""
        kept = [e for e in self.edges() if e.id in edges and {e.source, e.target} <= nodes]
        gated = [(e.id, e.gate) for e in kept if e.gate is not None]
        gates = {
            key: gate if gate.number == n else evolve(gate, number=n)
            for n, (key, gate) in enumerate(gated)
        }
        return self.rebuild(
            [n for n in self.nodes() if n.id in nodes],
            [e if e.gate == gates.get(e.id) else evolve(e, gate=gates[e.id]) for e in kept],
        )
