"""The picture of widths."""

from __future__ import annotations

import re

from bayesnas.compiler.slices.figure import GONE, KEPT, LENGTH, draw_widths
from bayesnas.compiler.slices.layers import Layer


def test_bars_are_as_long_as_layers_are_wide() -> None:
    widths = [("stem.0", 16, 4), ("a & b", 32, 32), ("c", 8, 0)]
    dot = draw_widths([Layer(name, "conv", 1, 1, *w, *w) for name, *w in widths])
    rows = [row for row in dot.splitlines() if row.startswith("<tr>")]
    bars = [re.findall(r'width="(\d+)" height="\d+"(?: bgcolor="(.{7})")?', row) for row in rows]
    assert [sum(int(length) for length, _ in row) for row in bars] == [LENGTH] * 3
    assert bars[0][:2] == [("30", KEPT), ("90", GONE)]
    assert bars[1] == [(str(LENGTH), KEPT)]
    assert bars[2][0] == ("60", GONE)
    assert ["4 of 16" in rows[0], "a &amp; b" in rows[1], "0 of 8" in rows[2]] == [True] * 3


def test_nothing_to_draw() -> None:
    assert "<tr><td>no layer has a width</td></tr>" in draw_widths([])


def test_masked_weights_show_as_the_share_that_is_left() -> None:
    layer = Layer("a.0", "conv", 8, 8, 16, 16, 128, 128, weights=400, nonzero=100)
    dot = draw_widths([layer])
    assert f'width="{LENGTH // 4}" height="12" bgcolor="{KEPT}"' in dot
    assert f'width="{LENGTH - LENGTH // 4}" height="12" bgcolor="{GONE}"' in dot
    assert "16 of 16, 25% of their weights" in dot


def test_what_goes_inside_a_layer_is_said() -> None:
    layer = Layer("a.0", "attention", 16, 16, 16, 16, 1024, 640)
    assert "16 of 16, 62% of its connections<" in draw_widths([layer])
