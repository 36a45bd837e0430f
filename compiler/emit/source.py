"""Source of modules whose numbers are still open.

Numbers travel through `ModuleSource`: it knows the values of its numbers in one place of the graph,
and how to write itself once each number has a text (a literal, or a parameter's name). Sources of
equal ``key`` differ in numbers alone; `unify` gives such a family its parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from attrs import evolve, frozen

from bayesnas.compiler.emit.names import TAKEN, identifier, unique
from bayesnas.compiler.emit.stages import AnyWritten, WrittenParallel, stage_numbers
from bayesnas.compiler.emit.texts import split
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.operations.primitives import PRIMITIVES, rank

# What may differ between sources of one key: a number, or the name of the function that is called.
Value: TypeAlias = int | str


@frozen
class ModuleSource:
    """Source of one module, as long as its numbers are open.

    ``hints`` say what each number is called; ``helpers`` are the classes and functions of
    ``preludes`` that the source names.
    """

    key: Hashable
    values: tuple[Value, ...]
    hints: tuple[str, ...]
    write: Callable[[Sequence[str]], str]
    helpers: frozenset[str] = frozenset()


@frozen
class Family:
    """Sources of one key: which numbers are parameters, and the text of each number."""

    parameters: tuple[str, ...]
    texts: tuple[str, ...]
    picks: tuple[int, ...]  # for each parameter, a position of its number

    def arguments(self, values: Sequence[Value]) -> tuple[Value, ...]:
        """The parameters' values for a member of the family."""
        return tuple(values[k] for k in self.picks)


def unify(
    members: Sequence[Sequence[Value]],
    hints: Sequence[str],
    names_of: Mapping[tuple[Value, ...], str] | None = None,
    taken: Iterable[str] = (),
    sizes: Mapping[str, bool] | None = None,
) -> Family:
    """Numbers that vary become parameters; those that vary together become one.

    ``names_of`` names columns of numbers that are already called something; ``taken`` are names
    that mean something else where the parameters stand. Numbers whose hint is in ``sizes`` become
    parameters even where they do not vary; where that says so, the first of the hint becomes one of
    its own.
    """
    avoid = {*TAKEN, *taken}
    names: dict[tuple[Value, ...], str] = {}  # of a column, the last of its names
    parameters: list[str] = []
    picks: list[int] = []
    texts = []
    sizes = sizes or {}
    apart = {hint for hint, own in sizes.items() if own}
    for k, hint in enumerate(hints):
        column = tuple(values[k] for values in members)
        if len(set(column)) == 1 and hint not in sizes:
            texts.append(str(column[0]))
            continue
        if column not in names or hint in apart:
            name = identifier((names_of or {}).get(column, hint))
            names[column] = unique(name, avoid)
            avoid.add(names[column])
            parameters.append(names[column])
            picks.append(k)
        apart.discard(hint)
        texts.append(names[column])
    return Family(tuple(parameters), tuple(texts), tuple(picks))


def stages_source(stages: Sequence[AnyWritten]) -> ModuleSource:
    """The modules of an operation in a row, as arguments of ``nn.Sequential``."""
    parts = [_stage_source(stage) for stage in stages]
    return join("stages", parts, lambda texts: ", ".join(spread(parts, texts)))


def _stage_source(written: AnyWritten) -> ModuleSource:
    if isinstance(written, WrittenParallel):
        parts = [sequence_source(branch) for branch in written.branches]
        return join(
            "parallel", parts, lambda t: f"Sum([{', '.join(spread(parts, t))}])", frozenset({"Sum"})
        )
    stage, layer = written.stage, written.layer
    assert stage.input_shape is not None
    dimensions = rank(stage.input_shape)
    numbers = stage_numbers(stage)
    names = tuple(numbers)

    def write(texts: Sequence[str]) -> str:
        return layer.write(dict(zip(names, texts, strict=True)), dimensions)

    # Maps of different rank need different classes: they share no function.
    key = ("stage", stage.primitive, dimensions, layer)
    helpers = frozenset({layer.helper} - {""})
    return ModuleSource(key, tuple(numbers.values()), names, write, helpers)


def sequence_source(stages: Sequence[AnyWritten]) -> ModuleSource:
    """The modules of an operation as one: itself, or ``nn.Sequential`` where there are several."""
    inner = stages_source(stages)

    def write(texts: Sequence[str]) -> str:
        text = inner.write(texts)
        return f"nn.Sequential({text})" if len(split(text, ",")) > 1 else text

    return evolve(inner, key=("sequence", inner.key), write=write)


def sequential(stages: ModuleSource) -> ModuleSource:
    """As a function returns it: always ``nn.Sequential``, so that weights keep their names."""
    return evolve(
        stages,
        key=("sequential", stages.key),
        write=lambda texts: f"nn.Sequential({stages.write(texts)})",
    )


def call_source(
    function: str, kind: str, parameters: Sequence[str], arguments: Sequence[Value]
) -> ModuleSource:
    """A call of a function or class; calls of the same parameters may differ in what is called.

    ``kind`` is the operation, choice or motif that it builds.
    """
    return ModuleSource(
        ("call", tuple(parameters)),
        (function, *arguments),
        (f"make_{identifier(kind)}", *parameters),
        lambda texts: f"{texts[0]}({', '.join(texts[1:])})",
    )


def list_source(parts: Sequence[ModuleSource]) -> ModuleSource:
    """``nn.ModuleList`` of several; those in a row that read alike are made in a loop."""

    def write(texts: Sequence[str]) -> str:
        runs = [(text, len(list(run))) for text, run in groupby(spread(parts, texts))]
        if len(runs) == 1:
            return f"nn.ModuleList({_repeated(*runs[0])})"
        items = []
        for text, count in runs:
            items += [text] * count if count < 3 else [f"*({_repeated(text, count)})"]
        return f"nn.ModuleList([{', '.join(items)}])"

    return join("list", parts, write)


def _repeated(text: str, count: int) -> str:
    return f"{text} for _ in range({count})"


def join(
    kind: str,
    parts: Sequence[ModuleSource],
    write: Callable[[Sequence[str]], str],
    helpers: frozenset[str] = frozenset(),
) -> ModuleSource:
    """Several sources as one, with their numbers in a row; ``kind`` tells joins apart."""
    return ModuleSource(
        (kind, tuple(p.key for p in parts)),
        tuple(v for p in parts for v in p.values),
        tuple(h for p in parts for h in p.hints),
        write,
        helpers.union(*(p.helpers for p in parts)),
    )


def spread(parts: Sequence[ModuleSource], texts: Sequence[str]) -> list[str]:
    """Each part's source, the texts dealt out in order."""
    result, start = [], 0
    for part in parts:
        stop = start + len(part.values)
        result.append(part.write(texts[start:stop]))
        start = stop
    return result


def imported_modules(graph: Graph) -> list[str]:
    """Modules of the plugins whose primitives the graph applies."""
    modules = {
        PRIMITIVES[stage.primitive].module
        for edge in graph.edges()
        for stage in primitives_of(edge.operation.stages)
    }
    return sorted(modules - {""})
