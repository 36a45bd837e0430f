"""The posterior over the gates: its layout, its inference against a plain one, its state."""

from __future__ import annotations

import io
import math

import pytest
import torch
from living import packaged
from support import graph_of, network
from torch import Tensor

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.passes.gamma import derive_gamma, evaluate_gamma
from bayesnas.runtime.strategies.bayesnas.posterior import GatePosterior, Layout
from bayesnas.runtime.strategies.bayesnas.updates import ENTROPY_THRESHOLD
from bayesnas.runtime.supernet.gates import Gates

CPU = torch.device("cpu")
CELL = "motif m(a) -> (b) { a ~> b : conv(3) | relu | skip }\n"
TIED = graph_of(CELL + network("c = tied chain m(x) times 3\nc -> y"))
UNTIED = graph_of(CELL + network("c = chain m(x) times 3\nc -> y"))
SHARED = graph_of(
    network("node h\n{x, x} ~> h : conv(3) | skip\nh ~> y : conv(1) | conv(3) | skip")
)


def layout_of(graph: Graph) -> Layout:
    return Layout.of(graph, Gates.of(graph, CPU))


def start(graph: Graph) -> GatePosterior:
    return GatePosterior.start(layout_of(graph))


def drawn(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A gradient and a curvature, with eigenvalues from 5 to about 50."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, count, generator=generator, dtype=torch.float64)
    curvature = 10 * root.T @ root / count + 5 * torch.eye(count).double()
    return 3 * torch.randn(count, generator=generator, dtype=torch.float64), curvature


# -------------------------------------------------------------------------------------- layout


def test_relays_of_tied_edges_share_a_group() -> None:
    layout = layout_of(TIED)
    assert layout.relay_groups.tolist() == [0, 0, 0]
    assert layout.relay_count == 1


def test_relays_of_untied_edges_stand_alone() -> None:
    layout = layout_of(UNTIED)
    assert layout.relay_groups.tolist() == [0, 1, 2]
    assert layout.relay_count == 3


@pytest.mark.parametrize("name", ["digits_cell", "dense_motif"])
def test_the_layout_is_that_of_the_graph(name: str) -> None:
    graph = packaged(name).graph
    layout = layout_of(graph)
    searched = graph.searched()
    assert sorted(int(g) for gates in layout.edge_gates for g in gates) == list(
        range(len(searched))
    )
    for connection, gates in zip(layout.connections, layout.edge_gates, strict=True):
        assert [e.searched_gate.number for e in connection.edges] == gates.tolist()
    for one in searched:
        for other in searched:
            first, second = one.searched_gate.number, other.searched_gate.number
            same = layout.targets[first] == layout.targets[second]
            assert bool(same) == (one.target == other.target)


# -------------------------------------------------------------------------------------- gates


def test_everything_starts_at_one() -> None:
    posterior = start(TIED)
    assert posterior.gates().tolist() == [1.0] * 9
    assert posterior.gates().dtype == torch.float32
    for column in (posterior.gamma, posterior.omega, posterior.w, posterior.s):
        assert column.tolist() == [1.0] * 9
        assert column.dtype == torch.float64


def test_removed_gates_are_zero() -> None:
    posterior = start(TIED)
    posterior.remove([1, 4, 7])
    assert posterior.gates().tolist() == [1, 0, 1] * 3
    assert posterior.alive.tolist() == [True, False, True] * 3


def test_the_gauge_is_a_mean_of_one_at_every_node() -> None:
    posterior = start(SHARED)
    posterior.w = torch.tensor([2.0, -1, 0.5, 4, 0.1, 0.2, -0.3], dtype=torch.float64)
    posterior.remove([3])
    before = posterior.w.clone()
    posterior.fix_gauge()
    into_h, into_y = posterior.w[[0, 1, 2]], posterior.w[4:]
    assert float(into_h.abs().mean()) == pytest.approx(1)
    assert float(into_y.abs().mean()) == pytest.approx(1)
    assert posterior.w.sign().tolist() == before.sign().tolist()
    assert (into_h / before[:3]).tolist() == pytest.approx([3 / 3.5] * 3)
    again = posterior.w.clone()
    posterior.fix_gauge()
    torch.testing.assert_close(posterior.w, again)


def test_the_gauge_of_a_node_without_gates_is_left_alone() -> None:
    posterior = start(SHARED)
    posterior.remove(range(7))
    posterior.w = posterior.w * 3
    posterior.fix_gauge()
    assert torch.isfinite(posterior.w).all()
    assert posterior.gates().tolist() == [0] * 7


# -------------------------------------------------------------------------------------- removals


@pytest.mark.parametrize("graph", [TIED, UNTIED], ids=["tied", "untied"])
def test_saliencies(graph: Graph) -> None:
    """-g w + w^2 H / 2 summed over a group, by plain numbers; nothing of what is removed."""
    posterior = start(graph)
    gradient, curvature = drawn(9)
    posterior.w = torch.linspace(-1, 2, 9, dtype=torch.float64)
    posterior.remove([4])
    by_group: dict[str, float] = {}
    for edge in graph.searched():
        k = edge.searched_gate.number
        w = 0.0 if k == 4 else float(posterior.w[k])
        change = -float(gradient[k]) * w + w * w * float(curvature[k, k]) / 2
        by_group[edge.searched_gate.group] = by_group.get(edge.searched_gate.group, 0.0) + change
    found = posterior.saliencies(gradient, curvature)
    expected = [by_group[edge.searched_gate.group] for edge in graph.searched()]
    assert found.tolist() == pytest.approx(expected)


# -------------------------------------------------------------------------------------- inference


class Plain:
    """Inference as docs/algorithm.md says it, gate by gate in plain numbers."""

    def __init__(self, graph: Graph, w: Tensor, alive: list[bool]) -> None:
        self.graph = graph
        self.count = len(graph.searched())
        self.edges = {e.searched_gate.number: e for e in graph.searched()}
        self.w = [float(x) if a else 0.0 for x, a in zip(w, alive, strict=True)]
        self.alive = alive
        self.gamma = [1.0 if a else 0.0 for a in alive]
        self.members: dict[str, list[int]] = {}
        for edge in graph.searched():
            gate = edge.searched_gate
            self.members.setdefault(gate.group, []).append(gate.number)
        self.connections = [c for c in graph.all_connections() if c.searched]
        self.relay_gamma = {c.id: 1.0 for c in self.connections}

    def stiffened(self, H: Tensor) -> Tensor:
        """The common scale of the gates into a node is held, twice as stiff as they are in all."""
        nodes: dict[str, list[int]] = {}
        for k, edge in self.edges.items():
            assert k is not None
            if self.alive[k] and self.w[k]:
                nodes.setdefault(edge.target, []).append(k)
        own = {n: sum(float(H[k, k]) for k in ks) for n, ks in nodes.items()}
        result = H.clone()
        for node, ks in nodes.items():
            norm = math.sqrt(sum(self.w[k] ** 2 for k in ks))
            stiffness = 2 * max(own[node], sum(own.values()) / len(own))
            for i in ks:
                for j in ks:
                    result[i, j] += stiffness * self.w[i] * self.w[j] / norm**2
        return result

    def infer(self, gradient: Tensor, curvature: Tensor, rounds: int = 50) -> None:
        H = self.stiffened(curvature)
        masked = torch.tensor([float(a) for a in self.alive], dtype=torch.float64) * gradient
        w0 = torch.tensor(self.w, dtype=torch.float64)
        expressions = derive_gamma(self.graph, "local")
        for _ in range(rounds):
            before = list(self.gamma)
            variance = self.variance(H)
            omega = {
                name: math.sqrt(
                    sum(max(0.0, 1 / g - variance[k] / g**2) for k in ks if (g := self.gamma[k]))
                )
                if all(self.gamma[k] for k in ks)
                else math.inf
                for name, ks in self.members.items()
            }
            solved = self.solve(masked, H, w0, omega)
            norms = {
                n: math.sqrt(sum(solved[k] ** 2 for k in ks)) for n, ks in self.members.items()
            }
            s = {n: norm / max(omega[n], 1e-300) for n, norm in norms.items()}
            relay_s = self.relays(H, solved)
            values = [max(s[self.edges[k].searched_gate.group], 1e-12) for k in range(self.count)]
            found, relay_found = evaluate_gamma(
                expressions,
                torch.tensor(values, dtype=torch.float64),
                {n: torch.tensor(v, dtype=torch.float64) for n, v in relay_s.items()},
            )
            for ks in self.members.values():
                most = max(float(found[k]) for k in ks)
                for k in ks:
                    self.gamma[k] = most if self.alive[k] else 0.0
            self.relay_gamma = {n: float(v) for n, v in relay_found.items()}
            self.solved, self.s = solved, s
            if max(abs(a - b) for a, b in zip(before, self.gamma, strict=True)) < 1e-3:
                break

    def variance(self, H: Tensor) -> list[float]:
        kept = [k for k in range(self.count) if self.gamma[k] > 1e-200]
        inverse_gamma = torch.diag(torch.tensor([1 / self.gamma[k] for k in kept]).double())
        C = torch.linalg.inv(inverse_gamma + H[kept][:, kept])
        result = [0.0] * self.count
        for position, k in enumerate(kept):
            result[k] = float(C[position, position])
        return result

    def solve(self, g: Tensor, H: Tensor, w0: Tensor, omega: dict[str, float]) -> list[float]:
        """(16) on the quadratic model by many small proximal gradient steps."""
        step = 1 / float(torch.linalg.eigvalsh(H).max())
        w, before = w0.clone(), w0 + 1
        while float((w - before).abs().max()) > 1e-9:
            before = w
            w = w - step * (g + H @ (w - w0))
            keep = torch.ones_like(w)
            for name, ks in self.members.items():
                norm = math.hypot(*w[ks].tolist())
                keep[ks] = max(0.0, 1 - step * omega[name] / norm) if norm else 0.0
            w = w * keep
        return [float(x) if a else 0.0 for x, a in zip(w, self.alive, strict=True)]

    def relays(self, H: Tensor, w: list[float]) -> dict[str, float]:
        """Switches of the i' nodes: weight 1, curvature w_e^T H_ee w_e, tied like their edges."""
        groups: dict[frozenset[str], list[str]] = {}
        curvature = {}
        for c in self.connections:
            ks = [e.searched_gate.number for e in c.edges]
            curvature[c.id] = sum(w[i] * float(H[i, j]) * w[j] for i in ks for j in ks)
            groups.setdefault(frozenset(e.searched_gate.group for e in c.edges), []).append(c.id)
        result = {}
        for names in groups.values():
            total = 0.0
            for name in names:
                gamma = self.relay_gamma[name]
                C = 1 / (1 / gamma + curvature[name])
                total += 1 / gamma - C / gamma**2
            for name in names:
                omega = math.sqrt(max(total, 0.0))
                result[name] = max(math.sqrt(len(names)) / omega if omega else 1e300, 1e-12)
        return result


@pytest.mark.parametrize("removed", [[], [1, 4, 7]], ids=["all alive", "one group gone"])
@pytest.mark.parametrize("graph", [TIED, UNTIED], ids=["tied", "untied"])
def test_inference_is_the_plain_one(graph: Graph, removed: list[int]) -> None:
    posterior = start(graph)
    posterior.remove(removed)
    posterior.w = torch.linspace(0.5, 1.5, 9, dtype=torch.float64)
    gradient, curvature = drawn(9)
    plain = Plain(graph, posterior.w, posterior.alive.tolist())
    plain.infer(gradient, curvature)
    posterior.infer(gradient, curvature, derive_gamma(graph, "local"))
    assert posterior.solved.tolist() == pytest.approx(plain.solved, rel=1e-2, abs=1e-3)
    assert posterior.gamma.tolist() == pytest.approx(plain.gamma, rel=2e-2, abs=2e-3)


def test_what_the_data_need_stays() -> None:
    """Gates into one node, their balance given by the data: all of them stay."""
    graph = graph_of(network("x ~> y : conv(3) | conv(1) | skip"))
    posterior = start(graph)
    balance = torch.tensor([2.0, -1, -1], dtype=torch.float64)
    curvature = 400 * torch.outer(balance, balance)
    posterior.infer(0 * balance, curvature, derive_gamma(graph, "local"))
    assert (posterior.gamma > ENTROPY_THRESHOLD).all()
    rows = posterior.rows()
    assert [row["gamma"] for row in rows] == posterior.gamma.tolist()
    assert all(math.isfinite(value) for row in rows for value in row.values())


@pytest.mark.xfail(
    strict=True, reason="the gauge lets a gate without curvature displace the others"
)
def test_what_the_data_do_not_need_goes() -> None:
    """The balance of the first two matters, the third says nothing: it goes, and they stay."""
    graph = graph_of(network("x ~> y : conv(3) | conv(1) | skip"))
    posterior = start(graph)
    balance = torch.tensor([1.0, -1, 0], dtype=torch.float64)
    curvature = 400 * torch.outer(balance, balance)
    posterior.infer(0 * balance, curvature, derive_gamma(graph, "local"))
    first, second, third = posterior.gamma.tolist()
    assert third < ENTROPY_THRESHOLD < min(first, second)


def test_less_data_never_keep_more() -> None:
    """A larger lambda_w is a smaller H / lambda_w; what is left shrinks to nothing with it."""
    graph = graph_of(network("x ~> y : conv(3) | conv(1) | skip"))
    gradient, curvature = drawn(3)
    counts = []
    for scale in (1e4, 1, 1e-2, 1e-4, 1e-8):  # below, a float64 C equals gamma
        posterior = start(graph)
        posterior.infer(scale * gradient, scale * curvature, derive_gamma(graph, "local"))
        counts.append(int((posterior.gamma > ENTROPY_THRESHOLD).sum()))
    assert counts[0] == 3
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_tied_gates_get_one_gamma() -> None:
    for dependency in ("local", "recursive"):
        posterior = start(TIED)
        gradient, curvature = drawn(9)
        posterior.infer(gradient, curvature, derive_gamma(TIED, dependency))
        first, second, third = posterior.gamma.view(3, 3)
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        torch.testing.assert_close(second, third, rtol=0, atol=0)


def test_a_removed_gate_keeps_its_last_report() -> None:
    posterior = start(UNTIED)
    gradient, curvature = drawn(9)
    gammas = derive_gamma(UNTIED, "local")
    posterior.infer(gradient, curvature, gammas)
    before = posterior.rows()[4]
    posterior.remove([4])
    posterior.infer(gradient, 2 * curvature, gammas)
    assert posterior.rows()[4] == before
    assert float(posterior.gamma[4]) == 0
    assert float(posterior.solved[4]) == 0


def test_no_report_before_the_first_inference() -> None:
    assert start(TIED).rows() == [{}] * 9


# -------------------------------------------------------------------------------------- state


def test_the_state_comes_back_through_a_file() -> None:
    graph = SHARED
    posterior = start(graph)
    gradient, curvature = drawn(7)
    gammas = derive_gamma(graph, "local")
    posterior.infer(gradient, curvature, gammas)
    posterior.remove([2])
    posterior.fix_gauge()
    buffer = io.BytesIO()
    torch.save(posterior.state(), buffer)
    buffer.seek(0)
    other = start(graph)
    other.restore(torch.load(buffer, weights_only=True))
    assert other.rows() == posterior.rows()
    torch.testing.assert_close(other.gates(), posterior.gates(), rtol=0, atol=0)
    for one in (posterior, other):
        one.infer(-gradient, 2 * curvature, gammas)
    assert other.rows() == posterior.rows()
    torch.testing.assert_close(other.gamma, posterior.gamma, rtol=0, atol=0)
