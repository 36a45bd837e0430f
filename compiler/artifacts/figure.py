"""Graph to Graphviz: motif by motif, as in a paper.

Each motif is drawn once for all instances that share its architecture, the network around them
last. Searched edges are dashed and carry the name of their choice, which the legend spells out;
after a search the surviving operations are drawn one by one with their gamma, and beside them a
pale line that lists what was removed, round by round.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import graphviz
from attrs import define, field

from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Connection, Edge, Graph, Instance, Node
from bayesnas.compiler.graph.walks import drop_dead, item
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import write_bytes, write_text

FORMATS: Final = ("svg", "pdf", "png", "dot")
NO_DOT: Final = (
    "the program `dot` is not installed: install Graphviz (Debian: `apt-get install graphviz`, "
    "macOS: `brew install graphviz`), then run `dot -T{kind} {dot} -o {picture}`"
)
_INPUT, _OUTPUT, _MOTIF = "#dbe9f6", "#dff0d8", "#fdf3d8"
_FIXED, _SEARCHED, _KEPT = "#444444", "#1f5fa8", "#b3261e"
_PALE, _GONE = "#bbbbbb", "#888888"  # lines, words
_MERGES: Final[Mapping[str, str]] = {"sum": "+", "concat": "concat", "product": "×"}
_FONT: Final = "Helvetica"
_WIDTH: Final = 28  # of a line in a label
_GLUE: Final = "\N{NO-BREAK SPACE}"  # no line ends here
_MANY: Final = 300  # edges beyond which Graphviz takes long to place and curve them


def draw(graph: Graph, annotation: Annotation | None = None) -> str:
    """The graph in the DOT language."""
    found = annotation or Annotation()
    kept = {edge.id for edge in graph.edges()} - found.removed.keys()
    left = drop_dead(graph.subgraph({node.id for node in graph.nodes()}, kept))
    return _Figure(graph, found, frozenset(left.network)).source()


def has_dot() -> bool:
    """Whether Graphviz's program ``dot`` can be found."""
    return shutil.which("dot") is not None


