"""Motifs as classes: one for all instances that run alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from bayesnas.compiler.emit.motifs.bodies import Body, body_of
from bayesnas.compiler.emit.motifs.writing import (
    BODY,
    Attribute,
    Common,
    Made,
    statistics_names,
)
from bayesnas.compiler.emit.names import camel, unique
from bayesnas.compiler.emit.paths import module_paths
from bayesnas.compiler.emit.source import Value, spread, unify
from bayesnas.compiler.emit.texts import INDENT, LINE, place_comment, wrapped
from bayesnas.compiler.graph.model import Graph, Instance
from bayesnas.compiler.graph.tied_weights import tied_weights
from bayesnas.compiler.graph.walks import drops_weights

_Member = tuple[Instance, Body]


class Classes:
    """The classes of a graph's instances, made from the innermost outwards.

    ``helpers`` are what their source names of `preludes`, ``statistics`` the type of those that the
    network standardises its inputs by, if it does.
    """

    def __init__(self, common: Common, statistics: str | None = None) -> None:
        self.graph = common.graph
        self.statistics = statistics
        self.common = common
        self.written: dict[str, Body] = {}
        self.helpers: frozenset[str] = frozenset()

    @property
    def made(self) -> dict[str, Made]:
        """The class of each instance, by path."""
        return self.common.classes

    def definitions(self, taken: Iterable[str]) -> list[str]:
        """Source of the classes, those used by others first; ``taken`` are no names for them."""
        avoid, own = set(taken), self.common.owners
        by_depth: dict[int, list[Instance]] = {}
        for instance in self.graph.instances.values():
            by_depth.setdefault(self._depth(instance), []).append(instance)
        blocks = []
        for depth in sorted(by_depth, reverse=True):
            groups: dict[Hashable, list[_Member]] = {}
            for instance in by_depth[depth]:
                body = self.written[instance.path] = body_of(self.common, instance)
                if own[instance.path] == instance.path:
                    groups.setdefault((instance.motif, body.key), []).append((instance, body))
            blocks += [self._class(members, avoid) for members in groups.values()]
            for instance in by_depth[depth]:
                self.made[instance.path] = self.made[own[instance.path]]
        return blocks

    def gate_paths(self) -> tuple[tuple[str, str], ...]:
        """For each gate, where its mixed edge is in the module, and its candidate."""
        places = {
            gate: (f"{self._prefix(path)}{attribute}", candidate)
            for path, body in self.written.items()
            for gate, (attribute, candidate) in body.places.items()
        }
        return tuple(places[gate] for gate in sorted(places))

    def operation_paths(self) -> dict[str, str]:
        """For each edge that runs a module, where that is in the network."""
        return {
            edge: f"{prefix}{place}"
            for path, body in self.written.items()
            for prefix in [self._prefix(path)]
            for edge, place in body.operations.items()
        }

    def _prefix(self, path: str) -> str:
        """``body.0.``: the path of an instance in the module."""
        result = ""
        while (parent := self.graph.instances[path].parent) is not None:
            result = f"{self.written[parent].children[path]}.{result}"
            path = parent
        return result

    def _ties(self) -> list[str]:
        """Weights that are those of another module; they begin small, as vectors and as weights."""
        lines = []
        paths = module_paths(self.graph, self.operation_paths())
        for edge, place, [(_, partner)] in tied_weights(self.graph):
            one, other = _attribute(paths[place]), _attribute(paths[partner])
            text = f"{BODY}self.{one}.weight = "
            lines += wrapped(text, f"self.{other}.weight", place_comment(edge.span), 2)
            lines.append(f"{BODY}nn.init.uniform_(self.{one}.weight, -0.1, 0.1)")
        return lines

    def _depth(self, instance: Instance) -> int:
        depth = 0
        while instance.parent is not None:
            instance, depth = self.graph.instances[instance.parent], depth + 1
        return depth

    def _class(self, members: Sequence[_Member], avoid: set[str]) -> str:
        instance, body = members[0]
        values = [member.values for _, member in members]
        hints = _hints(body.attributes, values)
        parameters = [dict(member.parameters) for member, _ in members]
        columns: dict[tuple[Value, ...], str]
        columns = {tuple(p[name] for p in parameters): name for name in reversed(parameters[0])}
        family = unify(values, hints, columns, avoid)
        name = unique(camel(instance.motif), avoid, "")
        avoid.add(name)
        for member, its in members:
            self.made[member.path] = Made(name, member.motif, family, its.values)
            self.helpers |= its.helpers
        formals = "".join(f", {p}" for p in family.parameters)
        texts = spread([a.source for a in body.attributes], family.texts)
        lines = ["", "", f"class {name}(nn.Module):"]
        lines.append(f'{INDENT}"""{_class_doc(members)}"""')
        lines += ["", *wrapped(f"{INDENT}def ", f"__init__(self{formals})", level=1, tail=":")]
        lines.append(f"{BODY}super().__init__()")
        standardises = self.statistics if instance.path == "" else None
        if standardises is not None:
            lines += _buffers(self.graph, instance, standardises)
            self.helpers |= {"standardised" if len(instance.inputs) == 1 else "standardised_by"}
        for attribute, text in zip(body.attributes, texts, strict=True):
            lines += wrapped(f"{BODY}self.{attribute.name} = ", text, attribute.comment, 2)
        if instance.path == "":
            lines += self._ties()
            self.helpers |= {"draw_matrices"} if drops_weights(self.graph) else set()
        forward = _forward(self.graph, instance, body, standardises is not None)
        return "\n".join([*lines, "", *forward, ""])


def _attribute(path: str) -> str:
    """A module's path as Python has it: ``next.0`` is ``next[0]``."""
    result, before = "", ""
    for part in path.split("."):
        item = f"[{part}]" if part.isdigit() else f".{part}"
        result += f'["{part}"]' if before == "candidates" else item
        before = part
    return result.removeprefix(".")


