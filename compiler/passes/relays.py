"""Pass 5: i'. Puts a node with a single identity before the candidates of each searched edge.

In: any graph. Out: the same graph in which every searched connection i -> j runs i -> i' -> j
(section 4.2 of Zhou et al. 2019): the identity i -> i' has its own switch, whose weight w_ii' is
1, and switching it off kills every operation of the edge. Does nothing where i' already stands.
"""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.graph.model import Edge, Graph, Node, Operation, Stage
from bayesnas.compiler.operations.primitives import Shape


def insert_relays(graph: Graph) -> Graph:
    """See the module's docstring; idempotent."""
    nodes = list(graph.nodes())
    edges: dict[str, Edge] = {edge.id: edge for edge in graph.edges()}
    identities: dict[Shape | None, Operation] = {}
    for connection in graph.all_connections():
        if not connection.searched or connection.relay is not None:
            continue
        first = connection.edges[0]
        source = graph.node(connection.source)
        relay = Node(
            f"{connection.id}'",
            f"{source.name}'",
            first.scope,
            "relay",
            shape=source.shape,
            span=first.span,
        )
        nodes.append(relay)
        identity = Edge(
            f"{connection.id}'",
            connection.source,
            relay.id,
            "relay",
            relay.id,
            first.scope,
            first.order,
            identities.setdefault(source.shape, skip(source.shape)),
            span=first.span,
        )
        edges[identity.id] = identity
        for edge in connection.edges:
            edges[edge.id] = evolve(edge, source=relay.id)
    return graph.rebuild(nodes, edges.values())


def skip(shape: Shape | None) -> Operation:
    """`skip` of tensors of a shape."""
    return Operation("skip", "skip", (Stage("skip", (), None, shape, shape),))
