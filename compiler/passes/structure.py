"""Pass 3: reachability. Refuses cycles and loose ends, then drops what no output needs.

It also refuses tied instances that would choose from different candidates.

In: an expanded graph. Out: the same graph without nodes that lie on no way from an input to an
output (a cell of a chain that nothing reads, say), and without instances left empty. A loose end
*inside* a motif is an error, because it is a slip of the pen; an element of a node list that no
edge touches is left out silently, because derived specs keep their lists.
"""

from __future__ import annotations

import networkx as nx

from bayesnas.compiler.graph.model import Connection, Edge, Graph, topological
from bayesnas.compiler.graph.scans import ways_back
from bayesnas.compiler.graph.walks import drop_dead, reach, scope_graphs
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote

_UNTIE = "give both the same, or let one of them choose for itself: without `tied`"


def check_structure(graph: Graph) -> Graph:
    """See the module's docstring.

    Raises:
        DiagnosticError: D213 (cycle), D214 (no way to an output), D215 (nothing arrives), D218
            (an input leads nowhere), D239 (tied instances with different candidates).
    """
    errors = _cycles(graph)
    errors = errors or [*_loose_ends(graph), *_unequal_ties(graph), *_unequal_retains(graph)]
    if errors:
        distinct = {(e.code, e.message, e.span): e for e in errors}
        raise DiagnosticError(*distinct.values())
    kept = drop_dead(graph)
    unused = [i for i in graph.root.inputs if i not in kept.network]
    if unused:
        raise DiagnosticError(
            *(
                Diagnostic(
                    "D218",
                    f"input `{name}` of the network leads to no output",
                    graph.node(name).span,
                    help="connect it, or leave it out",
                )
                for name in unused
            )
        )
    return kept


def _cycles(graph: Graph) -> list[Diagnostic]:
    """Cycles through nodes, or through motif instances that feed each other."""
    errors = []
    for scope, inside in scope_graphs(graph).items():
        if len(topological(inside)) == len(inside):
            continue
        cycle = nx.find_cycle(inside)
        names = [source.strip("<>").removeprefix(f"{scope}.") for source, *_ in cycle]
        edge: Edge = inside.edges[cycle[0]]["payload"]
        errors.append(
            Diagnostic(
                "D213",
                f"a cycle: `{names[0]}` depends on itself",
                edge.span,
                notes=(" -> ".join((*names, names[0])),),
                help="remove one of these edges; data flows one way",
            )
        )
    return errors


def _loose_ends(graph: Graph) -> list[Diagnostic]:
    """Nodes that nothing reaches, or that lead to no output of their own motif.

    Feeding another instance counts as leading on, so that a motif may ignore one of its inputs, and
    what a scan carries has use without a reader.
    """
    ports = [p for i in graph.instances.values() for p in (*i.outputs, *i.inputs) if i.path]
    network = graph.network
    carried = (name for end in ways_back(graph) for name in network.successors(end))
    useful = reach(network.predecessors, (*ports, *carried, *graph.root.outputs))
    errors = []
    for node in graph.nodes():
        motif = graph.instances[node.scope]
        arrives, leaves = bool(network.pred[node.id]), bool(network.succ[node.id])
        isolated = not arrives and not leaves and node.role == "inner" and node.name.endswith("]")
        if isolated or node.role == "input":
            continue
        if not arrives:
            message = f"nothing arrives at `{node.name}` of `{motif.motif}`"
            remedy = f"connect it: `... -> {node.name}`, or leave it out"
            errors.append(Diagnostic("D215", message, node.span, help=remedy))
        elif node.id not in useful:
            outputs = quote(graph.node(o).name for o in motif.outputs)
            message = f"`{node.name}` of `{motif.motif}` has no way to an output"
            remedy = f"connect it: `{node.name} -> ...`, or {_leave_out(graph, node.id)}"
            note = f"outputs are {outputs}"
            errors.append(Diagnostic("D214", message, node.span, notes=(note,), help=remedy))
    return errors


def _unequal_ties(graph: Graph) -> list[Diagnostic]:
    """Tied instances choose once: a candidate that one of them lacks would leave it without any."""
    first: dict[str, Connection] = {}
    errors = []
    for connection in graph.all_connections():
        if not connection.searched:
            continue
        other = first.setdefault(connection.tie, connection)
        if set(other.groups) == set(connection.groups):
            continue
        scopes = [graph.instances[c.edges[0].scope] for c in (other, connection)]
        message = f"tied instances of `{scopes[0].motif}` have different candidates"
        notes = tuple(
            f"`{scope.path}` has {quote(group.rpartition(':')[2] for group in c.groups)}"
            for scope, c in zip(scopes, (other, connection), strict=True)
        )
        errors.append(Diagnostic("D239", message, connection.edges[0].span, "", notes, _UNTIE))
    return errors


def _unequal_retains(graph: Graph) -> list[Diagnostic]:
    """Tied instances choose the same edges into a retained node, so that all must have them."""
    counts: dict[str, int] = {}
    for retain in graph.retains:
        counts[retain.node] = min(retain.count, counts.get(retain.node, retain.count))
    places = {graph.folded(retain.node): retain.span for retain in graph.retains}
    first: dict[str, str] = {}
    errors = []
    for node in graph.nodes():
        key = graph.folded(node.id)
        if key not in places:
            continue
        nodes = (first.setdefault(key, node.id), node.id)
        edges = [[c for c in graph.connections(n) if c.searched] for n in nodes]
        ties = [{c.tie for c in into} for into in edges]
        if ties[0] != ties[1]:
            what = "searched edges"
            has = ["edges from " + quote(graph.node(c.source).name for c in into) for into in edges]
        elif counts.get(nodes[0]) != counts.get(nodes[1]):
            what = "numbers of edges that stay"
            has = [f"`retain {counts[n]}`" if n in counts else "no `retain`" for n in nodes]
        else:
            continue
        paths = [graph.instances[graph.node(n).scope].path for n in nodes]
        message = f"tied instances of `{graph.instances[node.scope].motif}` have different {what}"
        notes = tuple(f"`{path}` has {one}" for path, one in zip(paths, has, strict=True))
        message += f" into `{node.name}`"
        errors.append(Diagnostic("D239", message, places[key], "", notes, _UNTIE))
    return errors


def _leave_out(graph: Graph, node: str) -> str:
    """What to do without a node; all that a motif with several outputs makes has a name."""
    for source in graph.network.pred[node]:
        port = graph.node(source)
        made = graph.instances[port.scope]
        if port.role == "output" and len(made.outputs) > 1:
            return f"take that output out of `{made.motif}`"
    return "leave it out"
