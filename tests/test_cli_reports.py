"""Tables by class: all of a few classes, the worst of many, whatever they are called."""

from __future__ import annotations

import numpy as np

from bayesnas.commands.reports import class_csv, class_lines, recall_line
from bayesnas.runtime.tasks.scores import Confusion


def mostly_right(count: int, name: str = "class {}") -> Confusion:
    """Ten examples of each class; of class k, k in 10 are taken for the one before it."""
    counts = np.zeros((count, count), dtype=np.int64)
    for k in range(count):
        counts[k, k - 1] += k % 10
        counts[k, k] += 10 - k % 10
    return Confusion(tuple(name.format(k) for k in range(count)), counts)


def test_a_few_classes_are_shown_whole() -> None:
    assert class_lines(mostly_right(3, "{}")) == [
        "balanced accuracy (mean recall) 90.00%",
        "",
        "class  examples  precision   recall      F1",
        "0            10     90.91%  100.00%  95.24%",
        "1            10     81.82%   90.00%  85.71%",
        "2            10    100.00%   80.00%  88.89%",
        "",
        "answers (columns) to the examples of each class (rows):",
        "class   0  1  2",
        "0      10  0  0",
        "1       1  9  0",
        "2       0  2  8",
    ]
    assert recall_line(mostly_right(3, "{}")) == "recall by class: 0 100.00%, 1 90.00%, 2 80.00%"


def test_of_many_classes_the_worst_are_shown() -> None:
    lines = class_lines(mostly_right(50))
    assert lines[2] == "the 20 classes of lowest recall, of 50 (`--csv` has all):"
    assert lines[4].split()[:5] == ["class", "9", "10", "100.00%", "10.00%"]
    start = lines.index("most frequent mistakes:")
    assert start == 25
    assert lines[start + 2].split() == ["class", "9", "class", "8", "9"]
    assert len(lines) == start + 2 + 10
    assert recall_line(mostly_right(50)) == (
        "lowest recall: class 9 10.00%, class 19 10.00%, class 29 10.00% "
        "(`result.json` has all classes)"
    )
    assert len(class_csv(mostly_right(50)).splitlines()) == 51


def test_a_matrix_of_long_names_is_told_as_mistakes() -> None:
    lines = class_lines(mostly_right(10, "a class of a long name, number {}"))
    assert "most frequent mistakes:" in lines
    assert max(map(len, lines)) <= 100


def test_names_that_steer_a_terminal_are_written_out() -> None:
    lines = class_lines(mostly_right(2, "\x1b[31m{}"))
    assert not any("\x1b" in line for line in lines)


def test_no_mistakes() -> None:
    assert class_lines(Confusion(("a", "b"), np.array([[3, 0], [0, 0]])))[-1] == "no mistakes"
