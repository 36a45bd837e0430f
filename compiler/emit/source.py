"""Pieces of Python source: modules whose numbers are still open, names, and wrapped lines.

Numbers travel through *expressions*: an `Expression` knows the values of its numbers in one place
of the graph, and how to write itself once each number has a text (a literal, or a parameter's
name). Expressions of equal ``key`` differ in numbers alone; `unify` gives such a family its
parameters.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final

from attrs import frozen

from bayesnas.compiler.emit.schedule import in_place
from bayesnas.compiler.graph.model import AnyStage, Graph, ParallelStage, Stage
from bayesnas.compiler.operations.layers import PRELUDES
from bayesnas.compiler.operations.primitives import PRIMITIVES, rank
from bayesnas.dsl.diagnostics import Span

LINE: Final = 100
INDENT: Final = "    "
# Names that emitted source uses itself.
TAKEN: Final = frozenset({
    "self", "gates", "torch", "nn", "MixedEdge", "super", "set", "enumerate", "sum", "outputs",
    "Shared", "DenseGradient", "scaled_norm", "DepthwiseConv2d", "Depthwise", "phases",
    "convolution_backward", "input_gradient", "weight_gradient", "len", "list", "zip", "tuple",
    "repr", "range", "isinstance", "float", "min", "next", "iter", "staticmethod", *PRELUDES,
})  # fmt: skip
_CLOSING: Final = {"(": ")", "[": "]"}

# ------------------------------------------------------------------------------------ expressions


@frozen
class Expression:
    """Source of one module, as long as its numbers are open."""

    key: Hashable
    values: tuple[int, ...]
    hints: tuple[str, ...]  # what each number is called
    write: Callable[[Sequence[str]], str]


@frozen
class Family:
    """Expressions of one key: which numbers are parameters, and the text of each number."""

    parameters: tuple[str, ...]
    texts: tuple[str, ...]
    picks: tuple[int, ...]  # for each parameter, a position of its number

    def arguments(self, values: Sequence[int]) -> tuple[int, ...]:
        """The parameters' values for a member of the family."""
        return tuple(values[k] for k in self.picks)


def unify(
    members: Sequence[Sequence[int]],
    hints: Sequence[str],
    known: Mapping[tuple[int, ...], str] | None = None,
    taken: Iterable[str] = (),
) -> Family:
    """Numbers that vary become parameters; those that vary together become one.

    ``known`` names columns of numbers that are already called something; ``taken`` are names that
    mean something else where the parameters stand.
    """
    avoid = TAKEN | set(taken)
    names: dict[tuple[int, ...], str] = {}
    picks: list[int] = []
    texts = []
    for k, hint in enumerate(hints):
        column = tuple(values[k] for values in members)
        if len(set(column)) == 1:
            texts.append(str(column[0]))
            continue
        if column not in names:
            hint = (known or {}).get(column, hint)
            names[column] = unique(identifier(hint), set(names.values()) | avoid)
            picks.append(k)
        texts.append(names[column])
    return Family(tuple(names.values()), tuple(texts), tuple(picks))


def stages_expression(stages: Sequence[AnyStage], fast: bool = False) -> Expression:
    """The modules of an operation in a row, as arguments of ``nn.Sequential``.

    ``fast`` takes our own depthwise convolution, of `edges.DEPTHWISE`.
    """
    befores = [None, *stages]
    parts = [_stage_expression(*pair, fast) for pair in zip(stages, befores, strict=False)]

    def write(texts: Sequence[str]) -> str:
        return ", ".join(spread(parts, texts))

    return join("stages", parts, write)


def _stage_expression(stage: AnyStage, before: AnyStage | None, fast: bool) -> Expression:
    if isinstance(stage, ParallelStage):
        parts = [sequence_expression(branch, fast) for branch in stage.branches]
        return join("parallel", parts, lambda t: f"Sum([{', '.join(spread(parts, t))}])")
    primitive = PRIMITIVES[stage.primitive]
    assert stage.input_shape is not None
    dimensions = rank(stage.input_shape)
    numbers = {"channels": stage.input_shape[0], **dict(stage.arguments)}
    names = tuple(numbers)
    emit = primitive.emit_for(numbers, dimensions)

    def write(texts: Sequence[str]) -> str:
        text = emit(dict(zip(names, texts, strict=True)), dimensions)
        return _faster(text, stage, before) if fast else text

    # Maps of different rank need different classes: they share no function.
    key = ("stage", stage.primitive, dimensions, emit, fast and in_place(stage, before))
    return Expression(key, tuple(numbers.values()), names, write)


def _faster(text: str, stage: Stage, before: AnyStage | None) -> str:
    """Source of a stage's module as a schedule has it."""
    if in_place(stage, before):
        return "nn.ReLU(inplace=True)"
    if stage.primitive == "depthwise_conv":
        return text.replace("nn.Conv2d(", "DepthwiseConv2d(")
    return text


def sequence_expression(stages: Sequence[AnyStage], fast: bool = False) -> Expression:
    """The modules of an operation as one: itself, or ``nn.Sequential`` where there are several."""
    inner = stages_expression(stages, fast)

    def write(texts: Sequence[str]) -> str:
        text = inner.write(texts)
        return f"nn.Sequential({text})" if _several(text) else text

    return Expression(("sequence", inner.key), inner.values, inner.hints, write)


