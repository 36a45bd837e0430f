"""Names of arrays in archives: which are the examples, which the labels, and of which part."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from bayesnas.dsl.diagnostics import quote
from bayesnas.runtime.data.registry import Ports
from bayesnas.runtime.tasks.parts import wrong

_STEMS: Final = {
    "x": "x images? data inputs? features? samples?",
    "y": "y labels? targets?",
}
_PARTS: Final = {"": "train(?:ing)?", "_test": "test(?:ing)?", "_val": "val(?:id(?:ation)?)?|dev"}
_LIKENESS: Final = 0.85  # of two names, from 0 to 1
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


def by_ports(ports: Ports, files: Sequence[str]) -> bool:
    """Whether the arrays of an archive are called by a network's ports.

    Those of a network of one input and one output may be: if both are there.
    """
    several = len(ports.names) > 2
    return several or set(ports.names) <= set(files)


def port_roles(place: str, ports: Ports, files: Sequence[str]) -> dict[str, str]:
    """The names of the arrays of every port, and of those of a test part.

    Raises:
        DiagnosticError: D520 (a port has no array).
    """
    if missing := [port for port in ports.names if port not in files]:
        what = f"has no array {quote(missing)}, which the network {_used(ports, missing)}"
        arrays = ", ".join(f"{port}={port}" for port in ports.names)
        remedy = f"save one per port: `numpy.savez(FILE, {arrays})`"
        raise wrong(place, "D520", what, remedy, *_held(files))
    ends = ("", "_test") if any(f"{port}_test" in files for port in ports.names) else ("", "_val")
    roles = [port + end for end in ends for port in ports.names]
    return {role: role for role in roles if role in files}


def _used(ports: Ports, missing: Sequence[str]) -> str:
    return "takes" if missing[0] in ports.inputs else "gives"


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


def check_spelling(place: str, roles: Mapping[str, str], files: Sequence[str]) -> None:
    """Refuse arrays that are left out, but are called almost as those of a test part.

    Raises:
        DiagnosticError: D521.
    """
    if any(role.endswith("_test") for role in roles):
        return
    held = any(role.endswith("_val") for role in roles)
    absent = [role + end for role in roles for end in ("_test", "_val") if not held]
    absent += [role.removesuffix("_val") + "_test" for role in roles if role.endswith("_val")]
    for name in files:
        likely = difflib.get_close_matches(name, absent, n=1, cutoff=_LIKENESS)
        if likely and name not in roles.values():
            what = f"has an array `{name}`, which is of no port"
            remedy = f"call it `{likely[0]}`, or leave it out"
            raise wrong(place, "D521", what, remedy, *_held(files))


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
