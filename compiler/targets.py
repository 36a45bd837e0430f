"""What a compiled network can be written as: the words of `--emit`.

A target is an entry here, and a function or a file that makes its texts; it is imported when it is
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from bayesnas.compiler.artifacts.graph_file import Annotation
    from bayesnas.compiler.graph.model import Graph
    from bayesnas.dsl import tree

# Searched operations beyond which source, gamma's formulas and a figure would take minutes to write
# and be read by nobody.
READABLE: Final = 20_000

Texts: TypeAlias = dict[str, str]  # by file name


@frozen
class Compilation:
    """What targets are made of.

    Args:
        graph: with i' nodes and shapes.
        origin: the spec it comes from.
        annotation: what a search has found of it.
        spec: the spec's syntax tree; None for a graph that was read.
    """

    graph: Graph
    origin: str
    annotation: Annotation
    spec: tree.Spec | None = None


@frozen
class Target:
    """One word of `--emit`.

    Args:
        texts: the texts of its files; none where it says nothing of this network.
        for_readers: whether it is left out of networks of more than `READABLE` operations.
        pictures: writes what is drawn into a folder: names of the files, and advice if they could
            not be drawn.
        of_specs: whether it needs a spec.
    """

    texts: Callable[[Compilation], Texts] = lambda _compilation: {}
    for_readers: bool = True
    pictures: Callable[[Compilation, Path], tuple[list[str], str | None]] | None = None
    of_specs: bool = False


def _ast(compilation: Compilation) -> Texts:
    from bayesnas.dsl.tree_json import tree_to_json

    return {} if compilation.spec is None else {"ast.json": tree_to_json(compilation.spec)}


def _graph(compilation: Compilation) -> Texts:
    from bayesnas.compiler.artifacts.graph_file import graph_to_json

    return {"graph.json": graph_to_json(compilation.graph, compilation.annotation)}


def _gamma(compilation: Compilation) -> Texts:
    from bayesnas.compiler.artifacts.gamma_report import gamma_report

    if not compilation.graph.searched():
        return {}
    report = gamma_report(compilation.graph)
    return {"gamma.json": report.json, "gamma.md": report.markdown}


def _schedule(compilation: Compilation) -> Texts:
    from bayesnas.compiler.emit.schedule import schedule, schedule_text

    graph = compilation.graph
    return {"schedule.txt": schedule_text(graph, schedule(graph))} if graph.searched() else {}


def _slices(compilation: Compilation) -> Texts:
    from bayesnas.compiler.emit.paths import module_paths
    from bayesnas.compiler.emit.pytorch import emit_torch
    from bayesnas.compiler.slices.groups import coupled_slices
    from bayesnas.compiler.slices.report import slices_text

    graph = compilation.graph
    paths = module_paths(graph, emit_torch(graph, compilation.origin).operations)
    return {"slices.txt": slices_text(graph, coupled_slices(graph), paths)}


def _torch(compilation: Compilation) -> Texts:
    from bayesnas.compiler.emit.pytorch import emit_torch
    from bayesnas.compiler.emit.schedule import schedule

    graph, searched = compilation.graph, bool(compilation.graph.searched())
    emitted = emit_torch(graph, compilation.origin, schedule(graph) if searched else None)
    return {"supernet.py" if searched else "network.py": emitted.source}


def _plain(compilation: Compilation) -> Texts:
    from bayesnas.compiler.emit.pytorch import emit_torch

    return {"plain.py": emit_torch(compilation.graph, compilation.origin).source}


def _figure(compilation: Compilation, out: Path) -> tuple[list[str], str | None]:
    from bayesnas.compiler.artifacts.figure import draw, write_figure

    figure = draw(compilation.graph, compilation.annotation)
    advice = write_figure(figure, out / "graph.svg")
    return ["graph.dot"] if advice else ["graph.dot", "graph.svg"], advice


TARGETS: Final[Mapping[str, Target]] = {
    "ast": Target(_ast, for_readers=False, of_specs=True),
    "graph": Target(_graph, for_readers=False),
    "gamma": Target(_gamma),
    "schedule": Target(_schedule, for_readers=False),
    "slices": Target(_slices),
    "torch": Target(_torch),
    "plain": Target(_plain),
    "dot": Target(pictures=_figure),
}
