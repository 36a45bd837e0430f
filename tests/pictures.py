"""What the tests of figures read in the DOT language, and the result of a search to draw."""

from __future__ import annotations

import re
from html import unescape

from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Graph

GREY = "#777777"
INDENT = "\N{NO-BREAK SPACE}" * 4


def labels(dot: str) -> list[str]:
    """Labels as a reader sees them, line breaks as spaces; each line of a caption as one."""
    found = re.findall(r'label="((?:[^"\\]|\\.)*)"|label=([^\s"<\]]+)', dot)
    plain = [
        re.sub(r"(\\[nlr]|\n|\s)+", " ", quoted or bare).replace('\\"', '"').strip()
        for quoted, bare in found
    ]
    return plain + [row for caption in captions(dot) for row in caption]


def captions(dot: str) -> list[list[str]]:
    """What stands above each drawing, the lines of each part as one: title, paths, choices."""
    result = []
    for table in re.findall(r"label=<<table.*?>(.*?)</table>>", dot):
        rows = re.findall(r'<font point-size="\d+" color="([^"]*)">(.*?)</font>', table)
        parts: list[str] = []
        for color, row in rows:
            text = unescape(re.sub(r"</?b>", "", row))
            goes_on = text.startswith(INDENT) or (color == GREY and parts[1:])
            if goes_on:
                parts[-1] += " " + text.strip()
            else:
                parts.append(text)
        result.append(parts)
    return result


def found_of(graph: Graph) -> Annotation:
    """Every second operation went, and all of one connection; tied ones together."""
    first = graph.searched()[0].connection
    removed = {
        edge.id: number % 3
        for number, group in enumerate(graph.groups().values())
        if number % 2 == 0 or any(e.connection == first for e in group)
        for edge in group
    }
    gammas = {e.id: 0.01 * (n + 1) for n, e in enumerate(graph.searched())}
    return Annotation(gammas, removed)
