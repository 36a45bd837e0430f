"""Language models: the token that comes next, by the softmax of the outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.parts import Array, Factors, likeliest, wrong
from bayesnas.runtime.tasks.pixels.places import place_factors, sampled_place_factors
from bayesnas.runtime.tasks.scores import Score

UNKNOWN = "<unk>"  # the token of all that are not in the vocabulary
_LARGEST = 700.0  # nats whose exponential is still finite


@frozen
class NextToken(Task):
    """The next token behind each of P places: targets are their numbers, int64 [N, P].

    Outputs [N, V P] of V tokens have the places of the first token first; P is 1 where the token
    behind a whole window is learned. With p the softmax over the tokens at a place and y the token
    behind it, the loss of an example is -1/P sum ln p[y], nats a token, and its curvature has a
    block (diag p - p p^T) / P for each place.

    Args:
        tokens: the vocabulary, in the order of the outputs.
        level: what a token is: a ``character`` or a ``word``.
    """

    tokens: tuple[str, ...]
    level: str = "character"
    objective: ClassVar[str] = "next_token"
    metric: ClassVar[str] = "perplexity"
    scale: ClassVar[float] = -1.0  # quality is the perplexity with its sign turned
    answer_columns: ClassVar[tuple[str, str]] = ("token", "probability")

    # ------------------------------------------------------------------------------- the data

    @classmethod
    def suits(cls, targets: Array) -> bool:  # noqa: ARG003
        """No arrays: texts alone say that their numbers are tokens."""
        return False

    @classmethod
    def of_targets(
        cls,
        targets: Array,  # noqa: ARG003
        place: str,
        names: Sequence[str] = (),
    ) -> NextToken:
        """Of a vocabulary.

        Raises:
            DiagnosticError: D514 (a single token).
        """
        if len(names) < 2:
            what = f"has {len(names)} kind of token"
            raise wrong(place, "D514", what, "give a text of two kinds or more")
        return cls(tuple(names))

    def targets(self, targets: Array, place: str) -> Tensor:
        """Numbers of tokens as int64 [N, P].

        Raises:
            DiagnosticError: D514 (numbers that are no tokens).
        """
        if targets.size and not 0 <= targets.min() <= targets.max() < len(self.tokens):
            remedy = f"number the tokens from 0 to {len(self.tokens) - 1}"
            raise wrong(place, "D514", "has numbers that are no tokens", remedy)
        return torch.from_numpy(np.asarray(targets, dtype=np.int64).reshape(len(targets), -1))

    def strata(self, targets: Tensor) -> Array:
        """All the same."""
        return np.zeros(len(targets), dtype=np.int64)

    # ------------------------------------------------------------------------------- the network

    @classmethod
    def suits_output(cls, shape: Shape) -> bool:
        """A vector, or one for each place."""
        return len(shape) in (1, 2)

    def check(self, graph: Graph, data: str) -> None:
        """Refuse a network of another number of outputs a place than tokens.

        Raises:
            DiagnosticError: D506.
        """
        node = graph.node(graph.root.outputs[0])
        count, (predicted, *places) = len(self.tokens), node.shape or (0,)
        if count != predicted:
            wanted = ", ".join(map(str, (count, *places)))
            raise DiagnosticError(
                Diagnostic(
                    "D506",
                    f"`{data}` has {count:,} kinds of token, the network predicts {predicted:,}",
                    node.span,
                    help=f"declare the output as `{node.name}: [{wanted}]`",
                )
            )

    def causal(self, graph: Graph) -> bool:
        """Where each place has an output: what it predicts is the next input."""
        return len(graph.node(graph.root.outputs[0]).shape or ()) == 2

    def told_of(self, graph: Graph) -> str:
        """Behind which tokens the next is learned."""
        node = graph.node(graph.root.outputs[0])
        behind = "each token" if len(node.shape or ()) == 2 else "a window"
        return f"`{node.name}` predicts the {self.level} that follows {behind}"

    # ------------------------------------------------------------------------------- learning

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, in nats a token."""
        return cross_entropy(self._places(outputs), targets, reduction="none").mean(dim=1)

    def score(self, predictions: Iterable[tuple[Tensor, Tensor]]) -> Score:
        """Its quality is minus the perplexity, exp(loss)."""
        loss, count = 0.0, 0
        for outputs, targets in predictions:
            loss += float(self.losses(outputs, targets).sum())
            count += len(targets)
        mean = loss / max(count, 1)
        return Score(mean, -math.exp(min(mean, _LARGEST)))

    def told(self, score: Score) -> str:
        """With the bits of a token."""
        bits = score.loss / math.log(2)
        return f"{super().told(score)} ({bits:.3f} bits a {self.level})"

    def truths(self, targets: Tensor) -> list[str]:
        """The text."""
        return [self._text(row) for row in targets.tolist()]

    def said(self, outputs: Tensor) -> list[str]:
        """The likeliest token at each place, behind what is true before it."""
        return [self._text(row) for row in self._places(outputs).argmax(dim=1).tolist()]

    def _text(self, row: Sequence[int]) -> str:
        words = [self.tokens[k] for k in row]
        return repr((" " if self.level == "word" else "").join(words))

    def answers(self, outputs: Tensor, top: int) -> list[list[tuple[str, float]]]:
        """The likeliest tokens behind the last place."""
        rows = likeliest(self._softmax(outputs)[:, :, -1], self.tokens, top)
        return [[(repr(token), share) for token, share in row] for row in rows]

    def slope(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(p - e_y) / P at each place."""
        p = self._softmax(outputs)
        label = one_hot(targets, len(self.tokens)).transpose(1, 2)
        return ((p - label) / p.shape[2]).flatten(1)

    def factors(self, outputs: Tensor) -> Iterator[Factors]:
        """e_y - p at a place by weight p[y] / P, for every token y and place."""
        return place_factors(self._softmax(outputs), len(self.tokens))

    def sampled_factors(
        self, outputs: Tensor, samples: int, generator: torch.Generator
    ) -> Iterator[Factors]:
        """e_y - p at all places at once, for tokens y drawn from p."""
        p = self._softmax(outputs)
        return sampled_place_factors(p, len(self.tokens), samples, generator)

    def chance(self, targets: Tensor) -> Score:
        """The loss of equal chances for all tokens, and the score of how often each comes."""
        shares = torch.bincount(targets.flatten()).to(torch.float64) / targets.numel()
        entropy = -float((shares[shares > 0] * shares[shares > 0].log()).sum())
        return Score(math.log(len(self.tokens)), -math.exp(entropy))

    # ------------------------------------------------------------------------------- what is kept

    @classmethod
    def fits(cls, record: Mapping[str, Any], graph: Graph) -> bool:
        """As many tokens as outputs a place."""
        shape = graph.node(graph.root.outputs[0]).shape or (0,)
        return len(record.get("tokens", [])) == shape[0] and "level" in record

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> NextToken:
        """Of the vocabulary."""
        return cls(tuple(record["tokens"]), record["level"])

    def record(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"tokens": list(self.tokens), "level": self.level}

    def check_record(self, record: Mapping[str, Any], data: str) -> None:
        """Refuse another vocabulary.

        Raises:
            DiagnosticError: D506.
        """
        if record.get("tokens") != list(self.tokens):
            what = "has other tokens than the run was trained on"
            raise wrong(f"`{data}`", "D506", what, "judge it as new data: `--data`")

    def _places(self, outputs: Tensor) -> Tensor:
        """[N, V, P] of outputs [N, V P]."""
        return outputs.reshape(len(outputs), len(self.tokens), -1)

    def _softmax(self, outputs: Tensor) -> Tensor:
        return self._places(outputs.detach().to(torch.float64)).softmax(dim=1)
