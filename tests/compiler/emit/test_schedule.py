"""A scheduled network is the same function of the same parameters as the plain one.

The law is `assert_same`: in float64, outputs, buffers and all gradients agree to 1e-9, relative to
the largest number of each, in training and in evaluation mode, for gates of all examples and for a
row of gates each, with and without pruned candidates.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from hypothesis import given
from living import OTHERS, PACKAGED, gates_of, inputs_of, module_of, packaged
from odd import ODD
from strategies import spaces
from support import graph_of, network
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule, schedule_text
from bayesnas.compiler.emit.stages import leaves
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.space.draws import draw_member


def pair_of(graph: Graph) -> tuple[nn.Module, nn.Module]:
    """The plain module and the scheduled one with its weights, in float64."""
    plain, scheduled = (
        module_of(emit_torch(graph, "spec.nas", plan)) for plan in (None, schedule(graph))
    )
    assert list(plain.state_dict()) == list(scheduled.state_dict())
    scheduled.load_state_dict(plain.state_dict())
    return plain.double(), scheduled.double()


def run(module: nn.Module, graph: Graph, gates: Tensor | None, training: bool) -> list[Tensor]:
    """Outputs, then the gradients of inputs, gates and weights, then all buffers."""
    module.train(training)
    before = [(b, b.clone()) for b in module.buffers()]  # a copy of all would take the longest
    inputs = [x.requires_grad_() for x in inputs_of(graph)]
    leaves = [*inputs, *module.parameters()]
    if gates is not None:
        leaves.append(gates := gates.clone().requires_grad_())
    torch.manual_seed(1)  # for dropout
    found = module(*inputs) if gates is None else module(*inputs, gates)
    outputs = list(found) if isinstance(found, tuple) else [found]
    weights = [torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y) for y in outputs]
    loss = sum((w * y * y).sum() for w, y in zip(weights, outputs, strict=True))
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    after = [b.to(torch.float64, copy=True) for b in module.buffers()]
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
    return [*outputs, *gradients, *after]


def assert_equal(found: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    expected = list(expected)
    # A gradient that is nothing but rounding has no size of its own to be compared with.
    floor = 1e-2 * max(float(one.detach().abs().max()) for one in expected if one.numel())
    for one, other in zip(found, expected, strict=True):
        if other.numel():
            scale = max(float(other.detach().abs().max()), floor)
            assert one.shape == other.shape
            assert float((one - other).detach().abs().max()) <= 1e-9 * scale


def assert_same(graph: Graph, large: bool = False) -> None:
    """For a large one, the two cases that have most in them."""
    plain, scheduled = pair_of(graph)
    gates = gates_of(graph)
    cases: list[tuple[Tensor | None, bool]] = [(None, True), (None, False)]
    if graph.searched():
        rows = torch.stack([gates, -gates, gates * gates])
        # In training, batch normalisation mixes examples: rows of gates mean nothing.
        cases = [(gates, True), (rows, False), *([] if large else [(gates, False)])]
    for chosen, training in cases:
        assert_equal(*(run(m, graph, chosen, training) for m in (scheduled, plain)))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_specs(name: str) -> None:
    assert_same(packaged(name).graph)


@pytest.mark.parametrize("name", OTHERS)
def test_other_packaged_specs(name: str) -> None:
    assert_same(packaged(name).graph, large=True)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_spaces(text: str) -> None:
    assert_same(graph_of(text))


@given(spaces())
def test_any_space(text: str) -> None:
    assert_same(graph_of(text))


# ---------------------------------------------------------------------------- depthwise convolution


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 9)])
def test_depthwise_convolutions(
    kernel: int, stride: int, dilation: int, size: tuple[int, int]
) -> None:
    """Both gradients, and the gradients of those, are PyTorch's."""
    operation = f"depthwise_conv({kernel}, {stride}, {dilation})"
    text = f"network n(x: [3, {size[0]}, {size[1]}]) -> (y: [3, {-(-size[0] // stride)}, "
    text += f"{-(-size[1] // stride)}]) {{\n    x -> y : {operation}\n}}"
    graph = graph_of(text)
    found = []
    for module in pair_of(graph):
        [z] = inputs_of(graph)
        leaves = [z.requires_grad_(), *module.parameters()]
        first = torch.autograd.grad((module(z) ** 3).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum((one**2).sum() for one in first), leaves)
        found.append([*first, *second])
    assert_equal(*found)


