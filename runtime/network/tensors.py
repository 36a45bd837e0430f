"""Which tensors work on a network holds, told from its graph and its schedule alone.

Every tensor has a key: its node, or the edge and the stage that make it; what is shared is one
tensor, what is written over is no new one. An activation keeps what it makes for the backward
pass, normalisation and weights what they read. A derivative in the gates keeps the same of what
depends on a gate, and besides what each example's own gate multiplies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from math import prod
from typing import Final, TypeAlias

from attrs import define, field

from bayesnas.compiler.emit.schedule import Schedule, schedule
from bayesnas.compiler.emit.stages import (
    AnyWritten,
    WrittenParallel,
    WrittenStage,
    stage_numbers,
)
from bayesnas.compiler.graph.model import Edge, Graph, Stage
from bayesnas.compiler.graph.scans import turns
from bayesnas.compiler.operations.primitives import Shape

NUMBER: Final = 4  # bytes, float32
INDEX: Final = 8  # bytes, of the place where a window has its maximum

_CONVOLUTIONS = frozenset({"conv", "depthwise_conv"})
_SAME = frozenset({"skip", "flatten"})  # pass on the tensor they are given
_MOVING = frozenset({"pad_channels", "upsample", "resize", "chunk", "channel_shuffle"})
_LIGHT = _SAME | _MOVING | {"global_avg_pool"}  # keep no input
# Beside its input, in sizes of its output: where maxima are; queries, keys, values, their answers.
_BESIDE: Final = {"max_pool": INDEX // NUMBER, "attention": 4}

Key: TypeAlias = Hashable


@define
class Tensors:
    """The tensors of a network, bytes an example."""

    graph: Graph
    plan: Schedule
    sizes: dict[Key, int] = field(factory=dict)
    scopes: dict[Key, str] = field(factory=dict)  # the instance that makes each
    nodes: dict[str, Key] = field(factory=dict)  # the tensor at each node
    gated: set[Key] = field(factory=set)  # those that depend on some gate
    step: dict[Key, int] = field(factory=dict)  # what a training step keeps
    derivative: dict[Key, int] = field(factory=dict)  # what a derivative in the gates keeps
    turns: dict[str, int] = field(init=False)  # how often each instance runs

    def __attrs_post_init__(self) -> None:
        self.turns = turns(self.graph)

    @classmethod
    def of(cls, graph: Graph) -> Tensors:
        """Of a network whose shapes are known."""
        found = cls(graph, schedule(graph))
        for node in graph.topological():
            found._arrive(node)
        return found

    def largest(self) -> int:
        """Bytes of the largest tensor."""
        return max(self.sizes.values())

    def kept(self, recompute: bool) -> int:
        """Bytes that a training step keeps; see `recompute.py` for what it may compute twice."""
        block = _blocks(self.graph) if recompute else {}
        outside, inside = 0, dict.fromkeys(block.values(), 0)
        for key, size in self.step.items():
            owner = block.get(self.scopes[key])
            if owner is None:
                outside += size
            else:
                inside[owner] += size
        outside += sum(self._boundary(set(block), name) for name in inside)
        return outside + max(inside.values(), default=0)

    def live(self) -> int:
        """Bytes of a pass without gradients: what stands in an instance, and one part at work.

        An instance lets go of what it has made when it returns.
        """
        shared = (one for several in self.plan.shared.values() for one in several)
        named = {*self.nodes.values(), *((self.nodes[s.source], *s.stages) for s in shared)}
        standing, passing = Counter[str](), Counter[str]()
        for key, size in self.sizes.items():
            scope = self.scopes[key]
            standing[scope] += size if key in named else 0
            passing[scope] = max(passing[scope], 3 * size)
        for path, instance in reversed(self.graph.instances.items()):  # parts first
            if instance.parent is not None:
                inside = standing[path] + passing[path]
                passing[instance.parent] = max(passing[instance.parent], inside)
        return standing[""] + passing[""]

    def _boundary(self, inside: set[str], block: str) -> int:
        """Bytes that a block is given and that outlive it."""
        given = {self.nodes[port] for port in self.graph.instances[block].inputs}
        return sum(self.sizes[k] for k in given if k not in self.step or self.scopes[k] in inside)

    # ------------------------------------------------------------------------------------- making

    def _arrive(self, node: str) -> None:
        """The tensor at a node, and what the edges into it make and keep."""
        edges = self.graph.incoming(node)
        last = [self._edge(edge) for edge in edges]
        payload = self.graph.node(node)
        if len(edges) == 1 and edges[0].gate is None:
            self.nodes[node] = last[0]
            return
        self._make(node, payload.shape or (), payload.scope)
        self.nodes[node] = node
        if any(key in self.gated for key in last) or any(e.gate is not None for e in edges):
            self.gated.add(node)
        if payload.merge == "product":
            for key in last:
                self._keep(key)

    def _make(self, key: Key, shape: Shape, scope: str) -> Key:
        self.sizes[key] = NUMBER * prod(shape) * self.turns[scope]
        self.scopes[key] = scope
        return key

    def _keep(self, key: Key, more: int = 0) -> None:
        """Keep a tensor for the backward pass, and some bytes beside it."""
        for kept in (self.step, self.derivative):
            if kept is self.step or key in self.gated:
                kept[key] = max(kept.get(key, 0), self.sizes[key] + more)

    def _edge(self, edge: Edge) -> Key:
        """What an edge makes, as the target takes it; its gate is not multiplied in."""
        first = edge.operation.stages[: self._shared(edge)]
        last = self._stages(self.nodes[edge.source], edge, self.plan.stages[edge.id], first)
        if edge.gate is not None:
            if self.plan.works[edge.id].fold == "sum":
                self.step[last] = max(self.step.get(last, 0), self.sizes[last])
            self.derivative[last] = max(self.derivative.get(last, 0), self.sizes[last])
        return last

    def _shared(self, edge: Edge) -> int:
        """How many stages at the start of an edge may be made for others as well."""
        return len(self.plan.works[edge.id].first) if edge.gate is not None else 0

    def _stages(
        self,
        key: Key,
        edge: Edge,
        written: Iterable[AnyWritten],
        first: tuple[object, ...] = (),
        place: tuple[int, ...] = (),
    ) -> Key:
        """The tensor that stages make of another; those in ``first`` are named by their source."""
        source, scope = key, edge.scope
        for n, one in enumerate(written):
            name: Key = (source, *first[: n + 1]) if n < len(first) else (edge.id, *place, n)
            if isinstance(one, WrittenStage):
                key = self._stage(key, name, one, scope)
            else:
                key = self._parallel(key, edge, one, (*place, n))
        return key

    def _parallel(
        self, key: Key, edge: Edge, written: WrittenParallel, place: tuple[int, ...]
    ) -> Key:
        """The sum of several branches."""
        ends = [
            self._stages(key, edge, branch, place=(*place, n))
            for n, branch in enumerate(written.branches)
        ]
        total: Key = (edge.id, *place)
        self.sizes[total], self.scopes[total] = self.sizes[ends[0]], edge.scope
        if any(end in self.gated for end in ends):
            self.gated.add(total)
        return total

    def _stage(self, key: Key, name: Key, written: WrittenStage, scope: str) -> Key:
        """What one stage makes, and what it keeps."""
        stage = written.stage
        if stage.primitive in _SAME:
            return key
        if written.form == "in place":
            self._keep(key)
            return key
        self._make(name, stage.output_shape or (), scope)
        if key in self.gated:
            self.gated.add(name)
        if stage.primitive == "relu":
            self._keep(name)
        elif stage.primitive == "dropout":
            self.step[name] = 2 * self.sizes[name]  # with what it was multiplied by
        elif added := _padding(stage):
            padded = self._make((name, "padded"), _lengthened(stage, added), scope)
            if key in self.gated:
                self.gated.add(padded)
            self._keep(padded)
        elif stage.primitive not in _LIGHT:
            self._keep(key, _BESIDE.get(stage.primitive, 0) * self.sizes[name])
        return name


def _padding(stage: Stage) -> int:
    """Zeros that a causal convolution sets before a series: what it keeps is a copy with them."""
    numbers = stage_numbers(stage)
    if stage.primitive not in _CONVOLUTIONS or not numbers.get("causal"):
        return 0
    return int((numbers["kernel"] - 1) * numbers["dilation"])


def _lengthened(stage: Stage, added: int) -> Shape:
    """The shape of its input with so many zeros."""
    channels, length = stage.input_shape or (0, 0)
    return (channels, length + added)


def _blocks(graph: Graph) -> dict[str, str]:
    """The block of each instance in one, by their paths; see `recompute.blocks`."""
    owners = [_steps(graph, edge.scope) for edge in graph.searched()]
    for depth in range(1, max(map(len, owners), default=0) + 1):
        names = {owner[depth - 1] for owner in owners if len(owner) >= depth}
        if len(names) > 1:
            steps = {path: _steps(graph, path) for path in graph.instances}
            return {p: s[depth - 1] for p, s in steps.items() if {*s} & names}
    return {}


def _steps(graph: Graph, path: str | None) -> list[str]:
    """The instances from the network down to one, itself among them."""
    steps: list[str] = []
    while path:
        steps.append(path)
        path = graph.instances[path].parent
    return steps[::-1]
