"""One motif instance while it is written: its names, its attributes and lines so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from bayesnas.compiler.emit.edge_sources import EdgeSources
from bayesnas.compiler.emit.motifs.chains import origin, source_of
from bayesnas.compiler.emit.names import RESERVED, TAKEN, identifier, unique
from bayesnas.compiler.emit.source import Family, ModuleSource, Value, call_source
from bayesnas.compiler.emit.texts import INDENT, LINE, place_comment, wrapped
from bayesnas.compiler.graph.model import Graph, Instance
from bayesnas.compiler.graph.scans import carried_scans
from bayesnas.compiler.graph.sharing import owners
from bayesnas.compiler.graph.walks import scope_graphs
from bayesnas.dsl.diagnostics import Span

BODY: Final = INDENT * 2


@frozen
class Attribute:
    """One ``self.name = source``; ``comment`` is its place in the spec."""

    name: str
    source: ModuleSource
    comment: str


@frozen
class Made:
    """The class of an instance, and with what it is called."""

    name: str
    motif: str
    family: Family
    values: tuple[Value, ...]

    def call(self) -> ModuleSource:
        """Source of the instance."""
        arguments = self.family.arguments(self.values)
        return call_source(self.name, self.motif, self.family.parameters, arguments)


class Common:
    """What all instances of a graph have in common while they are written.

    ``classes`` are those of the instances that are, by path: children come before what they stand
    in. ``carried`` are the scans whose states go on from call to call.
    """

    def __init__(self, graph: Graph, sources: EdgeSources, carrying: bool = False) -> None:
        self.graph = graph
        self.carried = frozenset(carried_scans(graph) if carrying else ())
        self.sources = sources
        self.scopes = scope_graphs(graph)
        self.ranges = gate_ranges(graph)
        self.owners = owners(graph)
        self.classes: dict[str, Made] = {}


def gate_ranges(graph: Graph) -> dict[str, tuple[int, int]]:
    """First and past-the-last gate inside each instance: they are numbered without gaps."""
    ranges: dict[str, tuple[int, int]] = {}
    for edge in graph.searched():
        number = edge.searched_gate.number
        path: str | None = edge.scope
        while path is not None:
            first, last = ranges.get(path, (number, number))
            ranges[path] = min(first, number), max(last, number + 1)
            path = graph.instances[path].parent
    return ranges


def statistics_names(graph: Graph, node: str) -> tuple[str, str]:
    """The buffers of the mean and the deviation of an input, told apart where there are several."""
    end = f"_{graph.node(node).name}" if len(graph.root.inputs) > 1 else ""
    return f"input_mean{end}", f"input_std{end}"


class Writing:
    """One instance: attributes, and the lines of its forward pass.

    ``places`` tells for its own gates the attribute and the candidate, ``operations`` where in it
    the operation of each edge is, ``children`` the attribute (or place in a list) of each child
    instance by its path; ``helpers`` are what its lines name of `preludes`.
    """

    def __init__(self, common: Common, instance: Instance) -> None:
        self.common, self.graph, self.instance = common, common.graph, instance
        self.attributes: list[Attribute] = []
        self.lines: list[str] = []
        self.helpers: set[str] = set()
        self.places: dict[int, tuple[str, str]] = {}
        self.operations: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self.variables: dict[str, str] = {}  # node id -> what holds it
        self.shared: dict[str, str] = {}  # node id -> what holds what its readers share
        self.loop_variables: dict[str, str] = {}
        self.modules: dict[str, str] = {}  # by motif, the attribute that all its calls share
        self.first_gate, self.last_gate = common.ranges.get(instance.path, (0, 0))
        self._names: set[str] = set(TAKEN)
        self._attribute_names: set[str] = set(RESERVED) | {
            name for node in self.graph.root.inputs for name in statistics_names(self.graph, node)
        }

    # ------------------------------------------------------------------------------------- names

    def variable(self, name: str) -> str:
        """A new variable, called so where that is free."""
        result = unique(identifier(name), self._names)
        self._names.add(result)
        return result

    def loop_variable(self, name: str) -> str:
        """The same for all loops over modules of one motif."""
        if name not in self.loop_variables:
            self.loop_variables[name] = self.variable(name)
        return self.loop_variables[name]

    def value(self, node: str) -> str:
        """The variable that holds a node."""
        return self.variables[origin(self.graph, node)]

    def given(self, child: Instance) -> list[str]:
        """The variables that are a child's inputs."""
        sources = (source_of(self.graph, child, k) for k in range(len(child.inputs)))
        return [self.variables[source] for source in sources]

    def returned(self, child: Instance, name: str) -> list[str]:
        """New variables for what a child returns."""
        for output in child.outputs:
            label = name if len(child.outputs) == 1 else f"{name}_{self.graph.node(output).name}"
            self.variables[output] = self.variable(label)
        return [self.variables[output] for output in child.outputs]

    def gates(self, first: int, last: int) -> str:
        """Of all gates, counted over the network, those from ``first`` to before ``last``."""
        return f"gates[:, {first - self.first_gate}:{last - self.first_gate}]"

    def gates_of(self, child: Instance) -> list[str]:
        """Those that a child takes, if it takes some."""
        ranges = self.common.ranges
        return [self.gates(*ranges[child.path])] if child.path in ranges else []

    # -------------------------------------------------------------------------------- attributes

    def attribute(self, name: str, source: ModuleSource, span: Span | None) -> str:
        """A new attribute, called so where that is free."""
        name = unique(identifier(name), self._attribute_names)
        self._attribute_names.add(name)
        self.attributes.append(Attribute(name, source, place_comment(span)))
        return name

    def module(self, child: Instance, name: str) -> str:
        """The attribute of a child: a module of its own, or one that has several calls."""
        if not child.shared:
            return self._own(child, name)
        if child.motif not in self.modules:
            self.modules[child.motif] = self._own(child, child.motif)
        return self.modules[child.motif]

    def _own(self, child: Instance, name: str) -> str:
        return self.attribute(name, self.common.classes[child.path].call(), self.span(child))

    def span(self, child: Instance) -> Span | None:
        """Where the spec makes a child."""
        return self.graph.incoming(child.inputs[0])[0].span

    # ------------------------------------------------------------------------------------- lines

    def assign(self, targets: Sequence[str], text: str, level: int) -> None:
        """``a, b = text``, so many steps indented."""
        pad = INDENT * level
        prefix = f"{pad}{', '.join(targets)} = "
        if len(prefix) > LINE // 2:
            self.lines += wrapped(f"{pad}outputs = ", text, level=level)
            self.lines += wrapped(pad, f"({', '.join(targets)})", level=level, tail=" = outputs")
        else:
            self.lines += wrapped(prefix, text, level=level)

    def assign_each(self, targets: Sequence[str], values: Sequence[str]) -> None:
        """``a, b = x, y``, or a line each; none of the values is a target."""
        line = f"{BODY}{', '.join(targets)} = {', '.join(values)}"
        lines = [f"{BODY}{one} = {value}" for one, value in zip(targets, values, strict=True)]
        self.lines += [line] if len(line) <= LINE else lines


def local_name(path: str, parent: str) -> str:
    """What an instance is called in the one that it stands in."""
    return path.removeprefix(f"{parent}.") if parent else path


def numbered(path: str) -> tuple[str, int | None]:
    """``h[2]`` as name and number."""
    name, bracket, number = path.rpartition("[")
    return (name, int(number[:-1])) if bracket and path.endswith("]") else (path, None)
