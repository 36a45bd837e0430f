"""Weights that two places of a network have in common: an `unembedding` scores words by the vectors
of the network's one `embedding` of that size.
"""

from __future__ import annotations

from collections.abc import Iterator

from bayesnas.compiler.graph.model import Edge, Graph, Stage
from bayesnas.compiler.graph.sharing import owner_edges
from bayesnas.compiler.graph.walks import primitives_of

# An edge, and the number of the stage in it: among all of its primitives, in order.
Place = tuple[str, int]


def tied_weights(graph: Graph) -> Iterator[tuple[Edge, Place, list[tuple[Edge, Place]]]]:
    """Each `unembedding` with its edge and place, and the embeddings of its size; shapes are known.

    Calls of a shared module are one place, and so is what they hold.
    """
    if not any(stage.primitive == "unembedding" for _, _, stage in _stages(graph)):
        return
    owners = owner_edges(graph)
    sizes: dict[tuple[int, int], dict[Place, Edge]] = {}
    for edge, number, stage in _stages(graph):
        if stage.primitive == "embedding":
            numbers = dict(stage.arguments)
            same = sizes.setdefault((numbers["words"], numbers["width"]), {})
            if owners[edge.id] == edge.id:
                same[edge.id, number] = edge
    for edge, number, stage in _stages(graph):
        if stage.primitive == "unembedding" and owners[edge.id] == edge.id:
            size = dict(stage.arguments)["words"], (stage.input_shape or (0,))[0]
            found = sizes.get(size, {})
            yield edge, (edge.id, number), [(one, place) for place, one in found.items()]


def _stages(graph: Graph) -> Iterator[tuple[Edge, int, Stage]]:
    for edge in graph.edges():
        for number, stage in enumerate(primitives_of(edge.operation.stages)):
            yield edge, number, stage