def _class_doc(members: Sequence[_Member]) -> str:
    instance, body = members[0]
    if instance.path == "":
        return f"The network; {body.gates} gates." if body.gates else "The network."
    paths = [member.path for member, _ in members]
    shown = ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
    text = f"Motif `{instance.motif}`: {shown}."
    return text if len(text) < LINE - 10 else f"Motif `{instance.motif}`."


def _buffers(graph: Graph, instance: Instance, statistics: str) -> list[str]:
    """What the inputs are standardised by, until it is loaded: nothing."""
    kind = "" if statistics == "float32" else f", dtype=torch.{statistics}"
    lines = []
    for node in instance.inputs:
        channels, *others = graph.node(node).shape or ()
        shape = ", ".join(map(str, [channels, *(1 for _ in others)]))
        lines += [
            f'{BODY}self.register_buffer("{name}", torch.{made}({shape}{kind}))'
            for name, made in zip(statistics_names(graph, node), ("zeros", "ones"), strict=True)
        ]
    return lines


def _standardising(graph: Graph, instance: Instance, names: Sequence[str]) -> list[str]:
    """Inputs of these names, brought to mean 0 and deviation 1."""
    if len(names) == 1:
        return [f"{BODY}{names[0]} = standardised({names[0]}, self)"]
    lines = []
    for name, node in zip(names, instance.inputs, strict=True):
        mean, std = statistics_names(graph, node)
        call = f"standardised_by({name}, self.{mean}, self.{std})"
        lines += wrapped(f"{BODY}{name} = ", call, level=2)
    return lines


def _forward(graph: Graph, instance: Instance, body: Body, standardises: bool) -> list[str]:
    arguments, lines = ["self", *body.inputs], []
    if instance.path == "":
        about = [f"{n}: {_shape(graph, n)}" for n in instance.inputs]
        if standardises:
            many = " (inputs as the data have them, bytes as shares of 255)"
            about[-1] += many if len(about) > 1 else " as the data have it, bytes as shares of 255"
        if body.gates:
            arguments.append("gates=None")
            about.append(f"gates: [{body.gates}], or [N, {body.gates}], a row per example")
        lines += _docstring(about)
        if standardises:
            lines += _standardising(graph, instance, body.inputs)
        if drops_weights(graph):
            lines += [f"{BODY}if self.training:", f"{BODY}{INDENT}draw_matrices(self)"]
        if body.gates:
            lines += [
                f"{BODY}if gates is None:",
                f"{BODY}{INDENT}gates = {body.inputs[0]}.new_ones({body.gates})",
                f"{BODY}gates = gates.view(-1, {body.gates})",
            ]
    elif body.gates:
        arguments.append("gates")
    outputs = ", ".join(body.outputs)
    if len(body.outputs) > 1 and len(f"{BODY}return {outputs}") > LINE:
        outputs = f"({outputs})"
    head = wrapped(f"{INDENT}def ", f"forward({', '.join(arguments)})", level=1, tail=":")
    return [*head, *lines, *body.lines, *wrapped(f"{BODY}return ", outputs, level=2)]


def _docstring(about: Sequence[str]) -> list[str]:
    line = f'{BODY}"""{"; ".join(about)}."""'
    if len(line) <= LINE:
        return [line]
    return [f'{BODY}"""', *(f"{BODY}{one}" for one in about), f'{BODY}"""']


def _hints(attributes: Sequence[Attribute], values: Sequence[Sequence[Value]]) -> list[str]:
    """What each number is called: ``channels``, or ``a_channels`` where several of them vary."""
    plain = [hint for a in attributes for hint in a.source.hints]
    owners = [a.name.rpartition("_from_")[2] for a in attributes for _ in a.source.hints]
    columns: dict[str, set[tuple[Value, ...]]] = {}
    for k, hint in enumerate(plain):
        column = tuple(row[k] for row in values)
        if len(set(column)) > 1:
            columns.setdefault(hint, set()).add(column)
    return [
        _owned(owner, hint) if len(columns.get(hint, ())) > 1 else hint
        for owner, hint in zip(owners, plain, strict=True)
    ]


def _owned(owner: str, hint: str) -> str:
    return f"{hint}_{owner}" if hint.startswith("make_") else f"{owner}_{hint}"


def _shape(graph: Graph, node: str) -> str:
    shape = graph.node(node).shape
    assert shape is not None
    return f"[N, {', '.join(map(str, shape))}]"
