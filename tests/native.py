"""Gradients of convolutions by the emitted source, each compared in a process of its own.

``python tests/native.py THREADS`` prints a line for each convolution whose numbers are wrong or
whose process died, and `COUNT compared`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from itertools import product

import torch
from attrs import frozen
from support import compile_text
from torch import Tensor
from torch.nn.functional import conv2d

from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.network.modules import build

CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 16)
WIDTH = 8
SIZES = ((8, 8), (7, 9))
FORMATS = (torch.contiguous_format, torch.channels_last)
TOLERANCE = 1e-3  # of the largest number; what is wrong is wrong by a tenth and more
SECONDS = 60  # after which a process hangs


@frozen
class Convolution:
    """One operation on [channels, H, W], and the plain convolution that it is."""

    operation: str
    channels: int
    kernel: int
    stride: int
    depthwise: bool

    def __str__(self) -> str:
        return f"{self.operation} of {self.channels} channels"

    def graph(self, size: tuple[int, int]) -> Graph:
        width = self.channels if self.depthwise else WIDTH
        height, length = (-(-side // self.stride) for side in size)
        ports = f"(x: {[self.channels, *size]}) -> (y: {[width, height, length]})"
        return compile_text(f"network net{ports} {{ x -> y : {self.operation} }}").graph


def convolutions() -> Iterator[Convolution]:
    for channels, kernel, stride in product(CHANNELS, (1, 3, 5), (1, 2, 3)):
        dense = f"conv({kernel}, {WIDTH}, {stride})"
        yield Convolution(dense, channels, kernel, stride, depthwise=False)
        alone = f"depthwise_conv({kernel}, {stride})"
        yield Convolution(alone, channels, kernel, stride, depthwise=True)


def gradients(convolution: Convolution, size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs and gradients as they are and as they should be."""
    graph = convolution.graph(size)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(6, convolution.channels, *size, generator=generator, dtype=torch.float64)
    z.requires_grad_()
    groups = convolution.channels if convolution.depthwise else 1
    for scheduled in (True, False):
        module, _ = build(graph, "spec", 0, scheduled)
        [weight] = module.parameters()
        plain = weight.detach().to(torch.float64, memory_format=torch.contiguous_format)
        plain.requires_grad_()
        right = conv2d(z, plain, None, convolution.stride, convolution.kernel // 2, 1, groups)
        slope = torch.randn(right.shape, generator=generator, dtype=torch.float64)
        slopes = torch.autograd.grad(right, (z, plain), slope)
        for layout in FORMATS:
            module.to(memory_format=layout)
            own = z.detach().float().contiguous(memory_format=layout).requires_grad_()
            output = module(own)
            yield output.detach(), right.detach()
            yield from zip(
                torch.autograd.grad(output, (own, weight), slope.float()), slopes, strict=True
            )


def fault(convolution: Convolution) -> str:
    """What is wrong, in words; empty where nothing is."""
    worst = 0.0
    for size in SIZES:
        for number, right in gradients(convolution, size):
            wrong = (number - right).abs().max() / right.abs().max().clamp_min(1e-12)
            worst = max(worst, float(wrong))
    return "" if worst < TOLERANCE else f"wrong by {worst:.1%}"


def compare(waiting: list[Convolution], threads: int) -> list[str]:
    """Compare in a process of its own until it has done all or dies: what it was told of each."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        torch.set_num_threads(threads)
        with os.fdopen(writing, "w") as told:
            for convolution in waiting:
                signal.alarm(SECONDS)
                print(fault(convolution), file=told, flush=True)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        faults = told.read().splitlines()
    _, status = os.wait()
    if os.WIFSIGNALED(status):
        faults.append(signal.Signals(os.WTERMSIG(status)).name)
    return faults


def main(threads: int) -> int:
    waiting = list(convolutions())
    waiting[0].graph(SIZES[0])  # what the compiler keeps is there for every process
    count, wrong = len(waiting), 0
    while waiting:
        faults = compare(waiting, threads)
        for convolution, said in zip(waiting, faults, strict=False):
            if said:
                wrong += 1
                print(f"{convolution}: {said}")
        waiting = waiting[max(1, len(faults)) :]
    print(f"{count} compared")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
