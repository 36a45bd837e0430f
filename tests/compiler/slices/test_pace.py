"""Times between measured widths."""

from __future__ import annotations

import pytest

from bayesnas.compiler.slices.pace import Curve


def test_straight_between_points_and_level_beyond() -> None:
    curve = Curve.of([(1.0, 800), (0.5, 200), (0.25, 100)])
    times = {0.1: 100, 0.25: 100, 0.375: 150, 0.5: 200, 0.75: 500, 1.0: 800}
    for share, time in times.items():
        assert curve.at(share) == pytest.approx(time)


def test_more_channels_never_take_less_time() -> None:
    curve = Curve.of([(0.25, 100), (0.5, 80), (1.0, 300), (0.25, 140)])
    assert curve.at(0.25) == curve.at(0.5) == 120  # the mean of two, and raised to that
    times = [curve.at(k / 20) for k in range(21)]
    assert times == sorted(times)
