"""Functions of emitted source that build operations and mixed edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import define, field

from bayesnas.compiler.emit.names import TAKEN, identifier, unique
from bayesnas.compiler.emit.source import Family, ModuleSource, Value, call_source, unify
from bayesnas.compiler.emit.texts import INDENT, place_comment, wrapped
from bayesnas.dsl.diagnostics import Span

_FEW: Final = 2  # values that a name can tell
_SIZES: Final = ("channels", "width")


@define
class _Function:
    """A function and its uses: sources of one key.

    ``features`` are what each use does to shapes, in words, the same number for each.
    """

    title: str
    span: Span | None
    members: list[ModuleSource] = field(factory=list)
    features: list[tuple[str, ...]] = field(factory=list)
    name: str = ""
    family: Family = field(factory=lambda: Family((), (), ()))


class Functions:
    """Functions that build operations and mixed edges: one for each name and structure.

    Uses are announced first (`announce`), because a family's parameters depend on all of them.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.functions: dict[tuple[str, Hashable], _Function] = {}
        self.taken: set[str] = set(taken)

    def announce(
        self, title: str, source: ModuleSource, span: Span | None, features: tuple[str, ...]
    ) -> None:
        """One use of a source under a title; ``span`` is where that is defined."""
        new = _Function(title, span)
        function = self.functions.setdefault((title, source.key), new)
        function.members.append(source)
        function.features.append(features)

    def settle(self) -> None:
        """All uses are known: give each new function its name and parameters."""
        by_title: dict[str, list[_Function]] = {}
        for function in self.functions.values():
            by_title.setdefault(function.title, []).append(function)
        unsettled = [function for function in self.functions.values() if not function.name]
        for function in unsettled:
            first = by_title[function.title][0]
            function.name = self._name(function, first)
            self.taken.add(function.name)
        for function in unsettled:
            sizes = _varying_sizes(by_title[function.title])
            values = [member.values for member in function.members]
            hints = function.members[0].hints
            function.family = unify(values, hints, taken=self.taken, sizes=sizes)

    def _name(self, function: _Function, first: _Function) -> str:
        """The title, and what makes the function another one than the first of that title."""
        taken = self.taken | TAKEN
        plain = identifier(function.title)
        differences = [] if function is first else _differences(function, first)
        names = (identifier(f"{plain}_{difference}") for difference in differences)
        return next((name for name in names if name not in taken), unique(plain, taken))

    def call(self, title: str, source: ModuleSource) -> ModuleSource:
        """A call of the function in the place of what it returns."""
        function = self.functions[title, source.key]
        arguments = function.family.arguments(source.values)
        return call_source(function.name, title, function.family.parameters, arguments)

    def helpers(self) -> frozenset[str]:
        """What the definitions name of `preludes`."""
        members = (member for one in self.functions.values() for member in one.members)
        return frozenset[str]().union(*(member.helpers for member in members))

    def source(self, only: Callable[[Hashable], bool]) -> list[str]:
        """Definitions, in order of first use."""
        return [_source(one) for (_, key), one in self.functions.items() if only(key)]


def _source(function: _Function) -> str:
    family = function.family
    head = f"{function.name}({', '.join(family.parameters)})"
    place = f" ({place_comment(function.span)})" if function.span else ""
    body = function.members[0].write(family.texts)
    lines = [
        *wrapped("def ", head, tail=":"),
        f'{INDENT}"""`{function.title}`{place}."""',
        *wrapped(f"{INDENT}return ", body, level=1, always=True),
    ]
    return "\n".join(["", "", *lines, ""])


def _varying_sizes(functions: Sequence[_Function]) -> dict[str, bool]:
    """Sizes that functions of one title take alike, so that one can stand for another.

    The value says whether a size is anywhere another than those before it.
    """
    if len(functions) == 1:
        return {}
    columns = [_first_columns(function) for function in functions]
    common = [hint for hint in _SIZES if all(hint in one for one in columns)]
    varying = [h for h in common if len({v for one in columns for v in one[h]}) > 1]
    return {
        hint: any(one[hint] not in [one[other] for other in varying[:k]] for one in columns)
        for k, hint in enumerate(varying)
    }


def _first_columns(function: _Function) -> dict[str, tuple[Value, ...]]:
    """Of each hint, the values that its first number has."""
    result: dict[str, tuple[Value, ...]] = {}
    for k, hint in enumerate(function.members[0].hints):
        if hint not in result:
            result[hint] = tuple(member.values[k] for member in function.members)
    return result


# ------------------------------------------------------------------------------------------ names


def _differences(function: _Function, first: _Function) -> Iterator[str]:
    """Words for what all uses of a function have, and no use of the first: best ones first."""
    yield from _apart(_features(function), _features(first), "{1}")
    yield from _apart(_numbers(function), _numbers(first), "{0}_{1}")
    words = _words(first.members[0].key)
    yield from (word for word in _words(function.members[0].key) if word not in words)


def _apart(
    own: Mapping[tuple[str, int], set[Value]],
    others: Mapping[tuple[str, int], set[Value]],
    form: str,
) -> Iterator[str]:
    for (hint, k), values in own.items():
        if len(values) <= _FEW and values.isdisjoint(others.get((hint, k), values)):
            yield form.format(hint, "_".join(map(str, sorted(values, key=str))))


def _features(function: _Function) -> dict[tuple[str, int], set[Value]]:
    count = len(function.features[0])
    return {("feature", k): {features[k] for features in function.features} for k in range(count)}


def _numbers(function: _Function) -> dict[tuple[str, int], set[Value]]:
    """The values of each number by hint and by how many of that hint stand before; sizes last."""
    result: dict[tuple[str, int], set[Value]] = {}
    counts: Counter[str] = Counter()
    for k, hint in enumerate(function.members[0].hints):
        values = {member.values[k] for member in function.members}
        if all(isinstance(value, int) for value in values):
            result[hint, counts[hint]] = values
            counts[hint] += 1
    plain = {place: values for place, values in result.items() if _kind(place[0]) not in _SIZES}
    return {**plain, **result}


def _kind(hint: str) -> str:
    """``width`` for a parameter that is called ``width_2``."""
    return hint.rstrip("_0123456789")


def _words(key: Hashable) -> list[str]:
    """The words in a key: primitives, functions, candidates."""
    if isinstance(key, str):
        return [key]
    return [word for part in key for word in _words(part)] if isinstance(key, tuple) else []
