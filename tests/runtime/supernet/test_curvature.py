"""Curvature of the gates against naive ones: example by example, with autograd's own functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

import pytest
import torch
from living import with_known_weights
from support import graph_of
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.nn.functional import cross_entropy, log_softmax, one_hot

from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.supernet.curvature import (
    ESTIMATORS,
    fisher,
    fisher_monte_carlo,
    ggn,
    gradient,
    hessian,
)
from bayesnas.runtime.tasks import classification
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.parts import Factors

CLASSES = 3
TASK = Classification(tuple("abc"))
HEAD = f"network net(x: [1, 6, 6]) -> (y: [{CLASSES}]) {{\nstem = x : conv(3, 2) >> bn\n"
TAIL = f"\nlast -> y : global_avg_pool >> linear({CLASSES})\n}}"
VECTOR_TAIL = f"\nlast -> y : linear({CLASSES})\n}}"
DEFINITIONS = "motif m(a) -> (b) { a ~> b : conv(3) >> bn | relu | skip }"


def spec(body: str, tail: str = TAIL) -> str:
    return f"{DEFINITIONS}\n{HEAD}{body}{tail}"


SPECS = {
    "sum": spec("node last\n{stem, stem} ~> last : conv(3) >> bn | max_pool(3) | skip"),
    "concat": spec("last = concat()\n{stem, stem} ~> last : conv(3) >> relu | avg_pool(3)"),
    "product": spec("last = product(stem)\n{stem, stem} ~> last : conv(3) >> sigmoid | sigmoid"),
    "several levels": spec("""node h[2]
        stem ~> h[0] : conv(3) >> bn | tanh
        {stem, h[0]} ~> h[1] : conv(1) >> relu | skip
        last = concat(h[1], h[0])"""),
    "one gate": spec("node last\nstem ~> last : conv(3) >> tanh"),
    "tied": spec("c = tied chain m(stem) times 2\nlast = c : tanh"),
    "maps": spec("""node h, last
        stem ~> h : depthwise_conv(3) >> bn(affine = 0) | depthwise_conv(3, dilation = 2) | skip
        h ~> last : conv(1, 4) >> bn | pad_channels(4)"""),
    "resolutions": spec("""node h, last
        stem ~> h : conv(3, 2, 2) | factorized_reduce >> bn | max_pool(3, 2) | avg_pool(3, 2)
        h ~> last : upsample(2) | conv(1) >> upsample(2)"""),
    "activations": spec("""node h, last
        stem ~> h : relu | relu6 | leaky_relu | silu | hard_swish
        h ~> last : gelu | tanh | sigmoid | dropout(50)"""),
    "vectors": spec(
        """flat = stem : flatten
        node h, last
        flat ~> h : linear(4) >> relu | linear(4) >> bn
        h ~> last : linear(4, bias = 0) | skip""",
        VECTOR_TAIL,
    ),
    "linear in the gates": spec(
        "node last\n{stem, stem} ~> last : conv(3) >> bn | max_pool(3) >> relu | skip"
    ),
}
names = pytest.mark.parametrize("name", SPECS)
estimators = pytest.mark.parametrize("estimator", ESTIMATORS)

Data = list[tuple[Tensor, Tensor]]


@cache
def graph(name: str) -> Graph:
    return graph_of(SPECS[name])


def supernet(name: str) -> tuple[nn.Module, Tensor]:
    module, emitted = build(graph(name), "spec.nas", seed=0)
    with_known_weights(module)
    return module, torch.linspace(0.4, 1.3, len(emitted.gates), dtype=torch.float64)


def batches(*sizes: int) -> Data:
    """Examples that differ in brightness, so that predictions do after a global pool."""
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.float64}
    return [
        (
            torch.randn(size, 1, 6, 6, **options) + 3 * torch.randn(size, 1, 1, 1, **options),
            torch.randint(0, CLASSES, (size,), generator=generator),
        )
        for size in sizes
    ]


def estimated(estimator: str, module: nn.Module, data: Data, gates: Tensor) -> Tensor:
    return ESTIMATORS[estimator](module, TASK, data, gates, torch.Generator().manual_seed(2))


def factors(outputs: Tensor, labels: Tensor, weights: Tensor) -> Factors:
    """e_y - p by weight, for labels y [N, K] of the examples."""
    p = outputs.softmax(dim=1)
    return Factors(weights, one_hot(labels, CLASSES) - p[:, None])


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------ naive references


def naive_jacobian(module: nn.Module, image: Tensor, gates: Tensor) -> Tensor:
    found = jacobian(lambda g: module(image[None], g)[0], gates)
    assert isinstance(found, Tensor)
    return found


def naive_gradient(module: nn.Module, image: Tensor, label: int, gates: Tensor) -> Tensor:
    """Of one example's negative log-likelihood, for that label."""
    found = jacobian(lambda g: -log_softmax(module(image[None], g)[0], dim=0)[label], gates)
    assert isinstance(found, Tensor)
    return found


