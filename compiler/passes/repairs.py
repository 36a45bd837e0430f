"""Changes of shapes that a remedy may consist of: operations to append, sizes of inputs.

Each is right by itself; `remedies` tries what it does to the rest of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve

from bayesnas.compiler.graph.model import AnyStage, Graph, Merge, ParallelStage, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES, Shape
from bayesnas.compiler.passes.inference import RefusedError, Stages, agree, infer_stages
from bayesnas.dsl.diagnostics import Span

_MULTIPLES = (2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48, 9, 27)  # what strides of 2 and 3 divide
_MOST_FACTOR = 8  # of an enlargement
_MOST_SIZES = 12  # sets of other input sizes that are tried


# ------------------------------------------------------------------------------ shapes


def adaptations(shape: Shape, wanted: Shape, merge: Merge) -> Iterator[Stages]:
    """Operations that make a shape one that can be merged with the wanted one."""
    for tail in _likely(shape, wanted, wide=merge != "concat" and shape[0] != wanted[0]):
        try:
            _, result = infer_stages(tail, shape)
        except RefusedError:
            continue
        if tail and agree(merge, result, wanted):
            yield tail


def _likely(shape: Shape, wanted: Shape, *, wide: bool) -> Iterator[Stages]:
    width = wanted[0]
    if 1 in (len(wanted), len(shape)):  # a vector may multiply a map
        pool = (Stage("global_avg_pool", ()),) if len(shape) > 1 else ()
        linear = (Stage("linear", (("width", width),)),) if wide else ()
        yield (*pool, *linear)
    elif len(shape) == len(wanted):
        yield from _resizing(shape, wanted, wide=wide)


def _resizing(shape: Shape, wanted: Shape, *, wide: bool) -> Iterator[Stages]:
    """From one map to another: a stride, an enlargement, or one after the other."""
    point = Stage("conv", (("kernel", 1), ("width", wanted[0])))
    if shape[1:] == wanted[1:]:
        yield (point,)
    for factor in range(1, _MOST_FACTOR + 1):
        larger = (Stage("upsample", (("factor", factor),)),) if factor > 1 else ()
        stride = -(-shape[1] * factor // wanted[1])
        if stride == 1:
            yield (*larger, *((point,) if wide else ()))
        elif wide:
            yield (*larger, evolve(point, arguments=(*point.arguments, ("stride", stride))))
        else:
            pool = Stage("avg_pool", (("kernel", stride | 1), ("stride", stride)))
            yield (*larger, pool)
    sizes = dict(zip(("size", "size_width"), dict.fromkeys(wanted[1:]), strict=False))
    yield (Stage("resize", tuple(sizes.items())), *((point,) if wide else ()))


def other_inputs(graph: Graph) -> Iterable[dict[str, Shape]]:
    """Shapes of all inputs that are maps, at sizes that halve more evenly; the nearest first."""
    inputs = [n for n in graph.nodes() if n.scope == "" and n.role == "input" and n.shape]
    maps = {n.id: n.shape for n in inputs if n.shape is not None and len(n.shape) > 1}
    found: set[tuple[Shape, ...]] = set()
    for multiple in _MULTIPLES:
        for up in (0, multiple - 1):
            found.add(tuple(_rounded(shape, multiple, up) for shape in maps.values()))

    def away(shapes: tuple[Shape, ...]) -> tuple[int, int]:
        """How far from what is declared; of two as near, the larger loses nothing."""
        pairs = zip(maps.values(), shapes, strict=True)
        steps = [b - a for old, new in pairs for a, b in zip(old, new, strict=True)]
        return sum(map(abs, steps)), -sum(steps)

    others = found - {tuple(maps.values())}
    nearest = sorted((shapes for shapes in others if all(map(all, shapes))), key=away)
    return [dict(zip(maps, shapes, strict=True)) for shapes in nearest[:_MOST_SIZES]]


def _rounded(shape: Shape, multiple: int, up: int) -> Shape:
    return shape[0], *((size + up) // multiple * multiple for size in shape[1:])


# ------------------------------------------------------------------------------ stages


def spans_of(stages: Stages) -> tuple[Span | None, ...]:
    """Where stages are written: what tells operations of one text from those of another."""
    result: list[Span | None] = []
    for stage in stages:
        if isinstance(stage, ParallelStage):
            for branch in stage.branches:
                result += spans_of(branch)
        else:
            result.append(stage.span)
    return tuple(result)


def replace(stages: Stages, key: tuple[Span | None, ...], new: AnyStage) -> Stages:
    """Stages with another in the place of what is written there."""
    result: list[AnyStage] = []
    for stage in stages:
        if spans_of((stage,)) == key:
            result.append(new)
        elif isinstance(stage, ParallelStage):
            branches = tuple(replace(branch, key, new) for branch in stage.branches)
            result.append(ParallelStage(branches))
        else:
            result.append(stage)
    return tuple(result)


# ------------------------------------------------------------------------------ words


def written(stages: Stages) -> str:
    """Stages as a spec writes them."""
    return " >> ".join(_call(stage) for stage in stages if isinstance(stage, Stage))


def _call(stage: Stage) -> str:
    """As labels are: what must be given by position, the rest by name."""
    parameters = PRIMITIVES[stage.primitive].parameters
    texts = [str(v) if parameters[n] is None else f"{n}={v}" for n, v in stage.arguments]
    return f"{stage.primitive}({', '.join(texts)})" if texts else stage.primitive
