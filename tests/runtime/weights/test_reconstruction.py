"""What reads channels that go is solved anew: against plain least squares, in float64."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from coupled import NETWORKS, TEXTS, network_of, twin
from living import inputs_of, module_of, with_known_weights
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.compiler.slices.ties import Strand
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.tasks.bundle import Inputs, bundled
from bayesnas.runtime.weights.reconstruction import Reconstruction, unread
from bayesnas.runtime.weights.removal import Sliced, masked, sliced_tensors

SOME = 5  # strands of a network
STAYS = [0, 2, 3, 5]  # of six channels
NETS = {name: TEXTS[name] for name in TEXTS if name != "groups"}


class Net:
    """A network with known weights, and its inputs."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled, self.slices = compiled, coupled_slices(compiled.graph)
        self.sliced = (*sliced_tensors(compiled, self.slices),)
        emitted = emit_torch(compiled.graph, "spec.nas")
        self.module = with_known_weights(module_of(emitted))
        one, *others = inputs_of(compiled.graph)
        ports = {str(k): x for k, x in enumerate((one, *others))}
        self.inputs: Inputs = bundled(ports) if others else one

    def outputs(self, state: dict[str, Tensor]) -> Tensor:
        """With those weights; the network keeps its own."""
        own = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        self.module.load_state_dict(state)
        with torch.no_grad():
            result = predict(self.module, self.inputs)
        self.module.load_state_dict(own)
        return result

    def reconstructed(self, kept: Kept, ridge: float) -> dict[str, Tensor]:
        """The state for these channels, zeros in place of the others."""
        state = Reconstruction.of(self.module, self.sliced, [self.inputs]).without(kept, ridge)
        return masked(self.compiled, state, self.slices, kept)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strands_of(slices: Slices) -> list[Strand]:
    return [strand for strand in slices.removable if strand.size > 1]


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())


@pytest.mark.parametrize("name", [*NETS, *(name for name in NETWORKS if name != "treecell_a")])
def test_without_its_twin_a_channel_does_for_both(name: str) -> None:
    compiled = compile_text(NETS[name]) if name in NETS else network_of(name, 0)
    net = Net(compiled)
    for strand in islice(strands_of(net.slices), SOME):
        twin(net.module, net.sliced, strand)
        whole = net.outputs(net.module.state_dict())
        smaller = net.outputs(net.reconstructed({strand: range(strand.size - 1)}, ridge=1e-9))
        assert far(whole, smaller) < 1e-5


def small(body: str) -> tuple[Net, Kept]:
    """A network of six hidden channels, of which 1 and 4 go, and more inputs than channels."""
    net = Net(compile_text(f"network net(x: [3, 4, 4]) -> (y: [2]) {{\n    {body}\n}}"))
    net.inputs = torch.randn(64, 3, 4, 4, dtype=torch.float64, generator=seeded(0))
    [strand] = [strand for strand in net.slices.removable if strand.size == 6]
    return net, {strand: STAYS}


def hidden(net: Net, layer: nn.Module) -> Tensor:
    """What comes into a layer."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net.outputs(net.module.state_dict())
    hook.remove()
    return seen[0]


def name_of(net: Net, layer: nn.Module) -> str:
    """The name of a layer's weight in the state of its network."""
    [name] = [n for n, weight in net.module.named_parameters() if weight is layer.weight]
    return name


def test_a_layer_with_a_bias_has_the_least_squares_of_its_outputs() -> None:
    net, kept = small("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)")
    layer = next(m for m in net.module.modules() if isinstance(m, nn.Linear))
    x = hidden(net, layer)
    reference = torch.cat([x[:, STAYS], torch.ones(64, 1, dtype=x.dtype)], dim=1)
    best = torch.linalg.lstsq(reference, layer(x).detach()).solution
    state = net.reconstructed(kept, ridge=0.0)
    name = name_of(net, layer)
    torch.testing.assert_close(state[name][:, STAYS], best[:-1].T, rtol=0, atol=1e-9)
    bias = state[name.replace("weight", "bias")]
    torch.testing.assert_close(bias, best[-1], rtol=0, atol=1e-9)


def test_without_a_bias_the_outputs_have_no_mean_to_leave() -> None:
    net, kept = small("x -> y : conv(3, 6) >> relu >> conv(1, 2) >> global_avg_pool")
    layer = [m for m in net.module.modules() if isinstance(m, nn.Conv2d)][-1]
    assert layer.bias is None
    x = hidden(net, layer).movedim(1, -1).reshape(-1, 6)
    best = torch.linalg.lstsq(x[:, STAYS], x @ layer.weight.detach().flatten(1).T).solution
    state = net.reconstructed(kept, ridge=0.0)
    name = name_of(net, layer)
    torch.testing.assert_close(state[name].flatten(1)[:, STAYS], best.T, rtol=0, atol=1e-9)


def test_it_is_the_mean_of_the_posterior_given_zeros() -> None:
    """Of a Gaussian whose precision is G (x) (A + ridge), for any G, on the weights [out, in]."""
    net, kept = small("x -> y : conv(3, 6) >> relu >> conv(1, 2) >> global_avg_pool")
    layer = [m for m in net.module.modules() if isinstance(m, nn.Conv2d)][-1]
    x = hidden(net, layer).movedim(1, -1).reshape(-1, 6)
    square = x.T @ x / len(x)
    square += 0.1 * square.diagonal().diag()
    root = torch.randn(2, 2, dtype=x.dtype, generator=seeded(1))
    precision = torch.kron(root @ root.T, square)
    stays = torch.tensor([k in STAYS for k in range(6)]).repeat(2)
    weight = layer.weight.detach().flatten()
    across = precision[stays][:, ~stays] @ weight[~stays]
    mean = weight[stays] + torch.linalg.solve(precision[stays][:, stays], across)
    state = net.reconstructed(kept, ridge=0.1)
    name = name_of(net, layer)
    torch.testing.assert_close(state[name].flatten()[stays], mean, rtol=0, atol=1e-9)


