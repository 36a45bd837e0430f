"""What `compile` and `render` start from: a spec, or a graph that was compiled before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from bayesnas.commands.tables import heading
from bayesnas.compiler.artifacts.graph_file import MAX_GRAPH_BYTES, Annotation, graph_from_json
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.targets import TARGETS, Compilation
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import read_source


@frozen
class Input:
    """A compilation, and the ``heading`` that tells what it is of."""

    compilation: Compilation
    heading: str


def read_input(
    path: str, values: Mapping[str, int], network: str | None, emits: Sequence[str] = ()
) -> Input:
    """The graph of a spec, or of a graph.json: what ends in ``.json`` is one.

    Raises:
        DiagnosticError: whatever is wrong with the spec; D402 and D403 of a graph; D422 for what is
            asked of a graph that only a spec can give.
    """
    if Path(path).suffix != ".json":
        compiled = compile_spec(path, values, network)
        source, main = compiled.loaded.source.name, compiled.loaded.main
        return Input(Compilation(compiled.graph, source, Annotation(), main), heading(compiled))
    specs = {f"--emit {name}": True for name in emits if TARGETS[name].of_specs}
    asked = {"--set": bool(values), "--network": network is not None, **specs}
    if any(asked.values()):
        raise DiagnosticError(*(_for_specs(path, option) for option, is_ in asked.items() if is_))
    text = read_source(Path(path), MAX_GRAPH_BYTES, "a graph").text
    graph, annotation = graph_from_json(text, path)
    place = graph.node(graph.root.inputs[0]).span
    origin = path if place is None else place.source.name
    return Input(Compilation(graph, origin, annotation), f"network `{graph.name}` of {path}")


def _for_specs(path: str, option: str) -> Diagnostic:
    message = f"`{option}` needs a spec, and `{path}` is a compiled graph"
    remedy = f"name the spec it was compiled from, or leave `{option}` out"
    return Diagnostic("D422", message, help=remedy)
