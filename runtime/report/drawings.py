"""Graphviz's drawings as markup for a page: shapes and words alone, in the page's colours."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree

_SVG: Final = "http://www.w3.org/2000/svg"
_TITLE: Final = "{http://www.w3.org/1999/xlink}title"
_SHAPES: Final = {
    "svg": ("viewBox",),
    "g": ("transform",),
    "a": (),
    "polygon": ("points",),
    "polyline": ("points",),
    "path": ("d",),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "text": ("x", "y", "text-anchor", "font-size", "font-weight"),
}
_STROKES: Final = ("fill", "stroke", "stroke-width", "stroke-dasharray")
_NUMBER: Final = r"[-+\d.eE, ]+"
_VALUE: Final = re.compile(r"[-\w#.,+() ]*")


def drawing(text: str) -> str:
    """A drawing of Graphviz as markup of shapes, words and what is said of them, and nothing else.

    Whoever wrote the file, nothing in it runs and nothing is fetched. The empty text where it is no
    drawing. Its width in points is that of the property ``--wide``.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return ""
    cleaned = _cleaned(root)
    if cleaned is None or cleaned.tag != "svg":
        return ""
    box = re.fullmatch(rf"{_NUMBER} {_NUMBER} ({_NUMBER}) {_NUMBER}", cleaned.get("viewBox", ""))
    if box is not None:
        cleaned.set("style", f"--wide:{float(box[1]):.0f}px")
    cleaned.set("xmlns", _SVG)
    return ElementTree.tostring(cleaned, encoding="unicode")


def _cleaned(element: ElementTree.Element) -> ElementTree.Element | None:
    """The element with what is known of it and in it; None for others."""
    name = str(element.tag).removeprefix(f"{{{_SVG}}}")
    if name not in _SHAPES:
        return None
    kept = {n: element.get(n, "") for n in (*_SHAPES[name], *_STROKES) if element.get(n)}
    clean = ElementTree.Element(
        "g" if name == "a" else name, {n: v for n, v in kept.items() if _VALUE.fullmatch(v)}
    )
    if name == "text":
        clean.text = element.text
    if said := element.get(_TITLE, "").strip():
        ElementTree.SubElement(clean, "title").text = said
        clean.set("class", "said")
    clean.extend(child for child in map(_cleaned, element) if child is not None)
    return clean
