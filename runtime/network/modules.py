"""From a compiled network to a living module: the emitted source itself is what runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import Emitted, emit_torch
from bayesnas.compiler.emit.schedule import schedule
from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.tasks.bundle import Bundle, Inputs, tensors

EMITTED: Final = "bayesnas_emitted"  # what networks call their module


def load_source(emitted: Emitted) -> nn.Module:
    """An instance of the network's class, made by running its emitted source.

    The source comes from our own emitter, which writes no name or text of a spec but identifiers.
    """
    namespace: dict[str, Any] = {"__name__": f"{EMITTED}.{emitted.class_name}"}
    exec(compile(emitted.source, f"<emitted {emitted.class_name}>", "exec"), namespace)
    module: nn.Module = namespace[emitted.class_name]()
    return module


def build(
    graph: Graph,
    origin: str,
    seed: int,
    scheduled: bool = True,
    statistics: str | None = None,
    layout: torch.memory_format = torch.channels_last,
    carrying: bool = False,
) -> tuple[nn.Module, Emitted]:
    """The network with fresh weights; the same seed gives the same weights on every device.

    It is emitted by its schedule, or plainly: the same function of the same parameters. With
    ``statistics`` it standardises its inputs itself, as `emit_torch` says. A network whose layout
    is contiguous is plain: schedules are made of kernels that want channels last. With
    ``carrying`` it can carry its states from call to call (`network/carrying.py`).
    """
    contiguous = layout is torch.contiguous_format
    plan = schedule(graph) if scheduled and not contiguous else None
    emitted = emit_torch(graph, origin, plan, statistics, carrying)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = load_source(emitted)
    subsample(module)
    if contiguous:
        module.register_forward_pre_hook(_contiguous)
    # Depthwise and dilated convolutions are several times faster channels last on a CPU;
    # it concerns kernels of two dimensions alone.
    return module.to(memory_format=layout), emitted


def unbundling(module: nn.Module, graph: Graph) -> nn.Module:
    """The network, which takes a `Bundle` for its inputs as well, where it has several."""
    ports = [graph.node(node).name for node in graph.root.inputs]

    def unbundle(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(inputs) == 1 and isinstance(inputs[0], Bundle):
            return tuple(inputs[0].ports[port] for port in ports)
        return inputs

    if len(ports) > 1:
        module.register_forward_pre_hook(unbundle, prepend=True)  # before what wants tensors
    return module


def _contiguous(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(z.contiguous() for z in inputs)


def subsample(module: nn.Module) -> None:
    """Let convolutions of 1x1 with a stride take the pixels they read, then convolve each.

    Emitted ones do (`SubsampledConv2d` says why); this is for those in the modules of plugins.
    Their parameters and attributes stay, and so does what a class of their own does before and
    after.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and max(layer.stride) > 1:
            own: Any = layer
            down, right = (0, 0) if isinstance(layer.padding, str) else layer.padding
            own._conv_forward = partial(
                _subsampled,
                around=(right, right, down, down),
                mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode,
                stride=layer.stride,
                groups=layer.groups,
            )


def _subsampled(
    z: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    around: tuple[int, int, int, int],
    mode: str,
    stride: tuple[int, ...],
    groups: int,
) -> Tensor:
    """z: [N, C, H, W] or [C, H, W]."""
    down, right = stride
    padded = nn.functional.pad(z, around, mode) if any(around) else z
    return nn.functional.conv2d(padded[..., ::down, ::right], weight, bias, groups=groups)


def predict(module: nn.Module, inputs: Inputs, gates: Tensor | None = None) -> Tensor:
    """Outputs [N, K]; ``gates`` [G] or [N, G] where the network is a supernet.

    Outputs of more dimensions are flattened, those of several ports stand side by side in order.
    """
    return predict_all(module, (*tensors(inputs), *(() if gates is None else (gates,))))


def predict_all(module: nn.Module, given: Sequence[Tensor]) -> Tensor:
    """The same of all that the network takes, its inputs in order and then the gates."""
    result: Any = module(*given)
    parts = [one if one.dim() == 2 else one.flatten(1) for one in outputs_of(result)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def outputs_of(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a network returns, one tensor per output."""
    return result if isinstance(result, tuple) else (result,)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, in which examples do not mix; as it was afterwards."""
    modes = [(inner, inner.training) for inner in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for inner, mode in modes:
            inner.training = mode
