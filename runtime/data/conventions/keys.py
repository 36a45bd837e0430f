"""Names of arrays in archives: which are the examples, which the labels, and of which part."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.tasks.interface import wrong

_STEMS: Final = {
    "x": "x images? data inputs? features? samples?",
    "y": "y labels? targets?",
}
_PARTS: Final = {"": "train(?:ing)?", "_test": "test(?:ing)?", "_val": "val(?:id(?:ation)?)?|dev"}
_REMEDY: Final = "save it with `numpy.savez(FILE, x=x, y=y)`"


def _pattern(role: str, part: str) -> re.Pattern[str]:
    """``train_images``, ``x-train``, ``Xtrain``; of the training part, ``images`` alone too."""
    stem, word = f"(?:{_STEMS[role].replace(' ', '|')})", f"(?:{_PARTS[part]})"
    both = [f"{word}[_. -]?{stem}", f"{stem}[_. -]?{word}"]
    return re.compile("|".join(both if part else [stem, *both]), re.IGNORECASE)


_PATTERNS: Final = {role + part: _pattern(role, part) for role in _STEMS for part in _PARTS}


def roles_of(place: str, files: Sequence[str]) -> dict[str, str]:
    """The names of the arrays ``x``, ``y``, ``x_test`` and ``y_test`` of an archive, by these.

    Where there is no test part, ``x_val`` and ``y_val`` are among them.

    Raises:
        DiagnosticError: D511 (no examples or no labels, or several that may be).
    """
    if set(files) == {"arr_0", "arr_1"}:  # `numpy.savez(FILE, x, y)`
        return {"x": "arr_0", "y": "arr_1"}
    found: dict[str, str] = {}
    for role in ("x", "y", "x_test", "y_test", "x_val", "y_val"):
        if role.endswith("_val") and {"x_test", "y_test"} & found.keys():
            continue
        fitting = [role] if role in files else _called(role, files)
        if len(fitting) > 1:
            what = f"has {quote(fitting)}, each of which may be `{role}`"
            raise wrong(place, "D511", what, _REMEDY, *_held(files))
        if fitting:
            found[role] = fitting[0]
        elif role in ("x", "y"):
            raise wrong(place, "D511", f"has no array `{role}`", _REMEDY, *_held(files))
    return found


def examples_key(place: str, files: Sequence[str]) -> str:
    """The name of the array of an archive that holds examples: its only one, or ``x``.

    Raises:
        DiagnosticError: D511.
    """
    fitting = ["x"] if "x" in files else _called("x", files)
    if len(files) == 1:
        fitting = list(files)
    if len(fitting) != 1:
        remedy = "save the examples with `numpy.savez(FILE, x=x)`"
        raise wrong(place, "D511", "has no array `x`", remedy, *_held(files))
    return fitting[0]


def _called(role: str, files: Sequence[str]) -> list[str]:
    return [name for name in files if _PATTERNS[role].fullmatch(name)]


def _held(files: Sequence[str]) -> tuple[str, ...]:
    return (f"it has {quote(files)}",) if files else ()


def taken(place: str, roles: Mapping[str, str], files: Sequence[str]) -> list[str]:
    """What is said of arrays that are called otherwise, and of those that are left out."""
    renamed = [f"`{name}` as `{role}`" for role, name in roles.items() if role != name]
    left = [name for name in files if name not in roles.values()]
    said = []
    if renamed:
        said.append(f"of {place}, {', '.join(renamed)}")
    if left:
        said.append(f"not used of {place}: {quote(left)}")
    return said