def probabilities(module: nn.Module, image: Tensor, gates: Tensor) -> Tensor:
    result: Tensor = module(image[None], gates)[0].softmax(dim=0).detach()
    return result


def naive_ggn(module: nn.Module, data: Data, gates: Tensor) -> Tensor:
    """1/N sum_n J_n^T (diag p_n - p_n p_n^T) J_n, as it is written."""
    images = torch.cat([images for images, _ in data])
    total = torch.zeros(len(gates), len(gates), dtype=torch.float64)
    for image in images:
        J = naive_jacobian(module, image, gates)
        p = probabilities(module, image, gates)
        total += J.T @ (torch.diag(p) - torch.outer(p, p)) @ J
    return total / len(images)


def naive_fisher_empirical(module: nn.Module, data: Data, gates: Tensor) -> Tensor:
    rows = [
        naive_gradient(module, image, label, gates)
        for images, labels in data
        for image, label in zip(images, labels.tolist(), strict=True)
    ]
    return torch.stack([torch.outer(g, g) for g in rows]).mean(dim=0)


def mean_loss(module: nn.Module, data: Data, gates: Tensor) -> Tensor:
    images, labels = (torch.cat(parts) for parts in zip(*data, strict=True))
    return cross_entropy(module(images, gates), labels)


def naive_hessian(module: nn.Module, data: Data, gates: Tensor) -> Tensor:
    found = torch.autograd.functional.hessian(lambda g: mean_loss(module, data, g), gates)
    assert isinstance(found, Tensor)
    return found


def naive_mean_gradient(module: nn.Module, data: Data, gates: Tensor) -> Tensor:
    found = jacobian(lambda g: mean_loss(module, data, g), gates)
    assert isinstance(found, Tensor)
    return found


NAIVE: dict[str, Callable[[nn.Module, Data, Tensor], Tensor]] = {
    "ggn": naive_ggn,
    "ggn_diagonal": lambda module, data, gates: naive_ggn(module, data, gates).diagonal(),
    "fisher_empirical": naive_fisher_empirical,
    "hessian": naive_hessian,
}


# ------------------------------------------------------------------------------ right


@pytest.mark.parametrize("estimator", NAIVE)
@names
def test_an_estimator_is_the_naive_one(name: str, estimator: str) -> None:
    module, gates = supernet(name)
    data = batches(3, 2)
    close(estimated(estimator, module, data, gates), NAIVE[estimator](module, data, gates))


@names
def test_the_gradient_is_that_of_autograd(name: str) -> None:
    module, gates = supernet(name)
    data = batches(3, 2)
    close(gradient(module, TASK, data, gates), naive_mean_gradient(module, data, gates))


@names
def test_fisher_of_chosen_labels_is_the_sum_of_their_outer_products(name: str) -> None:
    """Two labels of each example, of weights 2 and 1/2."""
    module, gates = supernet(name)
    [(images, labels)] = batches(3)
    chosen = torch.stack([labels, (labels + 1) % CLASSES], dim=1)
    weights = torch.tensor([2.0, 0.5], dtype=torch.float64).expand(3, 2)
    found = fisher(module, [(images, labels)], gates, lambda z, _: [factors(z, chosen, weights)])
    expected = torch.zeros_like(found)
    for image, pair in zip(images, chosen.tolist(), strict=True):
        for label, weight in zip(pair, (2.0, 0.5), strict=True):
            g = naive_gradient(module, image, label, gates)
            expected += weight * torch.outer(g, g) / 3
    close(found, expected)