def write_figure(dot: str, path: Path) -> str | None:
    """Write ``path`` in the format of its ending, and the .dot it comes from beside it.

    Returns:
        None, or how to get the picture where the program ``dot`` is missing.

    Raises:
        DiagnosticError: D420 (unknown ending), D421 (``dot`` failed; status 1).
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise DiagnosticError(
            Diagnostic(
                "D420",
                f"cannot draw `{path.name}`",
                help="end the name in " + ", ".join(f".{f}" for f in FORMATS),
            )
        )
    source = path.with_suffix(".dot")
    write_text(source, dot)
    if kind == "dot":
        return None
    if not has_dot():
        return NO_DOT.format(dot=source, kind=kind, picture=path)
    try:
        write_bytes(path, graphviz.Source(dot).pipe(format=kind))
    except graphviz.backend.execute.CalledProcessError as error:
        reason = str(error).splitlines()[0]
        raise DiagnosticError(
            Diagnostic(
                "D421",
                "Graphviz could not draw the figure",
                notes=(reason,),
                help=f"the figure's source is at `{source}`; try `dot -Tsvg {source}`",
            ),
            status=1,
        ) from None
    return None


@define
class _Figure:
    graph: Graph
    found: Annotation
    alive: frozenset[str]  # nodes that what was removed has not left dead
    connections: dict[str, list[Connection]] = field(init=False)  # by scope
    choices: dict[str, tuple[str, ...]] = field(factory=dict)  # legend: name -> labels

    def __attrs_post_init__(self) -> None:
        self.connections = {}
        for connection in self.graph.all_connections():
            self.connections.setdefault(connection.edges[0].scope, []).append(connection)

    def source(self) -> str:
        figure = graphviz.Digraph(self.graph.name)
        figure.attr(rankdir="TB", fontname=_FONT, fontsize="13", nodesep="0.35", ranksep="0.55")
        figure.attr("node", fontname=_FONT, fontsize="11", shape="box", height="0.3")
        figure.attr("edge", fontname=_FONT, fontsize="9", color=_FIXED, arrowsize="0.7")
        drawn = [(members, self._scope(members[0])) for members in self._architectures()]
        for number, (members, scope) in enumerate(_alike(drawn)):
            scope.name = f"cluster_{number}"
            title = self._title(members)
            scope.attr(label=title, style="rounded", color="#999999", margin="14")
            figure.subgraph(scope)
        self._legend(figure)
        if sum(" -> " in line for line in figure.body) > _MANY:
            figure.attr(splines="line", nslimit="2")
        return str(figure.source)

    def _architectures(self) -> list[list[Instance]]:
        """Instances that share motif and architecture, the network last."""
        groups: dict[tuple[str, str], list[Instance]] = {}
        for instance in self.graph.instances.values():
            groups.setdefault((instance.motif, instance.group_path), []).append(instance)
        root = groups.pop((self.graph.root.motif, ""))
        return [*groups.values(), root]

    def _title(self, members: list[Instance]) -> str:
        first = members[0]
        if first.path == "":
            return f"network {first.motif}"
        kind = first.group_path.rpartition("/")[2] if "/" in first.group_path else ""
        name = f"motif {first.motif}" + (f", {kind}" if kind else "")
        paths = [m.path for m in members]
        shown = ", ".join(paths) if len(paths) < 6 else f"{', '.join(paths[:5])}, ..."
        return f"{name}\n{shown}"

    # ------------------------------------------------------------------------------------ scopes

    def _scope(self, instance: Instance) -> graphviz.Digraph:
        figure = graphviz.Digraph()
        for node in self.graph.nodes():
            if node.scope == instance.path and node.role != "relay":
                self._node(figure, node)
        for child in self.graph.children(instance.path):
            figure.node(
                _id(f"<{child.path}>"),
                self._record(child, _local(child.path, instance.path)),
                shape="record",
                style="rounded,filled",
                fillcolor=_MOTIF,
            )
        for connection in self.connections.get(instance.path, ()):
            self._connection(figure, connection)
        return figure

    def _record(self, child: Instance, name: str) -> str:
        """A box for an instance: its inputs above where there are several, its outputs below."""
        rows = [f"{name}\\n{child.motif}{self._sizes(child)}"]
        if len(child.inputs) > 1:
            rows.insert(0, self._port_row(child.inputs))
        if len(child.outputs) > 1:
            rows.append(self._port_row(child.outputs))
        return f"{{{'|'.join(rows)}}}"

    def _port_row(self, ports: Iterable[str]) -> str:
        names = [self.graph.node(port).name for port in ports]
        return f"{{{'|'.join(f'<{name}> {name}' for name in names)}}}"

    def _sizes(self, instance: Instance) -> str:
        shapes = [self.graph.node(o).shape for o in instance.outputs]
        return "".join(f"\\n{_size(shape)}" for shape in shapes if shape)

    def _node(self, figure: graphviz.Digraph, node: Node) -> None:
        if self._is_alias(node):
            return
        size = f"\n{_size(node.shape)}" if node.shape else ""
        arrivals = self.graph.connections(node.id)
        merge = f"  ({_MERGES[node.merge]})" if len(arrivals) > 1 else ""
        fill = {"input": _INPUT, "output": _OUTPUT}.get(node.role, "white")
        pale = {} if node.id in self.alive else {"color": _PALE, "fontcolor": _PALE}
        style = "rounded,filled"
        penwidth = "1"
        if node.role in ("input", "output"):
            penwidth = "1.6"
        marks = {"input": "▸ ", "output": "◂ "}.get(node.role, "")
        figure.node(
            _id(node.id),
            f"{marks}{node.name}{merge}{size}",
            style=style,
            fillcolor=fill,
            penwidth=penwidth,
            **pale,
        )

    def _is_alias(self, node: Node) -> bool:
        """A node that only names an instance's output is drawn as that instance."""
        if node.role != "inner":
            return False
        arrivals = self.graph.connections(node.id)
        return (
            len(arrivals) == 1
            and len(arrivals[0].edges) == 1
            and arrivals[0].edges[0].operation.is_identity
            and not arrivals[0].searched
            and self.graph.node(arrivals[0].source).scope != node.scope
        )

    def _end(self, identifier: str, scope: str) -> str:
        """What is drawn for a node seen from a scope: itself, or the instance it belongs to."""
        node = self.graph.node(identifier)
        if node.scope == scope and self._is_alias(node):
            node = self.graph.node(self.graph.connections(identifier)[0].source)
        drawn = _id(item(node, scope))
        if node.scope != scope:
            instance = self.graph.instances[node.scope]
            ports = instance.inputs if node.role == "input" else instance.outputs
            if len(ports) > 1:
                return f"{drawn}:{node.name}"
        return drawn

    # --------------------------------------------------------------------------------------- edges

    def _connection(self, figure: graphviz.Digraph, connection: Connection) -> None:
        scope = connection.edges[0].scope
        source, target = self._end(connection.source, scope), self._end(connection.target, scope)
        if source.partition(":")[0] == target.partition(":")[0]:  # an alias of the instance
            return
        if not connection.searched:
            labels = [
                "" if e.operation.is_identity else e.operation.label for e in connection.edges
            ]
            dead = not {connection.source, connection.target} <= self.alive
            pale = {"color": _PALE, "fontcolor": _PALE} if dead else {}
            for label in labels:
                figure.edge(source, target, _label(label), **pale)
        elif self.found.gammas or self.found.removed:
            self._searched(figure, connection.edges, source, target)
        else:
            label = self._choice(connection)
            figure.edge(
                source,
                target,
                _label(label),
                style="dashed",
                color=_SEARCHED,
                fontcolor=_SEARCHED,
            )

    def _searched(
        self,
        figure: graphviz.Digraph,
        edges: Iterable[Edge],
        source: str,
        target: str,
    ) -> None:
        kept = [edge for edge in edges if edge.id not in self.found.removed]
        gone = [edge for edge in edges if edge.id in self.found.removed]
        for edge in kept:
            label = edge.operation.label
            gamma = self.found.gammas.get(edge.id)
            if gamma is not None:
                label += f"\nγ {gamma:.2g}"
            figure.edge(source, target, _label(label), color=_KEPT, fontcolor=_KEPT, penwidth="1.6")
        if gone:
            label = _departures(gone, self.found.removed)
            figure.edge(source, target, label, color=_PALE, fontcolor=_GONE, style="dashed")

    def _choice(self, connection: Connection) -> str:
        """The choice's name where it has one and a legend helps, else its operations."""
        labels = tuple(edge.operation.label for edge in connection.edges)
        choice = connection.edges[0].searched_gate.choice
        if choice is None or len(labels) == 1:
            return " |\n".join(labels)
        known = self.choices.setdefault(choice, labels)
        if known != labels:  # the same choice with other numbers, at another stride say
            shared = [one for one in labels if one in known]
            self.choices[choice] = known if len(shared) < len(known) else labels
        return choice

    def _legend(self, figure: graphviz.Digraph) -> None:
        rows = [
            f"{name}: one weight each for\\l    {_rows(labels)}\\l"
            for name, labels in self.choices.items()
        ]
        if self.found.gammas or self.found.removed:
            rows.append(
                "red: what the search kept, with its γ\\l"
                "dashed, pale: removed, and in which round\\l"
            )
        if rows:
            figure.node("legend", "".join(rows), shape="note", fontsize="9", color="#999999")