def test_the_backward_pass_is_our_own() -> None:
    graph = graph_of(network("y = x : depthwise_conv(5)"))
    _, scheduled = pair_of(graph)
    output = scheduled(*inputs_of(graph))
    assert "Depthwise" in type(output.grad_fn).__name__


# ------------------------------------------------------------------------------------- what it does

SHARING = network(
    """\
    node h[2]
    {x} ~> h[0] : relu >> conv(3) >> bn | relu >> conv(1) >> bn | max_pool(3) | skip
    {x, h[0]} ~> h[1] : relu >> conv(3) >> bn | relu >> max_pool(3) | max_pool(3) | skip
    y = sum(h[0], h[1])"""
)


def runs_of(module: nn.Module, graph: Graph, kind: type[nn.Module]) -> int:
    """How many modules of a class run in a forward pass."""
    count = [0]
    for inner in module.modules():
        if isinstance(inner, kind):
            inner.register_forward_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    module(*inputs_of(graph), gates_of(graph))
    return count[0]


def test_what_readers_share_runs_once() -> None:
    graph = graph_of(SHARING)
    plain, scheduled = pair_of(graph)
    assert (runs_of(plain, graph, nn.ReLU), runs_of(scheduled, graph, nn.ReLU)) == (6, 2)
    assert (runs_of(plain, graph, nn.MaxPool2d), runs_of(scheduled, graph, nn.MaxPool2d)) == (5, 4)


def test_what_nobody_reads_does_not_run() -> None:
    graph = graph_of(SHARING)
    _, scheduled = pair_of(graph)
    for inner in scheduled.modules():
        if hasattr(inner, "pruned"):
            inner.pruned.update(set(inner.candidates) - {"skip"})
    assert runs_of(scheduled, graph, nn.ReLU) == runs_of(scheduled, graph, nn.MaxPool2d) == 0


def test_pruned_candidates() -> None:
    graph = graph_of(SHARING)
    pair = pair_of(graph)
    for module in pair:
        for k, inner in enumerate(m for m in module.modules() if hasattr(m, "pruned")):
            inner.pruned.update(list(inner.candidates)[: 1 + k])
    plain, scheduled = (run(module, graph, gates_of(graph), True) for module in pair)
    assert_equal(scheduled, plain)


