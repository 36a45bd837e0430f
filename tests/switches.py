"""Switches of a graph, and gamma by the compiler's expressions, for the tests of either."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch
from attrs import frozen

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.gamma import Dependency, Gammas, evaluate_gamma

DEPENDENCIES: tuple[Dependency, ...] = ("local", "recursive")
both = pytest.mark.parametrize("dependency", DEPENDENCIES)

# Figure 1 of Zhou et al. 2019: node 1 feeds 2, which feeds 3 and 4; two candidates an edge.
FIGURE_1 = """
network net(one: [4, 8, 8]) -> (out: [8, 8, 8]) {
    node two, three, four
    one ~> two : conv(1) | conv(3)
    two ~> three : conv(1) | conv(3)
    two ~> four : conv(1) | conv(3)
    out = concat(three, four)
}
"""


@frozen
class Switches:
    """s of every gate, and of the i' node of every searched connection."""

    gates: tuple[float, ...]
    relays: dict[str, float]

    @classmethod
    def draw(cls, graph: Graph, seed: int, low: float = 0.01, high: float = 10.0) -> Switches:
        generator = random.Random(seed)
        draw = lambda: math.exp(generator.uniform(math.log(low), math.log(high)))  # noqa: E731
        return cls.make(graph, draw)

    @classmethod
    def make(cls, graph: Graph, draw: Callable[[], float]) -> Switches:
        searched = [c.id for c in graph.all_connections() if c.searched]
        return cls(tuple(draw() for _ in graph.searched()), {c: draw() for c in searched})


@frozen
class GammaValues:
    """gamma by gate, and of i' nodes by connection."""

    gates: list[float]
    relays: dict[str, float]


def evaluated(gammas: Gammas, switches: Switches) -> GammaValues:
    """The same by the compiler's expressions, in float64."""
    gates = torch.tensor(switches.gates, dtype=torch.float64)
    relays = {c: torch.tensor(s, dtype=torch.float64) for c, s in switches.relays.items()}
    result, by_connection = evaluate_gamma(gammas, gates, relays)
    return GammaValues(result.tolist(), {c: gamma.item() for c, gamma in by_connection.items()})
