"""Graph to PyTorch source that reads as if a person had written it.

The source imports torch alone. Operations of the spec become functions, motifs become classes:
instances that differ in numbers alone share one, whose parameters are the numbers that differ.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import networkx as nx
from attrs import frozen

from bayesnas.compiler.collector import without_collector
from bayesnas.compiler.emit.edges import DEPTHWISE, MIXED_EDGE, SHARED_EDGE
from bayesnas.compiler.emit.functions import Functions
from bayesnas.compiler.emit.schedule import Schedule, slices
from bayesnas.compiler.emit.source import (
    INDENT,
    LINE,
    TAKEN,
    Expression,
    Family,
    camel,
    identifier,
    imported_modules,
    join,
    joined,
    place_comment,
    printable,
    sequence_expression,
    sequential,
    spread,
    stages_expression,
    unify,
    unique,
    wrapped,
)
from bayesnas.compiler.graph.model import Connection, Edge, Graph, Instance, Operation
from bayesnas.compiler.graph.walks import scope_graphs
from bayesnas.compiler.operations.layers import PRELUDES
from bayesnas.dsl.diagnostics import Span

_BODY: Final = INDENT * 2


@frozen
class Emitted:
    """Source of a network.

    ``class_name`` is the network's class; ``gates`` tells, for each gate, the path of the mixed
    edge in the module and the name of the candidate.
    """

    source: str
    class_name: str
    gates: tuple[tuple[str, str], ...]


@without_collector
def emit_torch(graph: Graph, origin: str, plan: Schedule | None = None) -> Emitted:
    """PyTorch source of a graph whose shapes are known; ``origin`` says where it comes from.

    Without a plan, every operation runs by itself. With one, the network is the same function of
    the same parameters, under the same names, and faster.
    """
    return _Emitter(graph, plan).emit(origin)


# ---------------------------------------------------------------------------------------- emitter


@frozen
class _Attribute:
    """One ``self.name = expression``; ``comment`` is its place in the spec."""

    name: str
    expression: Expression
    comment: str


@frozen
class _Body:
    """One instance as it stands in source: two of equal ``key`` share a class."""

    attributes: tuple[_Attribute, ...]
    lines: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gates: int

    @property
    def key(self) -> Hashable:
        names = tuple((a.name, a.expression.key) for a in self.attributes)
        return names, self.lines, self.inputs, self.outputs


@frozen
class _Class:
    name: str
    family: Family


class _Emitter:
    def __init__(self, graph: Graph, plan: Schedule | None) -> None:
        self.graph = graph
        self.plan = plan
        self.scopes = scope_graphs(graph)
        self.functions = Functions()
        self.classes: dict[str, _Class] = {}  # by instance path
        self.bodies: dict[str, _Body] = {}
        self.child_names: dict[str, str] = {}  # instance path -> its attribute in its parent
        self.gate_places: dict[int, tuple[str, str, str]] = {}  # instance, attribute, candidate
        self.ranges = self._gate_ranges()
        self.modules = imported_modules(graph)
        self.taken: set[str] = {*TAKEN, *(m.partition(".")[0] for m in self.modules)}
        self.functions.taken |= self.taken

    def emit(self, origin: str) -> Emitted:
        self._announce()
        blocks = self._class_blocks()
        operations = self.functions.source(lambda key: not _is_mixed(key))
        mixed = self.functions.source(_is_mixed)
        text = "".join((*operations, *mixed, *blocks))
        preludes = [source for name, source in PRELUDES.items() if f"{name}(" in text]
        if self.graph.searched():
            preludes.append(SHARED_EDGE if self.plan else MIXED_EDGE)
        if "DepthwiseConv2d(" in text:
            preludes.append(DEPTHWISE)
        name = origin.rsplit("/", 1)[-1]
        title = f"Network `{self.graph.name}`, emitted by bayesnas from {printable(name)}."
        helpers = "".join(f"\n\n{prelude.strip()}\n" for prelude in preludes)
        imports = "".join(f"\nimport {module}\n" for module in self.modules)
        head = f'"""{title}"""\n\nimport torch\nfrom torch import nn\n{imports}'
        source = f"{head}{helpers}{text}"
        count = len(self.graph.searched())
        gates = tuple(self._gate_path(*self.gate_places[n]) for n in range(count))
        return Emitted(source, self.classes[""].name, gates)

    def _gate_path(self, instance: str, attribute: str, candidate: str) -> tuple[str, str]:
        path = [attribute]
        while (parent := self.graph.instances[instance].parent) is not None:
            path.append(self.child_names[instance])
            instance = parent
        return ".".join(reversed(path)), candidate

    # ------------------------------------------------------------------------ what is announced

    def _announce(self) -> None:
        """Operations first, then mixed edges, whose candidates call operations."""
        for edge in self.graph.edges():
            operation = edge.operation
            if operation.definition and not operation.is_identity:
                sequence = stages_expression(operation.stages, fast=self.plan is not None)
                self.functions.announce(operation.definition, sequential(sequence), operation.span)
        self.functions.settle()
        for connection in self.graph.all_connections():
            if connection.searched and (choice := connection.edges[0].searched_gate.choice):
                mixed = self._mixed(connection)
                self.functions.announce(choice, mixed, connection.edges[0].span)
        self.functions.settle()

    def _operation(self, operation: Operation) -> Expression:
        if operation.definition and not operation.is_identity:
            sequence = stages_expression(operation.stages, fast=self.plan is not None)
            return self.functions.call(operation.definition, sequential(sequence))
        return sequence_expression(operation.stages, fast=self.plan is not None)

    def _mixed(self, connection: Connection) -> Expression:
        parts = [self._operation(edge.operation) for edge in connection.edges]
        names = [_candidate(edge) for edge in connection.edges]
        shared = [len(self.plan.works[e.id].first) for e in connection.edges] if self.plan else []
        first = [f"[{', '.join(map(str, shared))}]"] if self.plan else []

        def write(texts: Sequence[str]) -> str:
            pairs = zip(names, spread(parts, texts), strict=True)
            return f"MixedEdge({', '.join([*first, *(f'{n}={p}' for n, p in pairs)])})"

        joined = join("mixed", parts, write)
        return Expression(("mixed", tuple(names), joined.key), joined.values, joined.hints, write)

    def _gate_ranges(self) -> dict[str, tuple[int, int]]:
        """First and past-the-last gate inside each instance: they are numbered without gaps."""
        ranges: dict[str, tuple[int, int]] = {}
        for edge in self.graph.searched():
            number = edge.searched_gate.number
            path: str | None = edge.scope
            while path is not None:
                first, last = ranges.get(path, (number, number))
                ranges[path] = min(first, number), max(last, number + 1)
                path = self.graph.instances[path].parent
        return ranges

    # ---------------------------------------------------------------------------------- classes

    def _class_blocks(self) -> list[str]:
        """Classes, those used by others first; instances of one key share one."""
        by_depth: dict[int, list[Instance]] = {}
        for instance in self.graph.instances.values():
            by_depth.setdefault(self._depth(instance), []).append(instance)
        blocks = []
        for depth in sorted(by_depth, reverse=True):
            groups: dict[Hashable, list[tuple[Instance, _Body]]] = {}
            for instance in by_depth[depth]:
                body = self._body(instance)
                groups.setdefault((instance.motif, body.key), []).append((instance, body))
            blocks += [self._class(members) for members in groups.values()]
        return blocks

    def _depth(self, instance: Instance) -> int:
        depth = 0
        while instance.parent is not None:
            instance, depth = self.graph.instances[instance.parent], depth + 1
        return depth

    def _class(self, members: list[tuple[Instance, _Body]]) -> str:
        instance, body = members[0]
        values = [[v for a in b.attributes for v in a.expression.values] for _, b in members]
        hints = _hints(body.attributes, values)
        parameters = [dict(member.parameters) for member, _ in members]
        known = {tuple(p[name] for p in parameters): name for name in reversed(parameters[0])}
        taken = self.taken | self.functions.taken
        family = unify(values, hints, known, taken)
        name = unique(camel(instance.motif), taken, "")
        self.taken.add(name)
        for member, _ in members:
            self.classes[member.path] = _Class(name, family)
        formals = "".join(f", {p}" for p in family.parameters)
        texts = spread([a.expression for a in body.attributes], family.texts)
        lines = ["", "", f"class {name}(nn.Module):"]
        lines.append(f'{INDENT}"""{self._class_doc(instance, members)}"""')
        lines += ["", *wrapped(f"{INDENT}def ", f"__init__(self{formals})", level=1, tail=":")]
        lines.append(f"{INDENT * 2}super().__init__()")
        for attribute, text in zip(body.attributes, texts, strict=True):
            prefix = f"{INDENT * 2}self.{attribute.name} = "
            lines += wrapped(prefix, text, attribute.comment, 2)
        return "\n".join([*lines, "", *self._forward(instance, body), ""])

    def _class_doc(self, instance: Instance, members: list[tuple[Instance, _Body]]) -> str:
        if instance.path == "":
            gates = self.ranges.get("", (0, 0))[1]
            return f"The network; {gates} gates." if gates else "The network."
        paths = [member.path for member, _ in members]
        shown = ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
        text = f"Motif `{instance.motif}`: {shown}."
        return text if len(text) < LINE - 10 else f"Motif `{instance.motif}`."

    def _forward(self, instance: Instance, body: _Body) -> list[str]:
        arguments, lines = ["self", *body.inputs], []
        if instance.path == "":
            about = [f"{n}: {_shape(self.graph, n)}" for n in instance.inputs]
            if body.gates:
                arguments.append("gates=None")
                about.append(f"gates: [{body.gates}], or [N, {body.gates}], a row an example")
            lines += _docstring(about)
            if body.gates:
                lines += [
                    f"{_BODY}if gates is None:",
                    f"{_BODY}{INDENT}gates = {body.inputs[0]}.new_ones({body.gates})",
                    f"{_BODY}gates = gates.view(-1, {body.gates})",
                ]
        elif body.gates:
            arguments.append("gates")
        outputs = ", ".join(body.outputs)
        if len(body.outputs) > 1 and len(f"{_BODY}return {outputs}") > LINE:
            outputs = f"({outputs})"
        head = wrapped(f"{INDENT}def ", f"forward({', '.join(arguments)})", level=1, tail=":")
        return [*head, *lines, *body.lines, *wrapped(f"{_BODY}return ", outputs, level=2)]

    # ------------------------------------------------------------------------------------ bodies

    def _body(self, instance: Instance) -> _Body:
        if instance.path in self.bodies:
            return self.bodies[instance.path]
        writer = _BodyWriter(self, instance)
        writer.run()
        first, last = self.ranges.get(instance.path, (0, 0))
        self.bodies[instance.path] = body = _Body(
            tuple(writer.attributes),
            tuple(writer.lines),
            tuple(writer.variables[i] for i in instance.inputs),
            tuple(writer.variables[o] for o in instance.outputs),
            last - first,
        )
        return body


class _BodyWriter:
    """Attributes and forward lines of one instance, items in topological order."""

    def __init__(self, emitter: _Emitter, instance: Instance) -> None:
        self.emitter = emitter
        self.graph = emitter.graph
        self.instance = instance
        self.variables: dict[str, str] = {}  # node id -> what holds it
        self.wrapped: dict[str, str] = {}  # node id -> what holds it for those that share its parts
        self.names: set[str] = set(TAKEN)
        self.attributes: list[_Attribute] = []
        self.attribute_names: set[str] = set(_RESERVED)
        self.lines: list[str] = []
        self.first_gate = emitter.ranges.get(instance.path, (0, 0))[0]

    def run(self) -> None:
        for identifier_ in self.instance.inputs:
            self.variables[identifier_] = self._variable(self.graph.node(identifier_).name)
        children = {f"<{child.path}>": child for child in self.graph.children(self.instance.path)}
        inside = self.emitter.scopes[self.instance.path]
        order = {name: k for k, name in enumerate(inside)}
        for name in nx.lexicographical_topological_sort(inside, key=order.__getitem__):
            if name in children:
                self._child(children[name])
            elif name not in self.variables and self.graph.node(name).role != "relay":
                self._node(name)

    def _variable(self, name: str) -> str:
        result = unique(identifier(name), self.names)
        self.names.add(result)
        return result

    def _attribute(self, name: str, expression: Expression, span: Span | None) -> str:
        name = unique(identifier(name), self.attribute_names)
        self.attribute_names.add(name)
        self.attributes.append(_Attribute(name, expression, place_comment(span)))
        return name

    def _node(self, node: str) -> None:
        connections = self.graph.connections(node)
        terms = [self._connection(c, alone=len(connections) == 1) for c in connections]
        merge = self.graph.node(node).merge
        if len(terms) == 1 and terms[0].isidentifier():  # passed on: the same variable serves
            self.variables[node] = terms[0]
            return
        variable = self.variables[node] = self._variable(self.graph.node(node).name)
        if len(terms) == 1:
            self.lines += wrapped(f"{_BODY}{variable} = ", terms[0], level=2)
        elif merge == "concat":
            call = f"torch.cat([{', '.join(terms)}], dim=1)"
            self.lines += wrapped(f"{_BODY}{variable} = ", call, level=2)
        else:
            self.lines += joined(variable, " + " if merge == "sum" else " * ", terms, 2)
        searched = any(connection.searched for connection in connections)
        if self.emitter.plan is not None and searched and slices(self.graph, node):
            self.lines.append(f"{_BODY}{variable} = DenseGradient.apply({variable})")

    def _connection(self, connection: Connection, alone: bool) -> str:
        """Source of what one connection brings."""
        source = self.variables[connection.source]
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
            expression = self.emitter._operation(edge.operation)
            attribute = self._attribute(
                f"{name}_{edge.operation.name}" if several else name, expression, edge.span
            )
            terms.append(f"self.{attribute}({source})")
        return terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"

    def _mixed(self, connection: Connection, name: str, source: str) -> str:
        expression = self.emitter._mixed(connection)
        if choice := connection.edges[0].searched_gate.choice:
            expression = self.emitter.functions.call(choice, expression)
        attribute = self._attribute(name, expression, connection.edges[0].span)
        for edge in connection.edges:
            place = (self.instance.path, attribute, _candidate(edge))
            self.emitter.gate_places[edge.searched_gate.number] = place
        first = connection.edges[0].searched_gate.number - self.first_gate
        if self.emitter.plan is not None and self.emitter.plan.meets(connection.source):
            source = self._shared(connection.source)
        return f"self.{attribute}({source}, gates[:, {first}:{first + len(connection.edges)}])"

    def _shared(self, node: str) -> str:
        """What holds a node whose readers share parts of their work."""
        if node not in self.wrapped:
            name = self.wrapped[node] = self._variable(f"shared_{self.variables[node]}")
            self.lines.append(f"{_BODY}{name} = Shared({self.variables[node]})")
        return self.wrapped[node]

    def _child(self, child: Instance) -> None:
        name = _local(child.path, self.instance.path)
        made = self.emitter.classes[child.path]
        body_values = self._child_values(child, made)
        expression = Expression(
            ("class", made.name),
            body_values,
            made.family.parameters,
            lambda texts: f"{made.name}({', '.join(texts)})",
        )
        span = self.graph.incoming(child.inputs[0])[0].span
        attribute = self._attribute(name, expression, span)
        self.emitter.child_names[child.path] = attribute
        arguments = [self.variables[self.graph.incoming(i)[0].source] for i in child.inputs]
        if child.path in self.emitter.ranges:
            first, last = (g - self.first_gate for g in self.emitter.ranges[child.path])
            arguments.append(f"gates[:, {first}:{last}]")
        outputs = []
        for output in child.outputs:
            label = name if len(child.outputs) == 1 else f"{name}_{self.graph.node(output).name}"
            self.variables[output] = self._variable(label)
            outputs.append(self.variables[output])
        call = f"self.{attribute}({', '.join(arguments)})"
        prefix = f"{_BODY}{', '.join(outputs)} = "
        if len(prefix) > LINE // 2:
            self.lines += wrapped(f"{_BODY}outputs = ", call, level=2)
            self.lines += wrapped(_BODY, f"({', '.join(outputs)})", level=2, tail=" = outputs")
        else:
            self.lines += wrapped(prefix, call, level=2)

    def _child_values(self, child: Instance, made: _Class) -> tuple[int, ...]:
        body = self.emitter._body(child)
        values = [v for a in body.attributes for v in a.expression.values]
        return made.family.arguments(values)


# Names that modules and their dictionaries keep for themselves.
_RESERVED: Final = frozenset({
    "T_destination", "add_module", "append", "apply", "bfloat16", "buffers", "call_super_init",
    "candidates", "children", "clear", "compile", "cpu", "cuda", "double", "dump_patches",
    "eval", "extend", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "insert", "ipu", "items", "keys",
    "load_state_dict", "modules", "mtia", "named_buffers", "named_children", "named_modules",
    "named_parameters", "parameters", "pop", "pruned", "register_backward_hook",
    "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook", "register_module",
    "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to",
    "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad",
})  # fmt: skip


def _candidate(edge: Edge) -> str:
    """The name of a candidate in its mixed edge."""
    name = identifier(edge.operation.name)
    return f"{name}_" if name in _RESERVED else name


def _docstring(about: Sequence[str]) -> list[str]:
    line = f'{_BODY}"""{"; ".join(about)}."""'
    if len(line) <= LINE:
        return [line]
    return [f'{_BODY}"""', *(f"{_BODY}{one}" for one in about), f'{_BODY}"""']


def _hints(attributes: Sequence[_Attribute], values: Sequence[Sequence[int]]) -> list[str]:
    """What each number is called: ``channels``, or ``a_channels`` where several of them vary."""
    plain = [hint for a in attributes for hint in a.expression.hints]
    owners = [a.name.rpartition("_from_")[2] for a in attributes for _ in a.expression.hints]
    columns: dict[str, set[tuple[int, ...]]] = {}
    for k, hint in enumerate(plain):
        column = tuple(row[k] for row in values)
        if len(set(column)) > 1:
            columns.setdefault(hint, set()).add(column)
    return [
        f"{owner}_{hint}" if len(columns.get(hint, ())) > 1 else hint
        for owner, hint in zip(owners, plain, strict=True)
    ]


def _is_mixed(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] == "mixed"


def _local(path: str, parent: str) -> str:
    return path.removeprefix(f"{parent}.") if parent else path


def _shape(graph: Graph, node: str) -> str:
    shape = graph.node(node).shape
    assert shape is not None
    return f"[N, {', '.join(map(str, shape))}]"