@names
def test_the_expectation_over_labels_is_the_ggn(name: str) -> None:
    """All labels, in any order, weighted by their probabilities."""
    module, gates = supernet(name)
    data = batches(4)

    def backwards(outputs: Tensor, _: Tensor) -> list[Factors]:
        p = outputs.softmax(dim=1)
        return [factors(outputs, torch.arange(CLASSES).flip(0).expand(len(p), -1), p.flip(1))]

    close(fisher(module, data, gates, backwards), naive_ggn(module, data, gates))


def test_monte_carlo_comes_to_the_ggn() -> None:
    module, gates = supernet("several levels")
    data, generator = batches(4), torch.Generator().manual_seed(0)
    exact = ggn(module, TASK, data, gates)
    errors = [
        float(
            (fisher_monte_carlo(module, TASK, data, gates, generator, n) - exact).norm()
            / exact.norm()
        )
        for n in (1, 16, 4096)
    ]
    assert all(after < before for before, after in pairwise(errors)), errors
    assert errors[-1] < 0.05


def test_monte_carlo_draws_labels_as_often_as_they_are_probable() -> None:
    """Of one example, each label's share of the draws: its own outer product tells them apart."""
    module, gates = supernet("several levels")
    [(images, labels)] = batches(1)
    n = 4096
    found = fisher_monte_carlo(
        module, TASK, [(images, labels)], gates, torch.Generator().manual_seed(0), n
    )
    outer = [
        torch.outer(g, g).flatten()
        for g in (naive_gradient(module, images[0], y, gates) for y in range(CLASSES))
    ]
    shares = torch.linalg.lstsq(torch.stack(outer, dim=1), found.flatten()).solution
    p = probabilities(module, images[0], gates)
    close(shares * n, (shares * n).round())  # counts
    assert ((shares - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


@estimators
def test_where_nothing_bends_after_the_gates_the_ggn_is_the_hessian(estimator: str) -> None:
    """For whatever labels; nothing else is, and it is so nowhere else."""
    data = batches(6)
    module, gates = supernet("linear in the gates")
    exact = hessian(module, TASK, data, gates)
    found = estimated(estimator, module, data, gates)
    if estimator == "ggn_diagonal":
        close(found, exact.diagonal())
    else:
        assert torch.allclose(found, exact) == (estimator in ("ggn", "hessian"))
    module, gates = supernet("several levels")
    assert not torch.allclose(ggn(module, TASK, data, gates), hessian(module, TASK, data, gates))


# ------------------------------------------------------------------------------ laws


@estimators
def test_how_examples_are_dealt_into_batches_changes_nothing(estimator: str) -> None:
    """Nor does, for Monte-Carlo, which label belongs to which example."""
    module, gates = supernet("several levels")
    parts = batches(3, 1, 4)
    whole = [tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))]
    close(estimated(estimator, module, parts, gates), estimated(estimator, module, whole, gates))


@pytest.mark.parametrize("estimator", ["ggn", "ggn_diagonal", "fisher_monte_carlo"])
def test_labels_of_the_data_say_nothing(estimator: str) -> None:
    module, gates = supernet("several levels")
    data = batches(3, 2)
    relabelled = [(images, 0 * labels) for images, labels in data]
    close(
        estimated(estimator, module, data, gates), estimated(estimator, module, relabelled, gates)
    )


@estimators
@names
def test_matrices_are_symmetric_and_squares_semidefinite(name: str, estimator: str) -> None:
    module, gates = supernet(name)
    found = estimated(estimator, module, batches(5), gates)
    if estimator == "ggn_diagonal":
        assert found.shape == gates.shape
        assert (found >= 0).all()
    else:
        assert found.shape == (len(gates), len(gates))
        torch.testing.assert_close(found, found.T, rtol=0, atol=0)
        assert estimator == "hessian" or torch.linalg.eigvalsh(found).min() > -1e-12


