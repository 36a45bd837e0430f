"""The exact GGN of the gates against a naive one: example by example, with autograd's Jacobian."""

from __future__ import annotations

import pytest
import torch
from living import with_known_weights
from support import graph_of
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.nn.functional import cross_entropy

from bayesnas.compiler.graph import Graph
from bayesnas.runtime.curvature import ggn, jacobians
from bayesnas.runtime.modules import build

CLASSES = 3
HEAD = f"network net(x: [1, 6, 6]) -> (y: [{CLASSES}]) {{\n"
TAIL = f"\nlast -> y : global_avg_pool >> linear({CLASSES})\n}}"


def classifier(body: str, definitions: str = "") -> Graph:
    return graph_of(f"{definitions}\n{HEAD}stem = x : conv(3, 2) >> bn\n{body}{TAIL}")


SUPERNETS = {
    "sum": "node last\n{stem, stem} ~> last : conv(3) >> bn | max_pool(3) | skip",
    "concat": "last = concat()\n{stem, stem} ~> last : conv(3) >> relu | avg_pool(3)",
    "product": "last = product(stem)\n{stem, stem} ~> last : conv(3) >> sigmoid | sigmoid",
    "several levels": """node h[2], last
        stem ~> h[0] : conv(3) >> bn | tanh
        {stem, h[0]} ~> h[1] : conv(1) >> relu | skip
        last = concat(h[1], h[0])""".replace(", last\n", "\n"),
    "one gate": "node last\nstem ~> last : conv(3) >> tanh",
}
TIED = "motif m(a) -> (b) { a ~> b : conv(3) >> bn | relu | skip }"
SUPERNETS["tied"] = "c = tied chain m(stem) times 2\nlast = c : relu"


def supernet(name: str) -> tuple[nn.Module, Tensor]:
    graph = classifier(SUPERNETS[name], TIED)
    module, emitted = build(graph, "spec.nas", seed=0)
    with_known_weights(module)
    return module, torch.linspace(0.4, 1.3, len(emitted.gates), dtype=torch.float64)


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 1, 6, 6, generator=generator, dtype=torch.float64),
            torch.randint(0, CLASSES, (size,), generator=generator),
        )
        for size in sizes
    ]


def naive_jacobian(module: nn.Module, image: Tensor, gates: Tensor) -> Tensor:
    found = jacobian(lambda g: module(image[None], g)[0], gates)
    assert isinstance(found, Tensor)
    return found


def naive_ggn(module: nn.Module, images: Tensor, gates: Tensor) -> Tensor:
    """sum_n J_n^T (diag p_n - p_n p_n^T) J_n / N, as it is written."""
    total = torch.zeros(len(gates), len(gates), dtype=torch.float64)
    for image in images:
        J = naive_jacobian(module, image, gates)
        p = module(image[None], gates)[0].softmax(dim=0).detach()
        total += J.T @ (torch.diag(p) - torch.outer(p, p)) @ J
    return total / len(images)


@pytest.mark.parametrize("name", SUPERNETS)
def test_jacobians_are_those_of_autograd(name: str) -> None:
    module, gates = supernet(name)
    [(images, _)] = batches(4)
    found, logits = jacobians(module, images, gates)
    expected = torch.stack([naive_jacobian(module, image, gates) for image in images])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(logits, module(images, gates).detach())


@pytest.mark.parametrize("name", SUPERNETS)
def test_ggn_is_the_naive_one(name: str) -> None:
    module, gates = supernet(name)
    [(images, labels)] = batches(5)
    found = ggn(module, [(images, labels)], gates)
    torch.testing.assert_close(found, naive_ggn(module, images, gates), rtol=1e-9, atol=1e-12)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, found.T, rtol=0, atol=0)
    assert torch.linalg.eigvalsh(found).min() > -1e-12


def test_ggn_is_a_mean_over_all_examples() -> None:
    """However the examples are dealt into batches, of whatever sizes; labels say nothing."""
    module, gates = supernet("several levels")
    parts = batches(3, 1, 4)
    whole = torch.cat([images for images, _ in parts])
    expected = naive_ggn(module, whole, gates)
    torch.testing.assert_close(ggn(module, parts, gates), expected, rtol=1e-9, atol=1e-12)
    relabelled = [(images, 0 * labels) for images, labels in parts]
    torch.testing.assert_close(ggn(module, relabelled, gates), expected, rtol=1e-9, atol=1e-12)


LINEAR = "node last\n{stem, stem} ~> last : conv(3) >> bn | max_pool(3) >> relu | skip"


def test_ggn_of_a_network_linear_in_its_gates_is_the_hessian() -> None:
    """Nothing after the gates bends: the GGN is exact, for whatever labels."""
    module, emitted = build(classifier(LINEAR), "spec.nas", seed=0)
    with_known_weights(module)
    gates = torch.linspace(-0.5, 1.5, len(emitted.gates), dtype=torch.float64)
    [(images, labels)] = batches(6)
    expected = hessian(lambda g: cross_entropy(module(images, g), labels), gates)
    found = ggn(module, [(images, labels)], gates)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_ggn_is_not_the_hessian_where_a_gate_bends() -> None:
    """So that the test above would notice a GGN that is none."""
    module, gates = supernet("several levels")
    [(images, labels)] = batches(6)
    exact = hessian(lambda g: cross_entropy(module(images, g), labels), gates)
    assert not torch.allclose(ggn(module, [(images, labels)], gates), torch.as_tensor(exact))


def test_a_pruned_gate_has_no_curvature() -> None:
    module, gates = supernet("sum")
    edge = module.get_submodule("last_from_stem")
    edge.pruned.add("skip")
    found = ggn(module, batches(3), gates)
    position = list(edge.candidates).index("skip")
    assert (found[position] == 0).all()
    assert (found[:, position] == 0).all()


def test_jacobians_need_evaluation_mode() -> None:
    """Batch normalisation in training mode mixes examples."""
    module, gates = supernet("sum")
    module.train()
    with pytest.raises(ValueError, match="evaluation mode"):
        jacobians(module, batches(2)[0][0], gates)


@pytest.mark.parametrize("training", [True, False])
def test_ggn_leaves_the_module_as_it_was(training: bool) -> None:
    module, gates = supernet("sum")
    module.train(training)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    gates.requires_grad_()
    found = ggn(module, batches(3), gates)
    assert all(inner.training == training for inner in module.modules())
    assert not found.requires_grad
    assert gates.grad is None
    assert all(p.grad is None for p in module.parameters())
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    module.eval()
    torch.testing.assert_close(found, ggn(module, batches(3), gates), rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_ggn_on_a_gpu() -> None:
    module, gates = supernet("several levels")
    parts = batches(3, 4)
    expected = ggn(module, parts, gates)
    moved = [(images.cuda(), labels.cuda()) for images, labels in parts]
    found = ggn(module.cuda(), moved, gates.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-6, atol=1e-9)
