"""Why the schedule is as it is: single kernels, PyTorch's way and another, on a CPU.

    python -m benchmarks.kernels

Takes about 1 minute on 2 cores, on one thread; `--quick` takes 15 seconds (one shape). The shapes
are those of `darts_cell` with a batch of 32, in channels-last. Every ratio is of medians over
rounds in which both ways take turns; above 1, the other way is faster.

- depthwise: both backward passes of a depthwise convolution that is wide, dilated or has a stride,
  PyTorch's against `DepthwiseConv2d`, in float32 and bfloat16. The schedule has the latter.
- wider: four pointwise convolutions of one tensor, forward and backward, against one of four times
  the width. The schedule has no such pass: in cells like those of DARTS no two pointwise
  convolutions read the same tensor.
- grouped: four pointwise convolutions of four tensors against one of four groups, whose inputs lie
  side by side already. The schedule does not fuse them: it would be slower.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from itertools import product
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from bayesnas.compiler.emit.preludes.depthwise import DepthwiseConv2d
from benchmarks.common import finish

BATCH = 32
SHAPES = ((16, 32), (32, 16), (64, 8))  # channels and size of the three stages
KERNELS = ((3, 2, 1), (5, 1, 1), (3, 1, 2), (5, 1, 2), (5, 2, 1), (3, 2, 2), (5, 2, 2))
MANY = 4


def keep_memory() -> None:
    """Let the C library keep what is freed, as it does by itself in the midst of a whole network.

    Else it gives every tensor back to the system, and its pages are cleared for the next.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        trim_threshold, mmap_threshold = -1, -3  # of mallopt(3)
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(mmap_threshold, 2**30)


def ratio(plain: Callable[[], Any], other: Callable[[], Any], rounds: int) -> float:
    """How many times as long the plain way takes."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        stamps = [time.perf_counter()]
        for call in (plain, other):
            call()
            stamps.append(time.perf_counter())
        times.append((stamps[1] - stamps[0], stamps[2] - stamps[1]))
    firsts, seconds = zip(*times[1:], strict=True)
    return round(median(firsts) / median(seconds), 2)


def random(channels: int, size: int, count: int = BATCH) -> Tensor:
    """A feature map, channels-last."""
    return torch.randn(count, channels, size, size).to(memory_format=torch.channels_last)


def backward(module: nn.Module, z: Tensor) -> Callable[[], Any]:
    """Gradients of the input and the weights, forward done once."""
    z = z.clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(z)
    leaves, g = [z, *module.parameters()], torch.randn_like(y)
    return lambda: torch.autograd.grad(y, leaves, g, retain_graph=True)


def depthwise(channels: int, size: int, rounds: int) -> dict[str, float]:
    """By kernel, stride, dilation and precision."""
    found = {}
    for (kernel, stride, dilation), kind in product(KERNELS, (torch.float32, torch.bfloat16)):
        options = {"stride": stride, "padding": dilation * (kernel // 2), "dilation": dilation}
        plain, other = (
            cls(channels, channels, kernel, groups=channels, bias=False, dtype=kind, **options)
            for cls in (nn.Conv2d, DepthwiseConv2d)
        )
        z = random(channels, size).to(kind)
        name = f"kernel {kernel}, stride {stride}, dilation {dilation}, {str(kind)[6:]}"
        found[name] = ratio(backward(plain, z), backward(other, z), rounds)
    return found


def pointwise(channels: int, size: int, rounds: int) -> dict[str, float]:
    """Four convolutions against one."""
    z = random(channels, size).requires_grad_()
    many = [random(channels, size).requires_grad_() for _ in range(MANY)]
    beside = torch.cat([one.detach() for one in many], dim=1).requires_grad_()
    weights = [torch.randn(channels, channels, 1, 1, requires_grad=True) for _ in range(MANY)]
    whole = torch.cat([w.detach() for w in weights]).requires_grad_()

    def run(outputs: list[Tensor], leaves: list[Tensor]) -> None:
        torch.autograd.grad(outputs, leaves, [torch.ones_like(y) for y in outputs])

    return {
        "wider": ratio(
            lambda: run([conv2d(z, w) for w in weights], [z, *weights]),
            lambda: run([conv2d(z, whole)], [z, whole]),
            rounds,
        ),
        "grouped": ratio(
            lambda: run(
                [conv2d(x, w) for x, w in zip(many, weights, strict=True)], [*many, *weights]
            ),
            lambda: run([conv2d(beside, whole, groups=MANY)], [beside, whole]),
            rounds,
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one shape")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    rounds = 7 if options.quick else 15
    found = {}
    for channels, size in SHAPES[:1] if options.quick else SHAPES:
        row = depthwise(channels, size, rounds) | pointwise(channels, size, rounds)
        found[f"{channels} x {size} x {size}"] = row
        print(f"\n{channels} channels, {size} x {size}")
        for name, value in row.items():
            print(f"  {name:42} {value:6.2f} x", flush=True)
    finish("kernels", quick=options.quick, ratios=found)


if __name__ == "__main__":
    main()
