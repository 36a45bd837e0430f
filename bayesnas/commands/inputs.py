"""What commands start from: a spec, what a search has found, or a graph that was compiled."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from bayesnas.commands.tables import heading
from bayesnas.commands.values import parse_values
from bayesnas.compiler.artifacts.graph_file import MAX_GRAPH_BYTES, Annotation, graph_from_json
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.targets import TARGETS, Compilation
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import read_source
from bayesnas.runtime.runs.ownership import spec_file


def given_spec(options: argparse.Namespace, values: Mapping[str, int] | None = None) -> Compiled:
    """The spec that a command names, with the parameters of ``--set``, or with ``values``.

    Raises:
        DiagnosticError: D415 (no search has ended in the folder), D417 (no value), and what
            `compile_spec` raises.
    """
    values = parse_values(options.set) if values is None else values
    return compile_spec(spec_file(options.spec), values, options.network)


@frozen
class Input:
    """A compilation, the ``heading`` that tells what it is of, and its ``title`` in file names."""

    compilation: Compilation
    heading: str
    title: str


def read_input(
    path: str, values: Mapping[str, int], network: str | None, emits: Sequence[str] = ()
) -> Input:
    """The graph of a spec, or of a graph.json: what ends in ``.json`` is one.

    Raises:
        DiagnosticError: whatever is wrong with the spec; D402 and D403 of a graph; D422 for what is
            asked of a graph that only a spec can give.
    """
    if Path(path).suffix != ".json":
        file = spec_file(path)
        compiled = compile_spec(file, values, network)
        source, main = compiled.loaded.source.name, compiled.loaded.main
        compilation = Compilation(compiled.graph, source, Annotation(), main)
        is_folder = file != Path(path)
        title = Path(path).resolve().name if is_folder else file.stem
        return Input(compilation, heading(compiled), title)
    specs = {f"--emit {name}": True for name in emits if TARGETS[name].of_specs}
    asked = {"--set": bool(values), "--network": network is not None, **specs}
    if any(asked.values()):
        raise DiagnosticError(*(_for_specs(path, option) for option, is_ in asked.items() if is_))
    text = read_source(Path(path), MAX_GRAPH_BYTES, "a graph").text
    graph, annotation = graph_from_json(text, path)
    place = graph.node(graph.root.inputs[0]).span
    origin = path if place is None else place.source.name
    about = f"network `{graph.name}` of {path}"
    return Input(Compilation(graph, origin, annotation), about, Path(path).stem)


def _for_specs(path: str, option: str) -> Diagnostic:
    message = f"`{option}` needs a spec, and `{path}` is a compiled graph"
    remedy = f"name the spec it was compiled from, or leave `{option}` out"
    return Diagnostic("D422", message, help=remedy)
