"""What a motif instance is in source: attributes, and the lines of its forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

import networkx as nx
from attrs import field, frozen

from bayesnas.compiler.emit.chains import Chain, carried, chain_at, origin, passes_on, source_of
from bayesnas.compiler.emit.edge_sources import EdgeSources, candidate_name, output_shape
from bayesnas.compiler.emit.names import RESERVED, TAKEN, identifier, unique
from bayesnas.compiler.emit.source import Family, ModuleSource, Value, call_source, list_source
from bayesnas.compiler.emit.texts import INDENT, LINE, joined, place_comment, wrapped
from bayesnas.compiler.graph.model import Connection, Graph, Instance
from bayesnas.compiler.graph.scans import carried_scans, series_of, ways_back
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
class Body:
    """One instance as it stands in source: two of equal ``key`` share a class.

    ``gates`` is how many it takes, ``helpers`` what it names of `preludes`. ``places`` tells for
    its own gates the attribute and the candidate, ``operations`` where in it the operation of each
    edge is, ``children`` the attribute (or place in a list) of each child instance by its path.
    """

    attributes: tuple[Attribute, ...]
    lines: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gates: int
    helpers: frozenset[str] = field(eq=False)
    places: Mapping[int, tuple[str, str]] = field(eq=False)
    operations: Mapping[str, str] = field(eq=False)
    children: Mapping[str, str] = field(eq=False)

    @property
    def key(self) -> Hashable:
        """What must be equal for one class to serve."""
        names = tuple((a.name, a.source.key) for a in self.attributes)
        return names, self.lines, self.inputs, self.outputs

    @property
    def values(self) -> tuple[Value, ...]:
        """All that may be a parameter of the class."""
        return tuple(value for a in self.attributes for value in a.source.values)


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


class Bodies:
    """The bodies of a graph's instances; children come before what they stand in.

    ``classes`` are those of the instances whose bodies are settled, by path; ``carried`` are the
    scans whose states go on from call to call.
    """

    def __init__(self, graph: Graph, sources: EdgeSources, carrying: bool = False) -> None:
        self.graph = graph
        self.carried = frozenset(carried_scans(graph) if carrying else ())
        self.sources = sources
        self.scopes = scope_graphs(graph)
        self.ranges = gate_ranges(graph)
        self.owners = owners(graph)
        self.classes: dict[str, Made] = {}

    def body(self, instance: Instance) -> Body:
        """The body of one instance."""
        writer = _BodyWriter(self, instance)
        writer.run()
        first, last = self.ranges.get(instance.path, (0, 0))
        return Body(
            tuple(writer.attributes),
            tuple(writer.lines),
            tuple(map(writer.value, instance.inputs)),
            tuple(map(writer.value, instance.outputs)),
            last - first,
            frozenset(writer.helpers).union(*(a.source.helpers for a in writer.attributes)),
            writer.places,
            writer.operations,
            writer.children,
        )


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


class _BodyWriter:
    """Attributes and forward lines of one instance, items in topological order."""

    def __init__(self, bodies: Bodies, instance: Instance) -> None:
        self.bodies = bodies
        self.graph = bodies.graph
        self.plan = bodies.sources.plan
        self.instance = instance
        self.variables: dict[str, str] = {}  # node id -> what holds it
        self.shared: dict[str, str] = {}  # node id -> what holds what its readers share
        self.loop_variables: dict[str, str] = {}
        self.names: set[str] = set(TAKEN)
        self.attributes: list[Attribute] = []
        self.attribute_names: set[str] = set(RESERVED) | {
            name for node in self.graph.root.inputs for name in statistics_names(self.graph, node)
        }
        self.lines: list[str] = []
        self.helpers: set[str] = set()
        self.places: dict[int, tuple[str, str]] = {}
        self.operations: dict[str, str] = {}
        self.children: dict[str, str] = {}
        self.modules: dict[str, str] = {}  # by motif, the attribute that all its calls share
        self.first_gate, self.last_gate = bodies.ranges.get(instance.path, (0, 0))

    def run(self) -> None:
        for node in self.instance.inputs:
            self.variables[node] = self._variable(self.graph.node(node).name)
        for group in self._groups():
            if isinstance(group, str):
                self._node(group)
            else:
                self._links(group)

    def _groups(self) -> list[str | list[Instance]]:
        """Nodes, and child instances, each after all it depends on; items of a list together."""
        children = {f"<{child.path}>": child for child in self.graph.children(self.instance.path)}
        inside = self.bodies.scopes[self.instance.path]
        order = {name: k for k, name in enumerate(inside)}
        groups: list[str | list[Instance]] = []
        for name in nx.lexicographical_topological_sort(inside, key=order.__getitem__):
            if name not in children:
                if self._is_made(name):
                    groups.append(name)
                continue
            last = groups[-1] if groups else ""
            if isinstance(last, list) and _follows(last[-1], children[name]):
                last.append(children[name])
            else:
                groups.append([children[name]])
        return groups

    def _is_made(self, node: str) -> bool:
        """Whether lines make a node: it does not come in, and is not but another name."""
        if node in self.variables or self.graph.node(node).role == "relay":
            return False
        return not passes_on(self.graph, node)

    def value(self, node: str) -> str:
        """The variable that holds a node."""
        return self.variables[origin(self.graph, node)]

    def _variable(self, name: str) -> str:
        result = unique(identifier(name), self.names)
        self.names.add(result)
        return result

    def _attribute(self, name: str, source: ModuleSource, span: Span | None) -> str:
        name = unique(identifier(name), self.attribute_names)
        self.attribute_names.add(name)
        self.attributes.append(Attribute(name, source, place_comment(span)))
        return name

    # ------------------------------------------------------------------------------------- nodes

    def _node(self, node: str) -> None:
        connections = self.graph.connections(node)
        terms = [self._arrival(c, alone=len(connections) == 1) for c in connections]
        merge = self.graph.node(node).merge
        variable = self.variables[node] = self._variable(self.graph.node(node).name)
        if len(terms) == 1:
            self.lines += wrapped(f"{BODY}{variable} = ", terms[0], level=2)
        elif merge == "concat":
            call = f"torch.cat([{', '.join(terms)}], dim=1)"
            self.lines += wrapped(f"{BODY}{variable} = ", call, level=2)
        else:
            self.lines += joined(variable, " + " if merge == "sum" else " * ", terms, 2)
        if self.plan is not None and node in self.plan.dense:
            self.lines.append(f"{BODY}{variable} = DenseGradient.apply({variable})")
            self.helpers.add("DenseGradient")

    def _arrival(self, connection: Connection, alone: bool) -> str:
        """Source of what one connection brings; a vector that a map is multiplied by, as a map."""
        term = self._connection(connection, alone)
        shape = self.graph.node(connection.target).shape or ()
        missing = len(shape) - len(output_shape(connection.edges[0]))
        return f"{term}[{', '.join([':, :', *['None'] * missing])}]" if missing else term

    def _connection(self, connection: Connection, alone: bool) -> str:
        """Source of what one connection brings."""
        source = self.value(connection.source)
        target = self.graph.node(connection.target).name
        local = self.graph.node(connection.source).name
        if self.graph.node(connection.source).scope != self.instance.path:
            local = source
        full = f"{identifier(target)}_from_{identifier(local)}"
        if connection.searched:
            return self._mixed(connection, full, source)
        name = target if alone else full
        terms = []
        for edge in connection.edges:
            if edge.operation.is_identity:
                terms.append(source)
                continue
            several = len(connection.edges) > 1
            operation = self.bodies.sources.operation(edge)
            attribute = self._attribute(
                f"{name}_{edge.operation.name}" if several else name, operation, edge.span
            )
            self.operations[edge.id] = attribute
            terms.append(f"self.{attribute}({source})")
        return terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"

    def _mixed(self, connection: Connection, name: str, source: str) -> str:
        mixed = self.bodies.sources.mixed(connection)
        attribute = self._attribute(name, mixed, connection.edges[0].span)
        for edge in connection.edges:
            candidate = candidate_name(edge)
            self.places[edge.searched_gate.number] = attribute, candidate
            self.operations[edge.id] = f"{attribute}.candidates.{candidate}"
        first = connection.edges[0].searched_gate.number
        arguments = [source, self._gates(first, first + len(connection.edges))]
        if self.plan is not None and self.plan.meets(connection.source):
            arguments.append(self._shared(connection.source))
        return f"self.{attribute}({', '.join(arguments)})"

    def _gates(self, first: int, last: int) -> str:
        """Of all gates, counted over the network, those from ``first`` to before ``last``."""
        return f"gates[:, {first - self.first_gate}:{last - self.first_gate}]"

    def _shared(self, node: str) -> str:
        """What holds the parts of their work that a node's readers share."""
        if node not in self.shared:
            name = self.shared[node] = self._variable(f"shared_{self.value(node)}")
            self.lines.append(f"{BODY}{name} = {{}}")
        return self.shared[node]

    # ---------------------------------------------------------------------------------- children

    def _links(self, links: Sequence[Instance]) -> None:
        """Children that stand in a list, or one: loops where they are fed alike."""
        classes = {link.path: self.bodies.classes[link.path].name for link in links}
        start = 0
        while start < len(links):
            chain = chain_at(self.graph, links, start, classes, self.bodies.ranges)
            if chain is None:
                self._child(links[start])
                start += 1
            else:
                self._chain(chain)
                start += len(chain.links)

    def _child(self, child: Instance) -> None:
        name = _local(child.path, self.instance.path)
        attribute = self._module(child) if child.shared else self._own(child, name)
        self.children[child.path] = attribute
        if child.states is not None:
            self._scan(child, attribute)
            return
        arguments = [
            self.variables[source_of(self.graph, child, i)] for i in range(len(child.inputs))
        ]
        if child.path in self.bodies.ranges:
            arguments.append(self._gates(*self.bodies.ranges[child.path]))
        outputs = self._outputs(child, name)
        self._assign(outputs, f"self.{attribute}({', '.join(arguments)})", 2)

    def _scan(self, scan: Instance, attribute: str) -> None:
        """A loop over the positions of series: lists of what each makes, stacked to series."""
        graph, series, back = self.graph, series_of(self.graph, scan), ways_back(self.graph)
        given = {
            port: self.variables[source_of(graph, scan, k)] for k, port in enumerate(scan.inputs)
        }
        states = [start for start, _ in scan.states or ()]
        held = {port: self._variable(graph.node(port).name) for port in (*series, *states)}
        carriers = {port: self._carrier(scan, attribute, port) for port in states}
        begun = [
            f"{carriers[port]}({given[port]})" if carriers[port] else given[port] for port in states
        ]
        self._assign_each([held[port] for port in states], begun)
        made = {
            port: held[back[port]] if port in back else self._variable(graph.node(port).name)
            for port in scan.outputs
        }
        kept = {
            port: self._variable(f"{identifier(graph.node(port).name)}_list")
            for port in scan.outputs
            if graph.outgoing(port)
        }
        self.lines += [f"{BODY}{several} = []" for several in kept.values()]
        turns = [f"{given[port]}.unbind(dim=2)" for port in series]
        over = turns[0] if len(turns) == 1 else f"zip({', '.join(turns)})"
        head = f"{BODY}for {', '.join(held[port] for port in series)} in "
        self.lines += wrapped(head, over, level=2, tail=":")
        arguments = [held.get(port, given[port]) for port in scan.inputs]
        if scan.path in self.bodies.ranges:
            arguments.append(self._gates(*self.bodies.ranges[scan.path]))
        call = f"self.{attribute}({', '.join(arguments)})"
        self._assign([made[port] for port in scan.outputs], call, 3)
        for port, several in kept.items():
            self.lines += wrapped(f"{BODY}{INDENT}", f"{several}.append({made[port]})", level=3)
        for port, carrier in carriers.items():
            if carrier:
                self.lines.append(f"{BODY}{carrier}.keep({held[port]})")
        for port, several in kept.items():
            self.variables[port] = self._variable(graph.node(graph.outgoing(port)[0].target).name)
            call = f"torch.stack({several}, dim=2)"
            self.lines += wrapped(f"{BODY}{self.variables[port]} = ", call, level=2)

    def _carrier(self, scan: Instance, attribute: str, port: str) -> str:
        """What carries a state of a scan from call to call; empty where nothing does."""
        if scan.path not in self.bodies.carried:
            return ""
        node = self.graph.node(port)
        width = (node.shape or ())[0]
        source = call_source("Carried", "Carried", ("width",), (width,))
        self.helpers.add("Carried")
        return f"self.{self._attribute(f'{attribute}_{node.name}', source, self._span(scan))}"

    def _own(self, child: Instance, name: str) -> str:
        """The attribute of a child that is a module of its own."""
        return self._attribute(name, self.bodies.classes[child.path].call(), self._span(child))

    def _module(self, child: Instance) -> str:
        """The attribute of a module that has several calls."""
        if child.motif not in self.modules:
            self.modules[child.motif] = self._own(child, child.motif)
        return self.modules[child.motif]

    def _outputs(self, child: Instance, name: str) -> list[str]:
        """New variables for what a child returns."""
        for output in child.outputs:
            label = name if len(child.outputs) == 1 else f"{name}_{self.graph.node(output).name}"
            self.variables[output] = self._variable(label)
        return [self.variables[output] for output in child.outputs]

    def _span(self, child: Instance) -> Span | None:
        return self.graph.incoming(child.inputs[0])[0].span

    def _assign(self, targets: Sequence[str], text: str, level: int) -> None:
        pad = INDENT * level
        prefix = f"{pad}{', '.join(targets)} = "
        if len(prefix) > LINE // 2:
            self.lines += wrapped(f"{pad}outputs = ", text, level=level)
            self.lines += wrapped(pad, f"({', '.join(targets)})", level=level, tail=" = outputs")
        else:
            self.lines += wrapped(prefix, text, level=level)

    # ------------------------------------------------------------------------------------ chains

    def _chain(self, chain: Chain) -> None:
        """A list of modules, and a loop that runs them."""
        first = chain.links[0]
        name, start = _numbered(_local(first.path, self.instance.path))
        label = f"{name}_from_{start}" if start else name  # items are counted from 0
        if first.shared:
            attribute = self._module(first)
            self.children |= {link.path: attribute for link in chain.links}
        else:
            links = list_source([self.bodies.classes[link.path].call() for link in chain.links])
            attribute = self._attribute(label, links, self._span(first))
            self.children |= {link.path: f"{attribute}.{k}" for k, link in enumerate(chain.links)}

        inputs = [self.variables[source_of(self.graph, first, i)] for i in range(len(first.inputs))]
        starts = [inputs[i] for i in chain.moving]
        for i in chain.moving:
            port = self.graph.node(first.inputs[i]).name if len(chain.moving) > 1 else name
            inputs[i] = self._variable(port)
        self._assign_each([inputs[i] for i in chain.moving], starts)
        module = f"self.{attribute}" if first.shared else self._loop_variable(first.motif)
        gates = []
        if first.path in self.bodies.ranges:
            stem = identifier(first.motif) if first.shared else module
            gates.append(self._loop_variable(f"{stem}_gates"))
        self._head(chain, attribute, gates if first.shared else [module, *gates])
        self._turn(chain, inputs, f"{module}({', '.join([*inputs, *gates])})", name)
        for i, node in carried(self.graph, chain).items():
            self.variables[node] = inputs[i]

    def _loop_variable(self, name: str) -> str:
        """The same for all loops over modules of one motif."""
        if name not in self.loop_variables:
            self.loop_variables[name] = self._variable(name)
        return self.loop_variables[name]

    def _assign_each(self, targets: Sequence[str], values: Sequence[str]) -> None:
        """``a, b = x, y``, or a line each; none of the values is a target."""
        line = f"{BODY}{', '.join(targets)} = {', '.join(values)}"
        lines = [f"{BODY}{one} = {value}" for one, value in zip(targets, values, strict=True)]
        self.lines += [line] if len(line) <= LINE else lines

    def _head(self, chain: Chain, attribute: str, variables: Sequence[str]) -> None:
        """``for module, its gates in ...:``."""
        text, ranges = f"self.{attribute}", self.bodies.ranges
        start, stop = chain.links[0].path, chain.links[-1].path
        if start in ranges:
            first, last = ranges[start][0], ranges[stop][1]
            everything = (first, last) == (self.first_gate, self.last_gate)
            gates = "gates" if everything else self._gates(first, last)
            split = f"{gates}.split({ranges[start][1] - first}, dim=1)"
            text = split if chain.links[0].shared else f"zip({text}, {split})"
        elif chain.links[0].shared:
            text = f"range({len(chain.links)})"
        prefix = f"{BODY}for {', '.join(variables) or '_'} in "
        self.lines += wrapped(prefix, text, level=2, tail=":")

    def _turn(self, chain: Chain, inputs: Sequence[str], call: str, name: str) -> None:
        """One turn: the link is called, and what moves takes its next value."""
        targets = [inputs[i] for i in chain.moving]
        origins = [chain.origins[i] for i in chain.moving]
        outputs = [k for kind, k in origins if kind == "output"]
        count = len(chain.links[-1].outputs)
        if count == 1 and outputs == [0]:
            values = [call if kind == "output" else inputs[k] for kind, k in origins]
            line = f"{BODY}{INDENT}{', '.join(targets)} = {', '.join(values)}"
            if len(line) <= LINE:
                self.lines.append(line)
                return
        if sorted(outputs) == list(range(count)) and len(outputs) == len(targets):
            by_output = dict(zip(outputs, targets, strict=True))
            self._assign([by_output[k] for k in range(count)], call, 3)
            return
        made = self._outputs(chain.links[-1], f"{name}_next")
        self._assign(made, call, 3)
        values = [made[k] if kind == "output" else inputs[k] for kind, k in origins]
        self._assign(targets, values[0] if len(values) == 1 else f"({', '.join(values)})", 3)


def _follows(one: Instance, other: Instance) -> bool:
    """Whether one is the next in a list after another of its motif: ``h[3]`` after ``h[2]``."""
    if one.states is not None or other.states is not None:
        return False
    (name, number), after = _numbered(one.path), _numbered(other.path)
    return one.motif == other.motif and number is not None and after == (name, number + 1)


def _numbered(path: str) -> tuple[str, int | None]:
    """``h[2]`` as name and number."""
    name, bracket, number = path.rpartition("[")
    return (name, int(number[:-1])) if bracket and path.endswith("]") else (path, None)


def _local(path: str, parent: str) -> str:
    return path.removeprefix(f"{parent}.") if parent else path
