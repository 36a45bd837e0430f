"""Graph to Graphviz: motif by motif, as in a paper.

Each motif is drawn once for all instances that look alike, the network around them last, with the
alike links of a chain folded into one box. Searched edges are dashed and carry the name of their
choice, which the caption of the first motif that uses it spells out; after a search the surviving
operations are drawn one by one with their gamma, and beside them a pale line that lists what was
removed, round by round.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import graphviz

from bayesnas.compiler.artifacts.drawing.looks import Contents
from bayesnas.compiler.artifacts.drawing.page import page
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import drop_dead
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import write_bytes, write_text

FORMATS: Final = ("svg", "pdf", "png", "dot")
NO_DOT: Final = (
    "the program `dot` is not installed: install Graphviz (Debian: `apt-get install graphviz`, "
    "macOS: `brew install graphviz`), then run `dot -T{kind} {dot} -o {picture}`"
)


def draw(graph: Graph, annotation: Annotation | None = None, relays: bool = False) -> str:
    """The graph in the DOT language.

    Args:
        graph: a space, or a network without one.
        annotation: what a search has found of it.
        relays: whether the i' nodes of searched edges are drawn as well.
    """
    annotation = annotation or Annotation()
    kept = {edge.id for edge in graph.edges()} - annotation.removed.keys()
    rest = drop_dead(graph.subgraph({node.id for node in graph.nodes()}, kept))
    return page(Contents(graph, annotation, frozenset(rest.network)), relays)


def has_dot() -> bool:
    """Whether Graphviz's program ``dot`` can be found."""
    return shutil.which("dot") is not None


def picture(dot: str, kind: str) -> bytes:
    """A drawing in one of `FORMATS`; the program ``dot`` has to be there."""
    return bytes(graphviz.Source(dot).pipe(format=kind))


def write_figure(dot: str, path: Path) -> str | None:
    """Write ``path`` in the format of its ending, and the .dot it comes from beside it.

    Returns:
        None, or how to get the picture where the program ``dot`` is missing.

    Raises:
        DiagnosticError: D420 (unknown ending), D421 (``dot`` failed; status 1).
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise DiagnosticError(
            Diagnostic(
                "D420",
                f"cannot draw `{path.name}`",
                help="end the name in " + ", ".join(f".{f}" for f in FORMATS),
            )
        )
    source = path.with_suffix(".dot")
    write_text(source, dot)
    if kind == "dot":
        return None
    if not has_dot():
        return NO_DOT.format(dot=source, kind=kind, picture=path)
    try:
        write_bytes(path, picture(dot, kind))
    except graphviz.backend.execute.CalledProcessError as error:
        reason = str(error).splitlines()[0]
        raise DiagnosticError(
            Diagnostic(
                "D421",
                "Graphviz could not draw the figure",
                notes=(reason,),
                help=f"the figure's source is at `{source}`; try `dot -Tsvg {source}`",
            ),
            status=1,
        ) from None
    return None
