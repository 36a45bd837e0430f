"""Figures as Graphviz lays them out: words, boxes, lines and frames keep clear of each other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import pytest
from attrs import frozen
from living import OTHERS, PACKAGED, packaged
from pictures import found_of

from bayesnas.compiler.artifacts.figure import draw, has_dot

pytestmark = pytest.mark.skipif(not has_dot(), reason="Graphviz is not installed")

SLACK = 1.0  # points by which borders may touch


@frozen
class Area:
    """A rectangle in points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: Area) -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        along = min(self.top, other.top) - max(self.bottom, other.bottom)
        return across > SLACK and along > SLACK

    def holds(self, x: float, y: float, slack: float) -> bool:
        return (
            self.left + slack < x < self.right - slack
            and self.bottom + slack < y < self.top - slack
        )


def laid_out(dot: str) -> dict[str, Any]:
    done = subprocess.run(["dot", "-Tjson"], input=dot, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def area(item: Mapping[str, Any], kind: str) -> Area:
    """Where a box stands, or the words above a frame."""
    position, width, height = {
        "box": ("pos", "width", "height"),
        "caption": ("lp", "lwidth", "lheight"),
    }[kind]
    x, y = map(float, item[position].split(","))
    across, along = float(item[width]) * 36, float(item[height]) * 36
    return Area(x - across, y - along, x + across, y + along)


def points(edge: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Points on the Bézier curves of a line."""
    corners = [
        tuple(map(float, part.split(","))) for part in edge["pos"].split() if part[0] not in "es"
    ]
    for start in range(0, len(corners) - 3, 3):
        a, b, c, d = corners[start : start + 4]
        for step in range(13):
            t, s = step / 12, 1 - step / 12
            x, y = (
                s**3 * a[k] + 3 * s**2 * t * b[k] + 3 * s * t**2 * c[k] + t**3 * d[k]
                for k in (0, 1)
            )
            yield x, y


def seen(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in items if item.get("style") != "invis"]


def assert_clear(dot: str) -> None:
    layout = laid_out(dot)
    items = seen(layout["objects"])
    boxes = {item["_gvid"]: area(item, "box") for item in items if "pos" in item}
    frames = [item for item in items if "bb" in item and "lp" in item]
    for one, other in combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    curved = "splines=line" not in dot  # straight ones, where there are too many, may cross words
    for edge in seen(layout["edges"]) if curved else ():
        line = [*points(edge)]
        for number, box in boxes.items():
            if number not in (edge["tail"], edge["head"]):
                assert not any(box.holds(x, y, SLACK) for x, y in line)
    outlines = [Area(*map(float, frame["bb"].split(","))) for frame in frames]
    for one, other in combinations(outlines, 2):
        assert not one.overlaps(other)
    for frame, outline in zip(frames, outlines, strict=True):
        caption = area(frame, "caption")
        assert not any(caption.overlaps(box) for box in boxes.values())
        inside = [caption, *(boxes[number] for number in frame["nodes"])]
        for part in inside:
            assert outline.left <= part.left + SLACK
            assert part.right <= outline.right + SLACK
            assert outline.bottom <= part.bottom + SLACK
            assert part.top <= outline.top + SLACK


@pytest.mark.parametrize("name", PACKAGED | OTHERS)
def test_nothing_overlaps(name: str) -> None:
    graph = packaged(name).graph
    assert_clear(draw(graph))
    assert_clear(draw(graph, found_of(graph)))
    assert_clear(draw(graph, relays=True))


@pytest.mark.parametrize("name", ["darts_cell", "hierarchical", "nasnet", "treecell_pyramidnet"])
def test_a_figure_fits_the_page(name: str) -> None:
    """So wide that its letters can be read at 6.5 inches: at 12.5, 11 points become 5.7."""
    layout = laid_out(draw(packaged(name).graph))
    assert float(layout["bb"].split(",")[2]) <= 12.5 * 72
