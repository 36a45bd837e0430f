"""All primitives by PyTorch's kernels on this CPU, compared with plain contiguous float64 ones.

Outputs and the gradients in inputs and weights, of plain and scheduled source, contiguous and
channels last: narrow, odd and small maps, strides, dilations, groups. A process that dies or hangs
counts as a fault and ends nothing else.

`python tests/campaign/native.py [SHARE]` prints what is found by 1 and 2 threads, with the kernels
that this CPU takes by itself and with fewer of its instructions (`PYTHONPATH=.links`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Final

import torch
from attrs import frozen
from torch import Tensor, nn

from bayesnas.compiler.operations.primitives import (
    PRIMITIVES,
    Primitive,
    Shape,
    ShapeError,
    complete,
)
from bayesnas.compiler.pipeline import compile_loaded
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text
from bayesnas.runtime.network.modules import build

CHANNELS: Final = range(1, 10)
# What each parameter is tried with; the rules of shapes refuse what does not fit together.
VALUES: Final[Mapping[str, tuple[int, ...]]] = {
    "kernel": (1, 2, 3, 5),
    "width": (2, 8, 9),
    "stride": (1, 2, 3),
    "dilation": (1, 2, 3),
    "groups": (1, 2, 3),
    "bias": (0, 1),
    "expand": (1,),
    "affine": (0, 1),
    "factor": (1, 2, 3),
    "percent": (0, 100),  # what is dropped by chance cannot be compared
}
# Without a gradient; of one size alone; where a group is one number, nothing but rounding is left.
LEFT_OUT: Final = ("zeros", "position", "group_norm", "layer_norm")
# Examples and sides; the first is the one that source is emitted for.
SIZES: Final = (
    *((6, 8, 8), (6, 7, 9), (1, 9, 6)),
    *((2, 1, 5), (2, 5, 1), (3, 1, 1), (2, 2, 2), (2, 3, 4)),
)
INSTRUCTIONS: Final = ("DEFAULT", "AVX512_CORE", "AVX2", "SSE41")  # of ONEDNN_MAX_CPU_ISA
TOLERANCE: Final = 1e-3  # of the largest number; what is wrong is wrong by a tenth and more
SECONDS: Final = 60  # after which a process hangs
CONTIGUOUS: Final = torch.contiguous_format


@frozen
class Operation:
    """A primitive with its arguments, on [channels, ...] with ``rank`` sides."""

    primitive: Primitive
    arguments: tuple[tuple[str, int], ...]
    channels: int
    rank: int

    def __str__(self) -> str:
        return f"{self.call()} of {self.channels} channels, rank {self.rank}"

    def call(self) -> str:
        """As it stands in a spec."""
        given = ", ".join(f"{name} = {value}" for name, value in self.arguments)
        return f"{self.primitive.name}({given})" if given else self.primitive.name

    def output(self, sides: tuple[int, ...]) -> Shape | None:
        """The shape of what leaves; None where the input is refused."""
        shape = (self.channels, *sides[: self.rank])
        try:
            return self.primitive.shape(
                shape, complete(self.primitive, shape, dict(self.arguments))
            )
        except ShapeError:
            return None

    def module(self, scheduled: bool) -> nn.Module:
        """Its emitted source at work."""
        sides = SIZES[0][1 : self.rank + 1]
        ports = f"(x: {[self.channels, *sides]}) -> (y: {list(self.output(sides) or ())})"
        text = f"network net{ports} {{ x -> y : {self.call()} }}"
        graph = compile_loaded(load_text(Source("spec", text), Path()), {}).graph
        return build(graph, "spec", 0, scheduled)[0]

    @property
    def at_risk(self) -> bool:
        """Whether it is of the kind that is known to fail: 1x1, with a stride."""
        arguments = dict(self.arguments)
        return (
            (self.rank, self.channels in range(2, 8)) == (2, True)
            and (arguments.get("kernel"), arguments.get("groups")) == (1, 1)
            and arguments["stride"] > 1
            and (arguments["width"], arguments["bias"]) == (8, 0)
        )


def operations() -> Iterator[Operation]:
    """All that there are."""
    for primitive, channels, rank in product(PRIMITIVES.values(), CHANNELS, (0, 1, 2)):
        if primitive.module or primitive.name in LEFT_OUT:  # a plugin's
            continue
        names = [name for name in primitive.parameters if name in VALUES]
        if any(v is None for name, v in primitive.parameters.items() if name not in VALUES):
            continue
        for values in product(*(VALUES[name] for name in names)):
            arguments = dict(zip(names, values, strict=True))
            if arguments.get("kernel") == 1 and arguments.get("dilation", 1) > 1:
                continue  # the same as without
            operation = Operation(primitive, tuple(arguments.items()), channels, rank)
            if operation.output(SIZES[0][1:]) is not None:
                yield operation


def chosen(share: float, seed: int = 0) -> list[Operation]:
    """That share of them, drawn at random, and all of the kind that is known to fail."""
    every = list(operations())
    drawn = set(random.Random(seed).sample(range(len(every)), round(share * len(every))))
    return [one for number, one in enumerate(every) if number in drawn or one.at_risk]


# ------------------------------------------------------------------------------ one operation


def _last(z: Tensor) -> Tensor:
    """The same numbers with channels last in memory."""
    return z.movedim(1, -1).contiguous().movedim(-1, 1) if z.dim() > 1 else z


def _variants(operation: Operation, plain: nn.Module) -> Iterator[tuple[str, nn.Module, bool]]:
    """The sources in both layouts, each with its name and whether inputs are channels last."""
    for source, module in (("plain", plain), ("scheduled", operation.module(scheduled=True))):
        yield f"{source}, contiguous", deepcopy(module).to(memory_format=CONTIGUOUS), False
        yield f"{source}, channels last", module.to(memory_format=torch.channels_last), True


def results(module: nn.Module, z: Tensor, slope: Tensor) -> dict[str, Tensor]:
    """The output and all gradients of its product with ``slope``."""
    z.requires_grad_()
    output = module(z)
    weights = dict(module.named_parameters())
    gradients = torch.autograd.grad(output, (z, *weights.values()), slope)
    names = ("output", "gradient in the input", *(f"gradient in {name}" for name in weights))
    return dict(zip(names, (output.detach(), *gradients), strict=True))


def fault(operation: Operation) -> str:
    """What is wrong first, in words; empty where nothing is."""
    plain = operation.module(scheduled=False)
    exact = deepcopy(plain).to(torch.float64, memory_format=CONTIGUOUS)
    variants = list(_variants(operation, plain))
    generator = torch.Generator().manual_seed(0)
    for examples, *sides in SIZES:
        alone = examples == 1 and operation.rank == 0  # a single number a feature: nothing to norm
        if alone or operation.output(tuple(sides)) is None:
            continue
        z = torch.randn(examples, operation.channels, *sides[: operation.rank], generator=generator)
        slope = torch.randn(exact(z.double()).shape, generator=generator)
        right = results(exact, z.double(), slope.double())
        for variant, module, last in variants:
            given = _last(z).clone() if last else z.clone()
            for name, number in results(module, given, _last(slope) if last else slope).items():
                largest = right[name].abs().max().clamp_min(1e-6)
                wrong = float((number - right[name]).abs().max() / largest)
                if not wrong < TOLERANCE:
                    place = " x ".join(map(str, sides[: operation.rank]))
                    return f"{name} wrong by {wrong:.1%} ({examples} of {place}, {variant})"
    return ""


# ------------------------------------------------------------------------------ processes


def compare(waiting: Sequence[Operation], threads: int) -> list[str]:
    """Compare in a process of its own until it has done all or dies: what it was told of each."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        torch.set_num_threads(threads)
        with os.fdopen(writing, "w") as told:
            for operation in waiting:
                signal.alarm(SECONDS)
                print(fault(operation), file=told, flush=True)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        faults = told.read().splitlines()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hangs = number == signal.SIGALRM
        faults.append("does not return" if hangs else f"dies of {signal.Signals(number).name}")
    elif status:
        faults.append("raises")
    return faults