def _departures(gone: Iterable[Edge], rounds: Mapping[str, int]) -> str:
    """What went, round by round: `2: sep(3), skip`, and no number for round 0."""
    by_round: dict[int, list[str]] = {}
    for edge in sorted(gone, key=lambda edge: rounds[edge.id]):
        by_round.setdefault(rounds[edge.id], []).append(_unbroken(edge.operation.label))
    wrapper = textwrap.TextWrapper(
        _WIDTH, subsequent_indent=_GLUE * 4, break_long_words=False, break_on_hyphens=False
    )
    lines = [
        line
        for number, labels in by_round.items()
        for line in wrapper.wrap((f"{number}:{_GLUE}" if number else "") + ", ".join(labels))
    ]
    return "".join(f" {line} \\l" for line in lines).replace(_GLUE, " ")


def _unbroken(label: str) -> str:
    """An operation on one line, or, where it is long, with breaks before `>>` alone."""
    glued = label.replace(" ", _GLUE)
    return glued.replace(f"{_GLUE}>>", " >>") if len(label) > _WIDTH else glued


def _alike(
    drawn: Iterable[tuple[list[Instance], graphviz.Digraph]],
) -> list[tuple[list[Instance], graphviz.Digraph]]:
    """Architectures that look the same but for their sizes as one: untied ones do, at first."""
    result: dict[tuple[str, str], tuple[list[Instance], graphviz.Digraph]] = {}
    for members, scope in drawn:
        path = re.escape(members[0].path)
        look = re.sub(rf'"(instance )?{path}\.|\d+(×\d+)+', '"', "".join(scope.body))
        same, _ = result.setdefault((members[0].motif, look), ([], scope))
        same += members
    return list(result.values())


def _rows(labels: Iterable[str]) -> str:
    return "\\l    ".join(labels)


def _label(text: str) -> str:
    """Room on both sides, so that labels do not touch their edge."""
    lines = [
        part
        for line in text.split("\n")
        for part in (line.replace(" >> ", "\n>> ") if len(line) > _WIDTH else line).split("\n")
    ]
    return "\n".join(f" {line} " for line in lines) if text else ""


def _size(shape: tuple[int, ...] | None) -> str:
    return "×".join(map(str, shape or ()))


def _local(path: str, parent: str) -> str:
    return path.removeprefix(f"{parent}.") if parent else path


def _id(name: str) -> str:
    """Graphviz reads a colon as a port, and angle brackets as HTML."""
    return name.replace("<", "instance ").strip(">")
