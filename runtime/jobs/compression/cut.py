"""A removal that is decided: the network that it leaves, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import define, evolve, field, frozen
from torch import Tensor, nn

from bayesnas.compiler.graph.cost import Cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices
from bayesnas.compiler.slices.layers import Layer, layers_of
from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.tasks.scores import Score
from bayesnas.runtime.weights.choice import Scores
from bayesnas.runtime.weights.families import MASKED, STRUCTURED, Pieces, Prices
from bayesnas.runtime.weights.removal import Narrowed, renamed, state_paths
from bayesnas.runtime.weights.subject import Rows, Subject


@define
class Found:
    """What was found of the groups of a family, and which of them stay [groups] a strand."""

    family: str
    subject: Subject
    scores: Scores
    columns: Mapping[str, Rows]
    stays: Rows = field(factory=dict)


@frozen
class Cut:
    """A removal that is decided.

    Args:
        compiled: the network that it is of.
        slices: of that.
        found: of its groups, family by family.
        kept: channels that stay.
        narrowed: what is left.
        keep: layers of which nothing went.
        masks: those that were drawn and judged, the one that was taken first: losses on held-out
            examples, and what the networks cost.
    """

    compiled: Compiled = field(repr=False)
    slices: Slices = field(repr=False)
    found: Sequence[Found] = field(repr=False)
    kept: Kept = field(repr=False)
    narrowed: Narrowed
    keep: Sequence[str] = ()
    masks: Sequence[tuple[float, Cost]] = ()

    @property
    def masked(self) -> bool:
        """Whether weights are zero in what is left."""
        return any(group.family in MASKED for group in self.found)

    @property
    def weights(self) -> tuple[str, ...]:
        """The weight tensors of what is left, by name."""
        return (*self._prices.uses,)

    @property
    def _prices(self) -> Prices:
        compiled = self.narrowed.compiled
        return Prices.of(compiled.graph, self.narrowed.state, state_paths(compiled))

    def sparsity(self) -> Sparsity | None:
        """What of the weights is not zero, if some are masked."""
        if not self.masked:
            return None
        state, prices = self.narrowed.state, self._prices
        counts = {name: int((state[name] != 0).sum()) for name in prices.uses}
        whole = sum(state[name].numel() for name in prices.uses)
        return Sparsity(whole, sum(counts.values()), prices.cost(counts).flops)

    def score(self, data: Data, at_once: int) -> Score:
        """How good the smaller network is on the test part, before it is trained on."""
        module = module_of(self.narrowed.compiled, self.narrowed.state, data.device)
        return evaluate(module, data, data.test, at_once)

    def layers(self, before: Mapping[str, Layer] | None = None) -> dict[str, Layer]:
        """What becomes of each layer that has a width, by its path in the smaller network.

        ``before`` is that of the removal before this one, whose names and counts go on.
        """
        before = before or {}
        paths = state_paths(self.compiled)
        names = renamed(self.compiled, self.narrowed.compiled)
        layers = {}
        now = layers_of(self.compiled.graph, self.slices, self.kept, paths)
        for path, layer in now.items():
            first = before.get(path, layer)
            weights, nonzero = self._counted(names[path])
            layers[names[path]] = evolve(
                first,
                inputs_kept=layer.inputs_kept,
                channels_kept=layer.channels_kept,
                connections_kept=layer.connections_kept,
                weights=weights,
                nonzero=nonzero,
            )
        return layers

    def _counted(self, path: str) -> tuple[int, int] | tuple[None, None]:
        """Weights of a layer of what is left, and how many are not zero, if some are masked."""
        if not self.masked:
            return None, None
        state = self.narrowed.state
        own = [state[name] for name in self.weights if name.startswith(f"{path}.")]
        nonzero = sum(int((weight != 0).sum()) for weight in own)
        return sum(weight.numel() for weight in own), nonzero

    def layers_kept(self) -> tuple[str, ...]:
        """The layers of the limits, by the names of their primitives in the smaller network."""
        names = renamed(self.compiled, self.narrowed.compiled)
        kept = self.keep
        return tuple(
            new
            for old, new in names.items()
            if any(old == layer or old.startswith(f"{layer}.") for layer in kept)
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """``slices.jsonl``: each group that may go, its score, and whether it stays."""
        numbers: dict[Strand, int | str] = {
            strand: n for n, strand in enumerate(self.slices.strands)
        }
        for group in self.found:
            if isinstance(group.subject, Pieces):
                numbers |= {strand: n for n, (strand, _) in group.subject.numbers.items()}
            place = "strand" if group.family in STRUCTURED else "tensor"
            number = "channel" if group.family in STRUCTURED else "group"
            family = {"family": group.family} if len(self.found) > 1 else {}
            for strand, row in group.scores.items():
                columns = {name: rows[strand].tolist() for name, rows in group.columns.items()}
                for k, (score, stays) in enumerate(
                    zip(row.tolist(), group.stays[strand].tolist(), strict=True)
                ):
                    about = {name: column[k] for name, column in columns.items()}
                    where = {place: numbers[strand], number: k}
                    yield {**family, **where, "score": score, "kept": stays, **about}


@frozen
class Sparsity:
    """Weights of a network with masks: how many there are, how many are not zero.

    ``flops`` are those that would be left if every zero were skipped, which kernels do not.
    """

    weights: int
    nonzero: int
    flops: int


def module_of(compiled: Compiled, state: Mapping[str, Tensor], device: torch.device) -> nn.Module:
    """A network with these weights on a device, in evaluation mode."""
    name = compiled.loaded.source.name
    module, _ = build(compiled.graph, name, 0, layout=layout(compiled.graph, device))
    module.load_state_dict(state)
    return module.to(device).eval()
