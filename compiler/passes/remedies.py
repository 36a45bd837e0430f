"""What to do about shapes that do not fit: each remedy is tried before it is given.

A remedy changes the graph as the user would change the spec: in all edges that a statement lays.
Shapes are inferred once more with the change; it is given where its problem is gone and what comes
then, if anything, comes later. Where nothing helps, what is said is what must be equal, not how.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from math import prod
from typing import TypeVar

from attrs import frozen

from bayesnas.compiler.graph.model import AnyStage, Edge, Graph, Merge, ParallelStage, Stage
from bayesnas.compiler.operations.primitives import Shape, UnevenError
from bayesnas.compiler.passes.inference import (
    Changes,
    Disagreement,
    Inference,
    Problem,
    RefusedStage,
    Stages,
    WrongOutput,
)
from bayesnas.compiler.passes.repairs import adaptations, other_inputs, replace, spans_of, written
from bayesnas.dsl.diagnostics import quote

MOST_EDGES = 50_000  # edges whose shapes are inferred for trials: a second or two in all

T = TypeVar("T")

_UNEVEN = "choose an input size that halves evenly wherever the network halves it"


def _no_matter(_problem: Problem) -> bool:
    return False


@frozen
class _Trial:
    """What is left to mend after a change."""

    changes: Changes
    problems: tuple[Problem, ...]


class Remedies:
    """Remedies for the problems of one graph.

    Args:
        graph: the graph as it is.
        inference: how its shapes came out.
    """

    def __init__(self, graph: Graph, inference: Inference) -> None:
        self.graph = graph
        self.places = {identifier: n for n, identifier in enumerate(graph.topological())}
        self.edges = list(graph.edges())
        self.left = MOST_EDGES
        self.known = {self._key(p) for p in inference.problems}
        self.sizes: tuple[str, _Trial] | None = None
        self.sizes_tried = False

    # ---------------------------------------------------------------------- one kind each

    def of_stage(self, problem: RefusedStage) -> str:
        """What to do where an operation refuses its input."""
        if problem.branch is not None:
            return self._of_branches(problem)
        if not isinstance(problem.error, UnevenError):
            return problem.error.remedy
        error = problem.error
        options = [self._other_sizes(problem), self._instead(problem, error, _is_of_sizes)]
        return _either(options) or self._instead(problem, error, _no_matter) or _UNEVEN

    def of_arrivals(self, problem: Disagreement) -> str:
        """What to do where arrivals do not fit."""
        one, two = problem.one, problem.two
        if len(one) == len(two) and one[1:] != two[1:] and (sizes := self._other_sizes(problem)):
            return sizes
        options = [self._appended(problem)]
        apart = problem.first.connection != problem.second.connection
        if problem.merge != "concat" and apart and len(one) == len(two):
            options.append(self._concatenated(problem))
        if len(one) != len(two) and not any(options):
            options.append(self._vectors(problem))
        return _either(options) or _agreement(problem)

    def of_output(self, problem: WrongOutput) -> str:
        """What to do where an output is not as declared."""
        name, shape = problem.output.name, problem.shape
        options = [f"declare `{name}: {list(shape)}`"]
        for edge in self.graph.incoming(problem.output.id)[:1]:
            for tail in adaptations(shape, problem.declared, "sum"):
                if words := self._append(edge, tail, problem):
                    options.append(words)
                    break
        return _either(options)

    # ---------------------------------------------------------------------- changes, in words

    def _of_branches(self, problem: RefusedStage) -> str:
        """Something after the branch of a `+` that differs from the first."""
        assert problem.branch is not None
        assert isinstance(problem.stage, ParallelStage)
        index, shape, wanted = problem.branch
        branches = problem.stage.branches
        if not self._affordable:
            return problem.error.remedy
        for n, have, want in _larger_first((index, shape, wanted), (0, wanted, shape)):
            for tail in adaptations(have, want, "sum"):
                longer = (*branches[:n], (*branches[n], *tail), *branches[n + 1 :])
                new = ParallelStage(longer)
                changes = self._replaced(problem.stage, new)
                if self._helps(problem, changes):
                    return f"append `>> {written(tail)}` to branch {n + 1} of the `+`"
        return problem.error.remedy

    def _instead(
        self, problem: RefusedStage, error: UnevenError, but: Callable[[Problem], bool]
    ) -> str:
        """Another operation in the place of one that needs even sizes."""
        assert isinstance(problem.stage, Stage)
        if not self._affordable:
            return ""
        name, arguments = error.instead
        new = Stage(name, tuple(arguments.items()), problem.stage.span)
        changes = self._replaced(problem.stage, new)
        if not self._helps(problem, changes, but):
            return ""
        if name == problem.stage.primitive:
            return f"write `kernel = {arguments['kernel']}`"
        return f"write `{written((new,))}`"

    def _appended(self, problem: Disagreement) -> str:
        """Something after one of the operations, which makes its shape that of the other."""
        one, two = problem.one, problem.two
        ways = _larger_first((problem.second, two, one), (problem.first, one, two))
        if problem.merge == "product" and len(two) == 1:  # rather than the map to a vector
            ways.reverse()
        for edge, shape, wanted in ways:
            for tail in adaptations(shape, wanted, problem.merge):
                if words := self._append(edge, tail, problem):
                    return words
        return ""

    def _append(self, edge: Edge, tail: Stages, problem: Problem) -> str:
        for edges in self._readings(edge) if self._affordable else ():
            changes = Changes({e.id: (*e.operation.stages, *tail) for e in edges})
            if self._helps(problem, changes):
                return _words(self.graph, edge, tail)
        return ""

    def _vectors(self, problem: Disagreement) -> str:
        """Both to vectors, where one kind of map meets another."""
        one, two = problem.first, problem.second
        pool = Stage("global_avg_pool", ())
        tails: dict[str, Stages] = {}
        for edge, shape in ((one, problem.one), (two, problem.two)):
            tails[edge.id] = (pool,) if len(shape) > 1 else ()
        if problem.merge != "concat" and problem.one[0] != problem.two[0]:
            tails[two.id] += (Stage("linear", (("width", problem.one[0]),)),)
        changed = [(e, tails[e.id]) for e in (one, two) if tails[e.id]]
        stages = {e.id: (*e.operation.stages, *tail) for e, tail in changed}
        if not self._helps(problem, Changes(stages)):
            return ""
        return " and ".join(_words(self.graph, e, tail) for e, tail in changed)

    def _concatenated(self, problem: Disagreement) -> str:
        span = problem.target.span
        if not self._affordable:
            return ""
        nodes = [n for n in self.graph.nodes() if n.span == span and n.merge == problem.merge]
        merges: dict[str, Merge] = {node.id: "concat" for node in nodes}
        return "merge with `concat`" if self._helps(problem, Changes(merges=merges)) else ""

    # ---------------------------------------------------------------------- other input sizes

    def _other_sizes(self, problem: Problem) -> str:
        """The nearest sizes of the inputs with which no map meets one of another size."""
        if not self.sizes_tried:
            self.sizes_tried = True
            found = self._best_sizes()
            self.sizes = (_declared(self.graph, found.changes.shapes), found) if found else None
        if self.sizes is None:
            return ""
        words, trial = self.sizes
        left = {self._key(p) for p in trial.problems}
        return "" if self._key(problem) in left else words

    def _best_sizes(self) -> _Trial | None:
        for shapes in other_inputs(self.graph):
            trial = self._try(Changes(shapes=shapes)) if self.left > MOST_EDGES // 2 else None
            if trial is None:
                return None
            maps = [p for p in trial.problems if isinstance(p, WrongOutput) and _resized(p)]
            if maps:  # outputs that are maps follow the inputs
                outputs = {p.output.id: p.shape for p in maps}
                trial = self._try(Changes(shapes={**shapes, **outputs}))
            if trial is not None and not any(_is_of_sizes(p) for p in trial.problems):
                return trial
        return None

    # ---------------------------------------------------------------------- trials

    def _try(self, changes: Changes) -> _Trial | None:
        """What is left to mend with a change; None where no trial can be afforded."""
        if not self._affordable:
            return None
        self.left -= len(self.edges)
        return _Trial(changes, tuple(Inference(self.graph, changes).run().problems))

    @property
    def _affordable(self) -> bool:
        """Whether one more trial is: where none is, nothing is made ready for it either."""
        return self.left >= len(self.edges)

    def _helps(
        self,
        problem: Problem,
        changes: Changes,
        but: Callable[[Problem], bool] = _no_matter,
    ) -> bool:
        """Whether a problem is gone with a change, and no other comes before it.

        Args:
            problem: what is to be mended.
            changes: the change.
            but: kinds of new problems that the change may not bring, though they come later.
        """
        trial = self._try(changes)
        if trial is None:
            return False
        place, key = self.places[problem.node], self._key(problem)
        keys = {self._key(left): left for left in trial.problems}
        new = [left for other, left in keys.items() if other not in self.known]
        return key not in keys and not any(self.places[p.node] < place or but(p) for p in new)

    def _key(self, problem: Problem) -> Hashable:
        """What tells a problem from others: one statement may have several in turn."""
        edge = _edge_of(problem)
        if edge is None:
            return problem.code, problem.span
        source = self.graph.node(edge.source).name
        return problem.code, problem.span, source, spans_of(edge.operation.stages)

    def _readings(self, edge: Edge) -> Iterator[list[Edge]]:
        """The edges that change with one: of its statement, of its definition, or it alone."""
        spans = spans_of(edge.operation.stages)
        alike = [
            e for e in self.edges if e.kind != "relay" and spans_of(e.operation.stages) == spans
        ]
        statement = [e for e in alike if e.span == edge.span]
        name = self.graph.node(edge.source).name
        yield statement
        if any(spans) and len(alike) > len(statement):
            yield alike
        alone = [e for e in statement if self.graph.node(e.source).name == name]
        if len(alone) < len(statement):
            yield alone

    def _replaced(self, old: AnyStage, new: AnyStage) -> Changes:
        """The stage in whose place another stands, in all edges that are written with it."""
        key = spans_of((old,))
        stages = {}
        for edge in self.edges:
            changed = replace(edge.operation.stages, key, new)
            if changed != edge.operation.stages:
                stages[edge.id] = changed
        return Changes(stages)


def arrow(graph: Graph, edge: Edge) -> str:
    """An edge as notes name it."""
    return f"`{graph.node(edge.source).id} -> {graph.node(edge.target).id}`"


# ------------------------------------------------------------------------------ problems


def _resized(problem: WrongOutput) -> bool:
    """Whether an output differs in its resolution alone."""
    one, two = problem.declared, problem.shape
    return len(one) == len(two) > 1 and one[0] == two[0]


def _is_of_sizes(problem: Problem) -> bool:
    """Whether maps of other sizes could mend it."""
    match problem:
        case RefusedStage(branch=None):
            return isinstance(problem.error, UnevenError)
        case RefusedStage(branch=(_, one, two)) | Disagreement(one=one, two=two):
            return len(one) == len(two) and one[1:] != two[1:]
        case WrongOutput():
            return _resized(problem)
    return False


def _edge_of(problem: Problem) -> Edge | None:
    match problem:
        case RefusedStage(edge=edge) | Disagreement(second=edge):
            return edge
    return None


def _larger_first(*ways: tuple[T, Shape, Shape]) -> list[tuple[T, Shape, Shape]]:
    """Who is to change, from what, to what: to make a map smaller costs less than to enlarge it."""
    return sorted(ways, key=lambda way: -prod(way[1][1:]))


# ------------------------------------------------------------------------------ words


def _words(graph: Graph, edge: Edge, tail: Stages) -> str:
    stages, label = edge.operation.stages, edge.operation.label
    if any(span not in (None, edge.span) for span in spans_of(stages)):
        if len(stages) == 1 and isinstance(stages[0], ParallelStage) and "+" in label:
            label = f"({label})"
        return f"append `>> {written(tail)}` to `{label}` on {arrow(graph, edge)}"
    return f"put `{written(tail)}` on {arrow(graph, edge)}"


def _declared(graph: Graph, shapes: Mapping[str, Shape]) -> str:
    texts = [f"{graph.node(key).name}: {list(shape)}" for key, shape in shapes.items()]
    return f"declare {quote(texts)}: sizes that halve evenly"


def _either(options: Iterable[str]) -> str:
    return ", or ".join(option for option in options if option)


def _agreement(problem: Disagreement) -> str:
    """What must be equal, where nothing that was tried makes it so."""
    if len(problem.one) != len(problem.two):
        return "what meets at a node has one rank: both vectors, or both maps of one kind"
    if problem.merge == "concat":
        return "what is concatenated has one resolution"
    verb = {"sum": "summed", "product": "multiplied"}[problem.merge]
    return f"what is {verb} has one shape"