@pytest.mark.parametrize("at_once", [1, 2])
@estimators
def test_labels_of_one_backward_pass(
    estimator: str, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many it takes at once."""
    module, gates = supernet("sum")
    expected = estimated(estimator, module, batches(4), gates)
    monkeypatch.setattr(classification, "AT_ONCE", at_once)
    close(estimated(estimator, module, batches(4), gates), expected)


def test_draws_are_those_of_the_generator() -> None:
    module, gates = supernet("several levels")
    first, again, other = (
        fisher_monte_carlo(module, TASK, batches(8), gates, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("samples", [0, -1])
def test_monte_carlo_needs_a_sample(samples: int) -> None:
    module, gates = supernet("sum")
    with pytest.raises(ValueError, match=f"1 or more samples, not {samples}"):
        fisher_monte_carlo(module, TASK, batches(2), gates, torch.Generator(), samples)


@estimators
def test_no_examples_no_curvature(estimator: str) -> None:
    module, gates = supernet("sum")
    found = estimated(estimator, module, [], gates)
    assert found.shape == estimated(estimator, module, batches(2), gates).shape
    assert (found == 0).all()


# ------------------------------------------------------------------------------ gates out of use


@pytest.mark.parametrize("estimator", NAIVE)
@names
def test_gates_of_zero_are_gates(name: str, estimator: str) -> None:
    """Their operations do nothing, but would. So are negative ones."""
    module, gates = supernet(name)
    gates[::2] = 0
    gates[1::4] *= -1
    data = batches(3)
    close(estimated(estimator, module, data, gates), NAIVE[estimator](module, data, gates))


@estimators
def test_a_pruned_operation_has_no_curvature(estimator: str) -> None:
    module, gates = supernet("sum")
    edge = module.get_submodule("last_from_stem")
    edge.pruned.add("skip")  # type: ignore[operator, union-attr]
    position = list(edge.candidates).index("skip")  # type: ignore[arg-type]
    found = estimated(estimator, module, batches(3), gates)
    assert (found[position] == 0).all()
    assert (found[..., position] == 0).all()
    assert (found != 0).any()
    assert gradient(module, TASK, batches(3), gates)[position] == 0


@estimators
def test_a_network_of_pruned_operations_alone_has_no_curvature(estimator: str) -> None:
    module, gates = supernet("one gate")
    edge = module.get_submodule("last_from_stem")
    edge.pruned.update(edge.candidates)  # type: ignore[operator, union-attr, arg-type]
    assert (estimated(estimator, module, batches(3), gates) == 0).all()
    assert (gradient(module, TASK, batches(3), gates) == 0).all()


# ------------------------------------------------------------------------------ numbers


@estimators
def test_single_precision_gives_doubles_near_those_of_double(estimator: str) -> None:
    module, gates = supernet("several levels")
    expected = estimated(estimator, module, batches(4), gates)
    narrow = [(images.float(), labels) for images, labels in batches(4)]
    found = estimated(estimator, module.float(), narrow, gates.float())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@estimators
def test_certainty_is_no_trouble(estimator: str) -> None:
    """Probabilities of 0 and 1, in single precision."""
    module, gates = supernet("sum")
    with torch.no_grad():
        for parameter in list(module.parameters())[-2:]:  # the classifier's
            parameter.mul_(1e6)
    narrow = [(images.float(), labels) for images, labels in batches(4)]
    found = estimated(estimator, module.float(), narrow, gates.float())
    assert found.isfinite().all()
    if estimator != "fisher_empirical":  # wrong labels count
        assert found.abs().max() < 1e-6


# ------------------------------------------------------------------------------ left as it was


CALLS: dict[str, Callable[[nn.Module, Data, Tensor], object]] = {
    name: lambda module, data, gates, name=name: estimated(name, module, data, gates)  # type: ignore[misc]
    for name in ESTIMATORS
} | {"gradient": lambda module, data, gates: gradient(module, TASK, data, gates)}
calls = pytest.mark.parametrize("call", CALLS)


def mixed(module: nn.Module, training: bool) -> None:
    """Some of it in the other mode, some of its parameters frozen."""
    module.train(training)
    list(module.modules())[-1].train(not training)
    for parameter in list(module.parameters())[::2]:
        parameter.requires_grad_(False)


def state(module: nn.Module) -> list[object]:
    modes = [inner.training for inner in module.modules()]
    flags = [(p.requires_grad, p.grad) for p in module.parameters()]
    return [modes, flags, [tensor.tolist() for tensor in module.state_dict().values()]]


@pytest.mark.parametrize("training", [True, False])
@calls
def test_the_module_is_left_as_it_was(call: str, training: bool) -> None:
    module, gates = supernet("sum")
    plain = CALLS[call](module, batches(3), gates)
    mixed(module, training)
    gates.requires_grad_()
    before = state(module)
    with torch.no_grad():  # of the caller's, no hindrance
        found = CALLS[call](module, batches(3), gates)
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    assert state(module) == before
    assert gates.grad is None
    results = found if isinstance(found, tuple) else (found,)
    assert not any(result.requires_grad for result in results)


@calls
def test_the_module_is_left_as_it_was_by_an_error(call: str) -> None:
    def broken() -> Iterator[tuple[Tensor, Tensor]]:
        yield batches(2)[0]
        raise KeyError("the data")

    module, gates = supernet("sum")
    mixed(module, training=True)
    before = state(module)
    with pytest.raises(KeyError, match="the data"):
        CALLS[call](module, broken(), gates)  # type: ignore[arg-type]
    assert state(module) == before
    with pytest.raises(RuntimeError):  # two channels, not one
        CALLS[call](module, [(torch.zeros(1, 2, 6, 6).double(), torch.zeros(1).long())], gates)
    assert state(module) == before


@calls
def test_weights_take_no_part(call: str) -> None:
    """Evaluation mode and no gradient of any weight, at every call of the module."""
    module, gates = supernet("sum")
    module.train()
    seen = []

    def look(module: nn.Module, _: object) -> None:
        seen.append(module.training or any(p.requires_grad for p in module.parameters()))

    module.register_forward_pre_hook(look)
    CALLS[call](module, batches(2, 1), gates)
    assert seen == [False, False]


# ------------------------------------------------------------------------------ on a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@estimators
def test_on_a_gpu(estimator: str) -> None:
    module, gates = supernet("several levels")
    parts = batches(3, 4)
    expected = estimated(estimator, module, parts, gates)
    moved = [(images.cuda(), labels.cuda()) for images, labels in parts]
    found = estimated(estimator, module.cuda(), moved, gates.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("estimator", ["ggn", "ggn_diagonal", "fisher_empirical", "hessian"])
def test_an_example_of_weight_3_counts_as_three(estimator: str) -> None:
    """With the weights 2/3 and 2, those of the rare class come three times as often."""
    module, gates = supernet("several levels")
    [(images, _)] = batches(4)
    classes = torch.tensor([0, 0, 0, 1])
    repeated = torch.tensor([0, 1, 2, 3, 3, 3])
    weighted = TASK.balanced(classes)
    plain = [(images[repeated], classes[repeated])]
    estimate = ESTIMATORS[estimator]
    draws = torch.Generator()
    found = estimate(module, weighted, [(images, classes)], gates, draws)
    close(found, estimate(module, TASK, plain, gates, draws))
    slope = gradient(module, weighted, [(images, classes)], gates)
    close(slope, gradient(module, TASK, plain, gates))


def test_the_weighted_gradient_and_hessian_are_those_of_autograd() -> None:
    module, gates = supernet("several levels")
    module.eval()
    [(images, classes)] = batches(7)
    task = TASK.balanced(torch.tensor([0, 0, 0, 0, 1, 1, 2]))

    def loss(g: Tensor) -> Tensor:
        weights = torch.tensor(task.class_weights, dtype=torch.float64)
        every = cross_entropy(module(images, g), classes, weight=weights, reduction="none")
        return every.mean()

    close(gradient(module, task, [(images, classes)], gates), jacobian(loss, gates))
    exact = torch.autograd.functional.hessian(loss, gates)
    close(hessian(module, task, [(images, classes)], gates), exact)


def test_weighted_samples_come_to_the_weighted_ggn() -> None:
    module, gates = supernet("one gate")
    data = batches(5)
    task = TASK.balanced(torch.tensor([0, 0, 0, 0, 1, 1, 2]))
    draws = torch.Generator().manual_seed(0)
    found = fisher_monte_carlo(module, task, data, gates, draws, samples=20_000)
    torch.testing.assert_close(found, ggn(module, task, data, gates), rtol=0.05, atol=1e-6)
