"""Auxiliary outputs: there to be trained with, and in no network that is judged or kept.

A head in the middle of a deep network, which learns what its end learns (Szegedy et al., CVPR
2015).
"""

from __future__ import annotations

from attrs import evolve

from bayesnas.compiler.graph.model import Graph, Node
from bayesnas.compiler.graph.walks import drop_dead
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError


def without_auxiliary(graph: Graph) -> Graph:
    """The network without its auxiliary outputs and what leads to them alone; shapes are known.

    Raises:
        DiagnosticError: D237 (one has another shape than what it learns from, or alone reads an
            input).
    """
    ports = {graph.node(node).name: graph.node(node) for node in graph.root.outputs}
    auxiliary = [o for o in graph.objectives if o.auxiliary]
    if not auxiliary:
        return graph
    lasting = [name for name in ports if name not in {o.port for o in auxiliary}]
    for objective in auxiliary:
        _check_shape(ports[objective.port], ports[objective.of or lasting[0]])
    gone = {ports[o.port].id for o in auxiliary}
    root = evolve(graph.root, outputs=tuple(ports[name].id for name in lasting))
    kept = evolve(
        graph.subgraph(
            {node.id for node in graph.nodes()} - gone,
            {edge.id for edge in graph.edges() if edge.target not in gone},
        ),
        instances={**graph.instances, "": root},
        objectives=tuple(o for o in graph.objectives if not o.auxiliary),
    )
    living = drop_dead(kept)
    if lost := [graph.node(node) for node in root.inputs if node not in living.network]:
        message = f"`{lost[0].name}` is read by an auxiliary output alone"
        remedy = "let another output read it too: auxiliary ones are for training alone"
        raise DiagnosticError(Diagnostic("D237", message, lost[0].span, help=remedy))
    return living


def _check_shape(port: Node, learned: Node) -> None:
    if port.shape != learned.shape:
        message = (
            f"`{port.name}` is {list(port.shape or ())}, and `{learned.name}`, whose targets it "
            f"learns, is {list(learned.shape or ())}"
        )
        remedy = f"declare `{port.name}: {list(learned.shape or ())}`"
        raise DiagnosticError(Diagnostic("D237", message, port.span, help=remedy))
