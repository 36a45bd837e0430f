"""Where in an emitted network the module of each primitive is: the names of its state.

It follows `source` and `edge_sources`, which write what is walked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bayesnas.compiler.emit.stages import stage_numbers
from bayesnas.compiler.emit.texts import split
from bayesnas.compiler.graph.model import AnyStage, Graph, ParallelStage, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES, rank


def module_paths(graph: Graph, operations: Mapping[str, str]) -> Mapping[tuple[str, int], str]:
    """The path of each primitive's module, by its edge and its number in that.

    ``operations`` are those of `Emitted`.

    The parameters of a primitive are named ``path.weight`` and alike; primitives in edges that are
    identities have no path.
    """
    result = {}
    for edge in graph.edges():
        path, operation = operations.get(edge.id), edge.operation
        if path is None:
            continue
        always = operation.definition is not None and not operation.is_identity
        for number, inner in enumerate(_inside(path, operation.stages, always)):
            result[edge.id, number] = inner
    return result


def _inside(path: str, stages: Sequence[AnyStage], always: bool) -> Iterator[str]:
    """Paths of a sequence's primitives; one of a single module is it, unless it is ``always``."""
    counts = [_count(stage) for stage in stages]
    alone = sum(counts) == 1 and not always
    first = 0
    for stage, count in zip(stages, counts, strict=True):
        inner = path if alone else f"{path}.{first}"
        if isinstance(stage, ParallelStage):
            yield from _branches(inner, stage.branches)
        else:
            yield inner
        first += count


def _branches(path: str, branches: Iterable[Sequence[AnyStage]]) -> Iterator[str]:
    for k, branch in enumerate(branches):
        yield from _inside(f"{path}.{k}", branch, always=False)


def _count(stage: AnyStage) -> int:
    """How many modules in a row a stage is."""
    if not isinstance(stage, Stage):
        return 1
    assert stage.input_shape is not None, "asked before shape inference"
    numbers, dimensions = stage_numbers(stage), rank(stage.input_shape)
    layer = PRIMITIVES[stage.primitive].plain_layer(numbers, dimensions)
    texts = {name: str(value) for name, value in numbers.items()}
    return len(split(layer.write(texts, dimensions), ","))