def join(
    kind: str, parts: Sequence[Expression], write: Callable[[Sequence[str]], str]
) -> Expression:
    """Several expressions as one, with their numbers in a row; ``kind`` tells joins apart."""
    return Expression(
        (kind, tuple(p.key for p in parts)),
        tuple(v for p in parts for v in p.values),
        tuple(h for p in parts for h in p.hints),
        write,
    )


def spread(parts: Sequence[Expression], texts: Sequence[str]) -> list[str]:
    """Each part's source, the texts dealt out in order."""
    result, start = [], 0
    for part in parts:
        stop = start + len(part.values)
        result.append(part.write(texts[start:stop]))
        start = stop
    return result


def _several(text: str) -> bool:
    return len(_split(text, ",")) > 1


def _split(text: str, separator: str) -> list[str]:
    """The text split at the separators outside brackets."""
    parts, depth, start = [], 0, 0
    for k, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and k >= start and text.startswith(separator, k):
            parts.append(text[start:k].strip())
            start = k + len(separator)
    return [*parts, text[start:].strip()]


def sequential(stages: Expression) -> Expression:
    """As a function returns it: always ``nn.Sequential``, so that weights keep their names."""
    return Expression(
        ("sequential", stages.key),
        stages.values,
        stages.hints,
        lambda texts: f"nn.Sequential({stages.write(texts)})",
    )


# ------------------------------------------------------------------------------------------ texts


def identifier(name: str) -> str:
    """A Python name for a node, operation or instance: ``h[0]`` is ``h_0``."""
    result = re.sub(r"\W+", "_", name.replace("]", ""))
    if not result[:1].isalpha():  # a leading underscore means something to Python
        result = f"n{result}"
    return _legal(result)


def _legal(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) or name in TAKEN else name


def camel(name: str) -> str:
    """A class's name for a motif: ``dense_block`` is ``DenseBlock``."""
    parts = identifier(name).split("_")
    return _legal("".join(part[:1].upper() + part[1:] for part in parts))


def place_comment(span: Span | None) -> str:
    """Where something stands in the spec, as text for a comment."""
    if span is None:
        return ""
    return f"{printable(span.source.name.rsplit('/', 1)[-1])}:{span.line}"


def printable(text: str) -> str:
    """Text that cannot end the comment or docstring it stands in."""
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)


def unique(name: str, taken: Iterable[str], separator: str = "_") -> str:
    """The name, or the first of ``name_2``, ``name_3``, ... that is not taken."""
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{name}{separator}{count}"
    return result


def wrapped(
    prefix: str, text: str, comment: str = "", level: int = 0, always: bool = False, tail: str = ""
) -> list[str]:
    """``prefix text tail  # comment`` on one line, or broken at commas or sums where too long.

    ``level`` is how deep the closing bracket stands; ``always`` breaks calls of several arguments
    that hold calls themselves.
    """
    note = f"  # {comment}" if comment else ""
    whole = f"{prefix}{text}{tail}{note}"
    head, opening, inside = _bracketed(text)
    parts = _split(inside, ",") if inside else []
    nested = always and len(parts) > 1 and any("(" in part for part in parts)
    if note and not parts and len(whole) > LINE:
        return [f"{INDENT * level}# {comment}", f"{prefix}{text}{tail}"]
    if (len(whole) <= LINE and not nested) or not parts:
        return [whole]
    inner = INDENT * (level + 1)
    lines = [f"{prefix}{head}{opening}{note}"]
    if note and len(lines[0]) > LINE:
        lines = [f"{INDENT * level}# {comment}", f"{prefix}{head}{opening}"]
    if not head and opening == "(" and len(parts) == 1:
        first, *rest = _split(inside, " + ")
        lines += wrapped(inner, first, level=level + 1)
        for term in rest:
            lines += wrapped(f"{inner}+ ", term, level=level + 1)
    else:
        for part in parts:
            lines += wrapped(inner, part, level=level + 1, tail=",")
    return [*lines, f"{INDENT * level}{_CLOSING[opening]}{tail}"]


def _bracketed(text: str) -> tuple[str, str, str]:
    """``f(a, b)`` or ``[a, b]`` as what stands before, the bracket, and what stands inside."""
    first = next((k for k, c in enumerate(text) if c in "(["), None)
    if first is None or text[-1] != _CLOSING[text[first]]:
        return text, "", ""
    depth = 0
    for k, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and first < k < len(text) - 1:  # it closes early: several in a row
            return text, "", ""
    return text[:first], text[first], text[first + 1 : -1]


def joined(variable: str, operator: str, terms: list[str], level: int) -> list[str]:
    """``variable = a + b`` on one line, or a line a term where it is too long."""
    pad, inner = INDENT * level, INDENT * (level + 1)
    line = f"{pad}{variable} = {operator.join(terms)}"
    if len(line) <= LINE:
        return [line]
    first, *rest = terms
    lines = [f"{pad}{variable} = (", *wrapped(inner, first, level=level + 1)]
    for term in rest:
        lines += wrapped(f"{inner}{operator.strip()} ", term, level=level + 1)
    return [*lines, f"{pad})"]


def imported_modules(graph: Graph) -> list[str]:
    """Modules of the plugins whose primitives the graph applies."""
    waiting: list[AnyStage] = [s for edge in graph.edges() for s in edge.operation.stages]
    found = set()
    while waiting:
        stage = waiting.pop()
        if isinstance(stage, ParallelStage):
            waiting += [inner for branch in stage.branches for inner in branch]
        else:
            found.add(PRIMITIVES[stage.primitive].module)
    return sorted(found - {""})
