"""Chains in source: a list of modules, and a loop that runs them."""

from __future__ import annotations

from collections.abc import Sequence

from bayesnas.compiler.emit.motifs.chains import Chain, carried
from bayesnas.compiler.emit.motifs.writing import BODY, Writing, local_name, numbered
from bayesnas.compiler.emit.names import identifier
from bayesnas.compiler.emit.source import list_source
from bayesnas.compiler.emit.texts import INDENT, LINE, wrapped


def write_chain(writing: Writing, chain: Chain) -> None:
    """A list of modules, and a loop that runs them."""
    first, graph = chain.links[0], writing.graph
    name, start = numbered(local_name(first.path, writing.instance.path))
    attribute = _modules(writing, chain, f"{name}_from_{start}" if start else name)
    inputs = writing.given(first)
    starts = [inputs[i] for i in chain.moving]
    for i in chain.moving:
        port = graph.node(first.inputs[i]).name if len(chain.moving) > 1 else name
        inputs[i] = writing.variable(port)
    writing.assign_each([inputs[i] for i in chain.moving], starts)
    module = f"self.{attribute}" if first.shared else writing.loop_variable(first.motif)
    gates = []
    if first.path in writing.common.ranges:
        stem = identifier(first.motif) if first.shared else module
        gates.append(writing.loop_variable(f"{stem}_gates"))
    _head(writing, chain, attribute, gates if first.shared else [module, *gates])
    _turn(writing, chain, inputs, f"{module}({', '.join([*inputs, *gates])})", name)
    for i, node in carried(graph, chain).items():
        writing.variables[node] = inputs[i]


def _modules(writing: Writing, chain: Chain, label: str) -> str:
    """The attribute of all links: a list of modules, whose items count from 0, or one module."""
    first = chain.links[0]
    if first.shared:
        attribute = writing.module(first, label)
        writing.children |= {link.path: attribute for link in chain.links}
        return attribute
    links = list_source([writing.common.classes[link.path].call() for link in chain.links])
    attribute = writing.attribute(label, links, writing.span(first))
    writing.children |= {link.path: f"{attribute}.{k}" for k, link in enumerate(chain.links)}
    return attribute


def _head(writing: Writing, chain: Chain, attribute: str, variables: Sequence[str]) -> None:
    """``for module, its gates in ...:``."""
    text, ranges = f"self.{attribute}", writing.common.ranges
    start, stop = chain.links[0].path, chain.links[-1].path
    if start in ranges:
        first, last = ranges[start][0], ranges[stop][1]
        everything = (first, last) == (writing.first_gate, writing.last_gate)
        gates = "gates" if everything else writing.gates(first, last)
        split = f"{gates}.split({ranges[start][1] - first}, dim=1)"
        text = split if chain.links[0].shared else f"zip({text}, {split})"
    elif chain.links[0].shared:
        text = f"range({len(chain.links)})"
    prefix = f"{BODY}for {', '.join(variables) or '_'} in "
    writing.lines += wrapped(prefix, text, level=2, tail=":")


def _turn(writing: Writing, chain: Chain, inputs: Sequence[str], call: str, name: str) -> None:
    """One turn: the link is called, and what moves takes its next value."""
    targets = [inputs[i] for i in chain.moving]
    origins = [chain.origins[i] for i in chain.moving]
    outputs = [k for kind, k in origins if kind == "output"]
    count = len(chain.links[-1].outputs)
    if count == 1 and outputs == [0]:
        values = [call if kind == "output" else inputs[k] for kind, k in origins]
        line = f"{BODY}{INDENT}{', '.join(targets)} = {', '.join(values)}"
        if len(line) <= LINE:
            writing.lines.append(line)
            return
    if sorted(outputs) == list(range(count)) and len(outputs) == len(targets):
        by_output = dict(zip(outputs, targets, strict=True))
        writing.assign([by_output[k] for k in range(count)], call, 3)
        return
    made = writing.returned(chain.links[-1], f"{name}_next")
    writing.assign(made, call, 3)
    values = [made[k] if kind == "output" else inputs[k] for kind, k in origins]
    writing.assign(targets, values[0] if len(values) == 1 else f"({', '.join(values)})", 3)
