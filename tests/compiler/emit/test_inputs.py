"""Networks that standardise their inputs themselves: what goes in, and what it is in the end."""

from __future__ import annotations

import ast

import pytest
import torch
from living import module_of
from odd import ODD
from support import graph_of, network
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.model import Graph

CONV = network("    x -> y : conv(3) >> bn")
SHAPES = {
    "vectors": "network net(x: [3]) -> (y: [2]) { x -> y : linear(2) }",
    "series": "network net(x: [3, 7]) -> (y: [3, 7]) { x -> y : bn >> relu }",
    "images": network("    x -> y : conv(3)"),
    "a supernet": network("    x ~> y : conv(3) | conv(1)"),
    "no weights": network("    x -> y : relu"),
}


def shape_of(graph: Graph) -> tuple[int, ...]:
    return graph.node(graph.root.inputs[0]).shape or ()


def standardising(graph: Graph, statistics: str = "float32") -> nn.Module:
    """In evaluation mode, its statistics made up."""
    torch.manual_seed(0)
    module = module_of(emit_torch(graph, "spec.nas", statistics=statistics)).eval()
    with torch.no_grad():
        module.get_buffer("input_mean").uniform_(0.2, 0.8)
        module.get_buffer("input_std").uniform_(0.1, 0.5)
    return module


def pixels(graph: Graph, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, *shape_of(graph))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_as_the_network_of_what_is_standardised(name: str, scheduled: bool) -> None:
    graph = graph_of(SHAPES[name])
    module = standardising(graph)
    plan = schedule(graph) if scheduled else None
    plain = module_of(emit_torch(graph, "spec.nas", plan)).eval()
    state = module.state_dict()
    mean, std = (state.pop(f"input_{what}").double() for what in ("mean", "std"))
    assert mean.shape == std.shape == (shape_of(graph)[0], *[1] * (len(shape_of(graph)) - 1))
    plain.load_state_dict(state)  # the same names but for the statistics
    given = pixels(graph)
    expected = plain(((given.double() / 255 - mean) / std).float())
    for inputs in (given, given / 255, given.double() / 255):
        assert module(inputs).dtype == torch.float32 or name == "no weights"
        torch.testing.assert_close(module(inputs), expected, rtol=1e-5, atol=1e-5)


def test_gates_are_not_bytes() -> None:
    graph = graph_of(SHAPES["a supernet"])
    module = standardising(graph)
    ones = torch.ones(len(graph.searched()))
    torch.testing.assert_close(module(pixels(graph)), module(pixels(graph), ones))


def test_what_32_bits_cannot_hold_apart() -> None:
    module = standardising(graph_of(SHAPES["vectors"]), "float64")
    module.get_buffer("input_mean").fill_(1.7e9)
    module.get_buffer("input_std").fill_(1.0)
    x = torch.arange(6, dtype=torch.float64).view(2, 3) - 3
    linear = next(iter(module.children()))
    torch.testing.assert_close(module(x + 1.7e9), linear(x.float()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_of_another_type(dtype: torch.dtype) -> None:
    module = standardising(graph_of(CONV)).to(dtype)
    assert module(pixels(graph_of(CONV))).dtype == dtype


def test_compiled_and_exported() -> None:
    graph = graph_of(CONV)
    module = standardising(graph, "float64")
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    for given in (pixels(graph), pixels(graph) / 255):
        with torch.no_grad():
            torch.testing.assert_close(compiled(given), module(given))
        program = torch.export.export(module, (given,)).module()
        torch.testing.assert_close(program(given), module(given))


def test_names_that_mean_something_here() -> None:
    """A node may be called like a buffer, or like the function that uses them."""
    text = """network net(standardised: [3]) -> (y: [2]) {
    input_mean = standardised : linear(4)
    input_std = input_mean : linear(5)
    input_std -> y : linear(2)
}
"""
    graph = graph_of(text)
    module = standardising(graph)
    assert module(pixels(graph)).shape == (3, 2)
    assert {name for name, _ in module.named_buffers()} == {"input_mean", "input_std"}


@pytest.mark.parametrize("name", ODD)
def test_odd_spaces_of_one_input(name: str) -> None:
    graph = graph_of(ODD[name])
    if len(graph.root.inputs) > 1:
        pytest.skip("of several inputs")
    source = emit_torch(graph, "spec.nas", statistics="float64").source
    ast.parse(source)
    assert [line for line in source.splitlines() if len(line) > 100] == []
    assert ("standardised(" in source) is True
    assert "standardised" not in emit_torch(graph, "spec.nas").source
