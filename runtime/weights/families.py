"""Families of groups of weights (BayesNAS, figure 2; Wen et al., NeurIPS 2016), and their masks.

A weight tensor is [out, in, ...]: of a convolution the rest is its kernel, a linear layer has none.
The names are those of the figure, whose text says no more; what they stand for here is Wen's, or
what fits the word:

    channel  all that reads a channel, wherever: coupled, and removed
    filter   all that makes a channel, its normalisations with it: coupled, and removed
    shape    W[:, c, i, j]: one place of one input channel, of all filters
    kernel   W[n, c, :, :]: one kernel
    row      a row of the last two axes: W[n, c, i, :], of a linear layer W[n, :]
    column   a column of them: W[n, c, :, j], of a linear layer W[:, c]
    block    a tile of the matrix [out, in * kernel]
    weight   each by itself

Those after the first two end in masks: weights that are zero, in a network as large as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Final

import torch
from attrs import field, frozen
from torch import Tensor

from bayesnas.compiler.graph.cost import Cost, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, Graph
from bayesnas.compiler.graph.scans import turns
from bayesnas.compiler.graph.walks import primitives_of
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.slices.groups import Place
from bayesnas.compiler.slices.ties import Strand
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest
from bayesnas.runtime.weights.choice import Scores, raised
from bayesnas.runtime.weights.subject import Rows, Subject, Values

STRUCTURED: Final = ("channel", "filter")
TILE: Final = 4  # weights along each side of a block


def _numbers(sizes: Sequence[int], axes: Sequence[int]) -> Tensor:
    """The group of every weight [*sizes]: those that agree on these axes share one."""
    result = torch.zeros(*sizes, dtype=torch.int64)
    for axis in axes:
        places = torch.arange(sizes[axis]).view([-1 if k == axis else 1 for k in range(len(sizes))])
        result = result * sizes[axis] + places
    return result


def _blocks(shape: Sequence[int]) -> Tensor:
    rows, columns = shape[0], prod(shape[1:])
    along = torch.arange(rows)[:, None] // TILE, torch.arange(columns)[None] // TILE
    return (along[0] * -(-columns // TILE) + along[1]).view(*shape)


# By the shape of a weight tensor, the group of each weight, numbered from 0.
MASKED: Final[Mapping[str, Callable[[Sequence[int]], Tensor]]] = {
    "shape": lambda shape: _numbers(shape, range(1, len(shape))),
    "kernel": lambda shape: _numbers(shape, (0, 1)),
    "row": lambda shape: _numbers(shape, range(len(shape) - 1)),
    "column": lambda shape: _numbers(shape, (*range(len(shape) - 2), len(shape) - 1)),
    "block": _blocks,
    "weight": lambda shape: torch.arange(prod(shape)).view(*shape),
}
FAMILIES: Final = (*STRUCTURED, *MASKED)


def check_families(names: Sequence[str]) -> None:
    """Refuse what is no family.

    Raises:
        DiagnosticError: D614.
    """
    for name in names:
        if name not in FAMILIES:
            raise DiagnosticError(
                Diagnostic(
                    "D614",
                    f"no family of weights `{name}`",
                    notes=(f"there are {quote(FAMILIES)}",),
                    help=suggest(name, FAMILIES, "use some of them, as in `filter,shape`"),
                )
            )


def ordered(families: Sequence[str]) -> tuple[str, ...]:
    """Each once: those whose groups are removed, as they stand; then those that are masked."""
    each = dict.fromkeys(families)
    return (*(f for f in each if f in STRUCTURED), *(f for f in each if f in MASKED))


@frozen
class Pieces(Subject):
    """Groups within single weight tensors: a strand for each of them.

    Args:
        channels: the network and the channels that its weights lie on.
        numbers: of each tensor by name, its strand, and the group of every weight.
        keep: paths of modules whose weights all stay.
    """

    channels: Subject = field(kw_only=True, repr=False)
    numbers: Mapping[str, tuple[Strand, Tensor]] = field(factory=dict, repr=False)
    keep: tuple[str, ...] = ()

    def sums(self, values: Values) -> Rows:
        """Sums of values over each group."""
        result = self.rows()
        for name, (strand, groups) in self.numbers.items():
            if name in values:
                at = groups.flatten().to(result[strand].device)
                result[strand].index_add_(0, at, values[name].flatten().to(result[strand]))
        return result

    def all_sums(self, values: Values) -> Rows:
        """The same: nothing else goes with them."""
        return self.sums(values)

    @cached_property
    def sizes(self) -> Rows:
        """How many weights each group has."""
        return self.sums({name: torch.ones(g.shape) for name, (_, g) in self.numbers.items()})

    def compared(self, squares: Mapping[Strand, Tensor]) -> Rows:
        """As shares of what is left of their tensor once smaller groups went, a weight.

        The fewer groups a tensor has left the higher are their shares, up to 1 of the last one,
        over its weights: of groups of one size none is emptied while another tensor has much to
        spare (Lee et al., ICLR 2021, who have single weights).
        """
        result = {}
        for strand, row in squares.items():
            square, size = row.double(), self.sizes[strand].to(row).double().clamp_min(1)
            order = (square / size).argsort(descending=True, stable=True)
            rest = torch.empty_like(square)
            rest[order] = square[order].cumsum(0)
            result[strand] = square / rest.clamp_min(torch.finfo(rest.dtype).tiny) / size
        return result

    def pull(self, alive: Tensor) -> dict[Strand, float]:
        """By the weights that live in a tensor over their mean: a small one loses less of its own.

        So do scores, `compared`, and for the same reason.
        """
        living, sizes = self.split(alive), self.sizes
        counts = {s: float((sizes[s] * living[s]).sum()) for s in self.strands}
        mean = sum(counts.values()) / max(1, len(counts))
        return {s: count / max(1.0, mean) for s, count in counts.items()}

    def spread(self, rows: Mapping[Strand, Tensor]) -> dict[str, Tensor]:
        """Of each weight, the number of its group."""
        return {
            name: rows[strand][groups.to(rows[strand].device)]
            for name, (strand, groups) in self.numbers.items()
            if strand in rows
        }


@frozen
class Prices:
    """What weights of a network cost: parameters each, and multiply-accumulates by their name.

    Args:
        rest: parameters that are in no weight tensor: biases, normalisations, embeddings.
        uses: multiply-accumulates that each weight of a tensor takes part in, by its name.
        fixed: those of operations without a weight tensor of their own, as of an unembedding.
    """

    rest: int
    uses: Mapping[str, float]
    fixed: float = 0.0

    @classmethod
    def of(cls, graph: Graph, state: Values, paths: Mapping[Place, str]) -> Prices:
        """Of the parameters of a network, by name; modules that run twice are paid for twice."""
        flops: dict[str, int] = {}
        times = turns(graph)
        for edge in graph.edges():
            for number, stage in enumerate(primitives_of(edge.operation.stages)):
                if (edge.id, number) not in paths:
                    continue
                assert stage.input_shape is not None, "asked before shape inference"
                assert stage.output_shape is not None, "asked before shape inference"
                primitive, arguments = PRIMITIVES[stage.primitive], dict(stage.arguments)
                path = paths[edge.id, number]
                cost = primitive.flops(stage.input_shape, stage.output_shape, arguments)
                flops[path] = flops.get(path, 0) + cost * times[edge.scope]
        own = {
            path: [n for n, w in state.items() if _is_weight(n, path) and w.dim() > 1]
            for path, cost in flops.items()
            if cost
        }
        uses = {
            name: flops[path] / sum(state[n].numel() for n in names)
            for path, names in own.items()
            for name in names
        }
        rest = sum(w.numel() for name, w in state.items() if name not in uses)
        return cls(rest, uses, sum(flops[path] for path, names in own.items() if not names))

    def cost(self, counts: Mapping[str, int]) -> Cost:
        """Of so many weights of each tensor; FLOPs as if those that are zero were skipped."""
        flops = self.fixed + sum(self.uses[name] * count for name, count in counts.items())
        return Cost(self.rest + sum(counts.values()), round(flops))


def _is_weight(name: str, path: str) -> bool:
    return name.startswith(f"{path}.") and name.rpartition(".")[2].startswith("weight")


def pieces_of(
    family: str, subject: Subject, uses: Mapping[str, float], keep: Sequence[str]
) -> Pieces:
    """The groups of a family in the weight tensors of a network.

    Args:
        family: of `MASKED`.
        subject: the network.
        uses: by the names of its weight tensors.
        keep: paths of modules whose weights all stay.
    """
    numbers = {}
    for name, weight in subject.module.named_parameters():
        if name in uses and not any(name.startswith(f"{path}.") for path in keep):
            groups = MASKED[family](weight.shape)
            numbers[name] = Strand(int(groups.max()) + 1), groups
    strands = [strand for strand, _ in numbers.values()]
    return Pieces(
        subject.module,
        (),
        strands,
        subject.losses,
        subject.generator,
        channels=subject,
        numbers=numbers,
        keep=(*keep,),
    )


def masks(pieces: Pieces, kept: Rows) -> dict[str, Tensor]:
    """Of each weight tensor, 1 where a weight stays and 0 where it goes."""
    return {name: mask.to(torch.float32) for name, mask in pieces.spread(kept).items()}


@frozen
class Weighing:
    """What groups of a family cost, where some weights have gone already.

    Args:
        pieces: the groups.
        prices: of the network's weights.
        present: of each weight tensor, 1 where a weight is left, by name.
    """

    pieces: Pieces
    prices: Prices
    present: Mapping[str, Tensor]

    def cost(self, kept: Rows) -> Cost:
        """Of the network with these groups [groups] alone, and all that is in none."""
        stay = masks(self.pieces, kept)
        return self.prices.cost(
            {
                name: int((weight * stay.get(name, torch.ones(1))).sum())
                for name, weight in self.present.items()
            }
        )

    def fitting(
        self, scores: Scores, budgets: Sequence[BudgetConstraint], strict: bool = True
    ) -> Rows:
        """As many groups of the highest scores as fit, one of each tensor at least.

        Raises:
            DiagnosticError: D609 (status 1) if those are too many, and it is to be strict.
        """
        pieces = self.pieces
        left = pieces.sums(self.present)
        first = {s: torch.zeros(s.size, dtype=torch.bool) for s in pieces.strands}
        for strand, row in first.items():  # of what has not gone yet
            row[torch.where(left[strand].cpu() > 0, scores[strand].cpu(), -torch.inf).argmax()] = 1
        if strict:
            for budget in unmet_budgets(self.cost(first), budgets):
                raise DiagnosticError(_unmet(budget, self.cost(first), pieces.keep), status=1)
        sizes = pieces.joined(left).double()
        uses = pieces.joined(
            pieces.sums({n: w * self.prices.uses[n] for n, w in self.present.items()})
        ).double()
        best = torch.where(pieces.joined(first), torch.inf, pieces.joined(scores).cpu().double())
        order = best.argsort(descending=True, stable=True)
        none = self.cost({s: torch.zeros(s.size, dtype=torch.bool) for s in pieces.strands})
        count = len(order)
        for budget in budgets:
            each = uses if budget.cost == "flops" else sizes
            total = none.of(budget.cost) + each[order].cumsum(0)
            count = min(count, max(len(first), int((total <= budget.limit + 0.5).sum())))
        stay = torch.zeros(len(order), dtype=torch.bool)
        stay[order[:count]] = True
        stay &= sizes.cpu() > 0  # what has gone already costs nothing, and does not stay
        return pieces.split(stay)


def _unmet(budget: BudgetConstraint, least: Cost, layers: Sequence[str]) -> Diagnostic:
    what = "parameters" if budget.cost == "parameters" else "FLOPs"
    number = least.of(budget.cost)
    note = f"with one group of each weight tensor, and all that is in no group, it has {number:,}"
    message = f"no mask leaves at most {budget.limit:,} {what}"
    return Diagnostic("D609", message, notes=(note,), help=raised(layers))