@pytest.mark.parametrize("reader", ["conv(3, 2, stride = 2)", "flatten >> linear(2)"])
def test_places_share_what_stands_in_for_a_channel(reader: str) -> None:
    rest = "" if "linear" in reader else " >> global_avg_pool"
    net, kept = small(f"x -> y : conv(3, 6) >> relu >> {reader}{rest}")
    layer = [m for m in net.module.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]
    x = hidden(net, layer).reshape(64, 6, 16).movedim(1, -1).reshape(-1, 6)
    if layer.bias is not None:
        x = x - x.mean(0)
    shares = torch.linalg.lstsq(x[:, STAYS], x[:, [1, 4]]).solution
    state = net.reconstructed(kept, ridge=0.0)
    name = name_of(net, layer)
    old, new = (w.detach().reshape(2, 6, -1) for w in (layer.weight, state[name]))
    expected = old[:, STAYS] + torch.einsum("orp,kr->okp", old[:, [1, 4]], shares)
    torch.testing.assert_close(new[:, STAYS], expected, rtol=0, atol=1e-9)


def gone(net: Net) -> Kept:
    return {strand: [0] for strand in strands_of(net.slices)}


def test_what_is_zero_has_no_reader() -> None:
    net, kept = small("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)")
    state = net.module.state_dict()
    assert unread(state, net.sliced, {})
    assert not unread(state, net.sliced, kept)
    readers: list[Sliced] = [one for one in net.sliced if len(one.axes) > 1 and one.axes[1]]
    [layer] = [one.name for one in readers if state[one.name].dim() == 2]
    state[layer][:, [1, 4]] = 0
    assert unread(state, net.sliced, kept)


def test_channels_that_say_nothing_are_no_obstacle() -> None:
    net, kept = small("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)")
    net.inputs = torch.zeros(4, 3, 4, 4, dtype=torch.float64)
    whole = net.outputs(net.module.state_dict())
    for tensor in net.reconstructed(kept, ridge=0.01).values():
        assert tensor.isfinite().all()
    assert far(whole, net.outputs(net.reconstructed(kept, ridge=0.01))) < 1e-9


def test_what_is_the_same_but_for_rounding_tells_nothing() -> None:
    net, kept = small("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)")
    net.module.float()
    net.inputs = torch.randn(1, 3, 4, 4, generator=seeded(0)).repeat(5, 1, 1, 1)
    state, before = net.reconstructed(kept, ridge=0.01), net.module.state_dict()
    [name] = [n for n, m in net.module.named_parameters() if m.shape == (2, 6)]
    assert torch.equal(state[name][:, STAYS], before[name][:, STAYS])
    assert far(net.outputs(before), net.outputs(state)) < 1e-5


def test_a_large_mean_costs_no_digits() -> None:
    net, kept = small("x -> y : conv(3, 6, bias = 1) >> global_avg_pool >> linear(2)")
    [strand] = kept
    twin(net.module, net.sliced, strand)
    state = net.module.state_dict()
    [name] = [n for n, m in net.module.named_parameters() if m.shape == (6,)]
    state[name] += 1000
    net.module.float()
    net.inputs = torch.randn(64, 3, 4, 4, generator=seeded(0))
    whole = net.outputs(net.module.state_dict())
    smaller = net.outputs(net.reconstructed({strand: range(5)}, ridge=1e-6))
    assert far(whole - whole.mean(0), smaller - whole.mean(0)) < 0.01


def test_groups_are_left_as_they_are() -> None:
    net = Net(compile_text(TEXTS["groups"]))
    before = net.module.state_dict()
    after = Reconstruction.of(net.module, net.sliced, [net.inputs]).without(gone(net))
    grouped = [
        f"{path}.weight"
        for path, layer in net.module.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.groups > 1
    ]
    assert grouped
    for name in grouped:
        assert torch.equal(before[name], after[name])


@pytest.mark.parametrize("name", [*TEXTS])
def test_the_network_itself_is_left_as_it_was(name: str) -> None:
    net = Net(compile_text(TEXTS[name]))
    before = {key: tensor.clone() for key, tensor in net.module.state_dict().items()}
    after = Reconstruction.of(net.module, net.sliced, [net.inputs]).without(gone(net))
    for key, tensor in net.module.state_dict().items():
        assert torch.equal(tensor, before[key])
        assert after[key].shape == tensor.shape
        assert after[key].dtype == tensor.dtype
    net.module.load_state_dict(masked(net.compiled, after, net.slices, gone(net)))


def test_inputs_of_layers_that_are_too_large_for_their_squares() -> None:
    net, kept = small("x -> y : conv(3, 6) >> relu >> global_avg_pool >> linear(2)")
    net.module.float()
    net.inputs = torch.full((2, 3, 4, 4), 1e25)
    net.inputs[0] = 0
    with pytest.raises(DiagnosticError) as caught:
        net.reconstructed(kept, ridge=0.1)
    [said] = caught.value.diagnostics
    layer = next(path for path, m in net.module.named_modules() if isinstance(m, nn.Conv2d))
    message = f"the squares of what comes into `{layer}` are not finite"
    assert (said.code, said.message, caught.value.status) == ("D602", message, 1)
    assert "lower `learning_rate`" in said.help
