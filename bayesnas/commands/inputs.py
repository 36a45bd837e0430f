"""What commands start from: a spec, what a search has found, or a graph that was compiled."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from bayesnas.commands.tables import heading
from bayesnas.commands.values import parse_values
from bayesnas.compiler.artifacts.graph_file import MAX_GRAPH_BYTES, Annotation, graph_from_json
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.targets import TARGETS, Compilation
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import read_source


def given_spec(options: argparse.Namespace, values: Mapping[str, int] | None = None) -> Compiled:
    """The spec that a command names, with the parameters of ``--set``, or with ``values``.

    Raises:
        DiagnosticError: D415 (no search has ended in the folder), D417 (no value), and what
            `compile_spec` raises.
    """
    values = parse_values(options.set) if values is None else values
    return compile_spec(spec_file(options.spec), values, options.network)


def spec_file(name: str) -> Path:
    """The file, or the name of a packaged spec; of a folder what a search has found there.

    Raises:
        DiagnosticError: D415 (no search has ended in the folder).
    """
    path = Path(name)
    if path.is_file() or (not path.suffix and not path.is_dir()):
        return path
    from bayesnas.runtime.runs.ownership import FOUND, settings_of

    folder = path.parent if path.name == FOUND else path
    if not folder.is_dir():
        return path
    if (folder / FOUND).is_file():
        return folder / FOUND
    settings = settings_of(folder)
    if settings is None and folder != path:
        return path  # a file that is missed in a folder that is no run
    raise DiagnosticError(_no_search(folder, settings or {}))


def _no_search(folder: Path, settings: Mapping[str, Any]) -> Diagnostic:
    message = f"no search in `{folder}`"
    remedy = "name a spec, or the folder that `bayesnas search` wrote"
    if settings.get("command") == "search":
        message = f"the search in `{folder}` has not ended"
        remedy = "finish it: the same command with `--resume`"
    elif settings:
        message += ", which is the folder of a training"
        remedy += f", or the spec that was trained: `{folder / str(settings['file'])}`"
    return Diagnostic("D415", message, help=remedy)


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
        compiled = compile_spec(spec_file(path), values, network)
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