def test_less_is_kept_for_the_backward_pass() -> None:
    graph = packaged("darts_cell").graph
    kept = []
    for module in pair_of(graph):
        seen: dict[int, int] = {}

        def pack(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = module(*inputs_of(graph), gates_of(graph).requires_grad_())
        kept.append(sum(seen.values()))
        del output
    plain, scheduled = kept
    assert scheduled < 0.75 * plain


def test_the_dump_by_example() -> None:
    graph = graph_of(SHARING)
    assert schedule_text(graph, schedule(graph)).startswith("""\
schedule of `net`
  relu: 2 runs for 6
  max_pool: 4 runs for 5
  gates: 4 in a scale, 8 in a sum

net: the network
  x >> relu, once for 4
  x >> max_pool(3), once for 2
  h[0] >> relu, once for 2
  x ~> h[0]
      relu >> conv(3) >> bn: [relu] >> conv(3, width = 4) >> bn; gate in the scale
      relu >> conv(1) >> bn: [relu] >> conv(1, width = 4) >> bn; gate in the scale
      max_pool(3): [max_pool(3)]; gate in the sum
      skip: skip; gate in the sum
""")


def test_the_dump_says_which_form_every_stage_takes() -> None:
    graph = graph_of(
        network(
            """\
            node h[2]
            x ~> h[0] : relu >> depthwise_conv(5) >> relu >> depthwise_conv(3) | skip
            h[0] ~> h[1] : bn >> relu | conv(1) >> bn
            z = concat(h)
            z -> y : conv(1, 4) >> bn >> relu"""
        )
    )
    assert (
        schedule_text(graph, schedule(graph))
        == """\
schedule of `net`
  gates: 1 in a scale, 3 in a sum
  depthwise_conv: 1 fast
  relu: 3 in place
  gradients: 2 made dense

net: the network
  x ~> h[0]
      relu >> depthwise_conv(5) >> relu >> depthwise_conv(3): [relu] >> depthwise_conv(5) fast >> \
relu in place >> depthwise_conv(3); gate in the sum
      skip: skip; gate in the sum
  h[0]: its gradient is made dense
  h[0] ~> h[1]
      bn >> relu: bn >> relu in place; gate in the sum
      conv(1) >> bn: conv(1, width = 4) >> bn; gate in the scale
  h[1]: its gradient is made dense
  z -> y
      conv(1, width=4) >> bn >> relu: conv(1, width = 4) >> bn >> relu in place
"""
    )


@pytest.mark.parametrize("name", PACKAGED)
def test_the_source_is_as_the_dump_says(name: str) -> None:
    """Every gradient that is made dense, every stage in place, every fast one is in the source."""
    graph = packaged(name).graph
    plan = schedule(graph)
    module = module_of(emit_torch(graph, "spec.nas", plan))
    forms = [leaf.form for stages in plan.stages.values() for leaf in leaves(stages)]
    kinds = [type(inner).__name__ for inner in module.modules()]
    written_over = [m for m in module.modules() if isinstance(m, nn.ReLU) and m.inplace]
    assert forms.count("fast") == kinds.count("DepthwiseConv2d")
    assert forms.count("in place") == len(written_over)
    folds = [c.fold for m in module.modules() for c in getattr(m, "plans", {}).values()]
    named = [fold for fold in folds if fold.__name__ == "scaled_norm"]
    assert len(named) == sum(work.fold == "norm" for work in plan.works.values())


@pytest.mark.parametrize("name", PACKAGED)
def test_every_searched_edge_stands_in_the_dump(name: str) -> None:
    graph = packaged(name).graph
    text = schedule_text(graph, schedule(graph))
    assert all(path in text for path in {edge.scope for edge in graph.searched()})
    labels = [edge.operation.label for edge in graph.searched()]
    assert all(f"    {label}: " in text for label in labels)


# ---------------------------------------------------------------------------------------- compilers


@pytest.mark.parametrize("scheduled", [False, True])
def test_torch_compile_has_the_same_gradients(scheduled: bool) -> None:
    """No C++ compiler is asked for."""
    graph = graph_of(SHARING)
    module = pair_of(graph)[scheduled]
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
    for training in (True, False):
        assert_equal(
            run(compiled, graph, gates_of(graph), training),
            run(module, graph, gates_of(graph), training),
        )


# A spec once: as a supernet, or where others have all that is traced of that, or tracing it takes
# a minute, as a member.
SUPERNETS = (
    *("dense_motif", "multiscale", "sequence_tcn", "siamese", "table"),
    *("tabular_mlp", "transformer", "vision_blocks"),
)
MEMBERS = sorted((PACKAGED | OTHERS).keys() - {*SUPERNETS, "hierarchical", "nasnet"})


def traces(graph: Graph) -> None:
    """Compiles without a break (`fullgraph`), once for batches of two sizes."""
    module = module_of(emit_torch(graph, "spec.nas", schedule(graph)))
    gates = [gates_of(graph).float()] if graph.searched() else []
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for count, stance in ((16, "default"), (20, "fail_on_recompile")):
        inputs = [torch.randn(count, *one.shape[1:]) for one in inputs_of(graph)]
        for one in inputs:
            torch._dynamo.mark_dynamic(one, 0)
        with torch.compiler.set_stance(stance):
            compiled(*inputs, *gates)


@pytest.mark.parametrize("name", SUPERNETS)
def test_torch_compile_takes_supernets(name: str) -> None:
    traces(packaged(name).graph)


@pytest.mark.parametrize("name", MEMBERS)
def test_torch_compile_takes_members(name: str) -> None:
    _, member = draw_member(packaged(name).graph, 0)
    traces(member)