def report(share: float, threads: Sequence[int]) -> None:
    """Print a line for each fault, and how many operations were compared."""
    operations = chosen(share)
    operations[0].module(scheduled=True)  # what the compiler keeps is there for every process
    for count in threads:
        waiting = operations
        while waiting:
            faults = compare(waiting, count)
            for operation, said in zip(waiting, faults, strict=False):
                if said:
                    print(f"{operation}: {said} [{count} threads]", flush=True)
            waiting = waiting[max(1, len(faults)) :]
    print(len(threads) * len(operations))


@frozen
class NativeChecks:
    """How many operations were compared, in all processes, and what is wrong with which."""

    compared: int
    faults: tuple[str, ...]


def native_checks(
    share: float = 1.0,
    threads: Sequence[int] = (1, 2),
    instructions: Sequence[str] = INSTRUCTIONS,
) -> NativeChecks:
    """Compare that share of all operations, in processes of their own.

    Args:
        share: of all primitives with all arguments of `VALUES`, drawn at random but always the
            same; the kind that is known to fail is always there.
        threads: how many PyTorch takes, each in turn.
        instructions: that oneDNN may use, each in turn (its ``ONEDNN_MAX_CPU_ISA``); ``DEFAULT``
            are those of this CPU.

    Raises:
        RuntimeError: a process could not work at all; its last words.
    """
    compared, faults = 0, []
    for most in instructions:
        command = [sys.executable, __file__, str(share), *map(str, threads)]
        path = os.pathsep.join(folder for folder in sys.path if folder)
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "ONEDNN_MAX_CPU_ISA": most,
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave their core to others
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        *lines, number = done.stdout.splitlines()
        compared += int(number)
        faults += [f"{line} [{most}]" for line in lines]
    return NativeChecks(compared, tuple(faults))


def main(share: float = 1.0) -> int:
    """Print what is found; 1 where anything is wrong."""
    found = native_checks(share)
    print(*found.faults, f"{found.compared} compared, {len(found.faults)} wrong", sep="\n")
    return min(len(found.faults), 1)


if __name__ == "__main__":
    if len(sys.argv) > 2:  # a process of `native_checks`
        report(float(sys.argv[1]), [int(word) for word in sys.argv[2:]])
    else:
        sys.exit(main(*map(float, sys.argv[1:])))
