"""Whether PyTorch's convolutions compute rightly on this CPU, found out before they are relied on.

Channels last, some of oneDNN's kernels have given wrong gradients on some CPUs, or ended the
process. A process of its own compares them with float64 ones, once for a machine, a PyTorch and a
number of threads; where they are wrong, networks run contiguous.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Final, TypeAlias

import torch
from attrs import astuple, frozen
from torch import Tensor
from torch.nn.functional import conv2d

from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl.files import cache_folder, write_text

Channels: TypeAlias = tuple[int, int]  # in and out

TOLERANCE: Final = 1e-3  # of the largest number; what is wrong is wrong by a tenth and more
SECONDS: Final = 60  # after which the kernels are taken to hang
_START: Final = 300  # seconds, after which Python and PyTorch will not start any more
_VERSION: Final = 1  # of the table and of what is kept; another one tests again
_BEGUN: Final = "begun"
_KILLED: Final = -9  # by the system, short of memory, or by somebody: it tells nothing of kernels
_RUN: Final = (
    "import sys; sys.path[:] = {path!r}\n"
    "from bayesnas.runtime.network.kernels import main; main({threads}, {table!r})"
)


@frozen
class Kernel:
    """A convolution whose padding is dilation * (kernel // 2), of pixels ``skip`` apart."""

    channels: int
    width: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    skip: int = 1

    def __str__(self) -> str:
        form = f"{self.channels} to {self.width} channels, kernel {self.kernel}"
        return f"{form}, stride {self.stride}, dilation {self.dilation}, {self.groups} groups"

    def __call__(self, z: Tensor, weight: Tensor) -> Tensor:
        """z: [N, channels, H, W]; weight: [width, channels / groups, kernel, kernel]."""
        padding = self.dilation * (self.kernel // 2)
        pixels = z[:, :, :: self.skip, :: self.skip]
        return conv2d(pixels, weight, None, self.stride, padding, self.dilation, self.groups)


# What emitted source runs: a kernel of each kind, at few channels, which oneDNN's tiles do not fit.
TABLE: Final = (
    *(Kernel(channels, 8, 1) for channels in (1, 3, 4, 7, 16)),
    *(Kernel(channels, 8, 1, skip=2) for channels in (2, 3, 4, 5, 6, 7)),
    *(Kernel(channels, 8, 3, stride) for channels, stride in product((3, 4, 16), (1, 2))),
    Kernel(4, 8, 5, 2),
    Kernel(4, 8, 3, 1, dilation=2),
    Kernel(6, 4, 1, groups=2),
    Kernel(6, 4, 3, 2, groups=2),
    *(Kernel(4, 4, kernel, stride, 1, 4) for kernel, stride in product((1, 3, 5), (1, 2))),
    Kernel(16, 16, 3, 1, dilation=2, groups=16),
)
_SIZES: Final = ((6, 8, 8), (5, 7, 9))  # examples, height, width


# ------------------------------------------------------------------------------ what is asked here


def layout(graph: Graph, device: torch.device) -> torch.memory_format:
    """The memory format in which a network runs rightly: channels last, which is fast, if it can.

    The first call on a machine takes seconds, for a process of its own; the later ones none.
    """
    return torch.contiguous_format if fault_of(graph, device) else torch.channels_last


def layout_note(graph: Graph, device: torch.device) -> str:
    """Why a network does not run channels last; empty where it does."""
    if not (fault := fault_of(graph, device)):
        return ""
    return (
        "the network runs contiguous, which is slower: channels last, convolutions of "
        f"PyTorch {torch.__version__} are not to be relied on here ({fault})"
    )


def fault_of(graph: Graph, device: torch.device) -> str:
    """What is wrong with the kernels that a network will use, in words; empty where nothing is."""
    maps = any(len(node.shape or ()) == 3 for node in graph.nodes())
    return fault(torch.get_num_threads()) if maps and device.type == "cpu" else ""


@cache
def fault(threads: int) -> str:
    """What is wrong with convolutions by that many threads, in words; empty where nothing is.

    It is found out once and kept in the user's cache, if that can be written.
    """
    machine = _machine(threads)
    kept = _kept(machine)
    if kept is not None and (known := _read(kept, machine)) is not None:
        return known
    found, certain = find_fault(threads, TABLE)
    if kept is not None and certain:
        with suppress(OSError):
            write_text(kept, json.dumps({"machine": machine, "fault": found}, indent=1) + "\n")
    return found


# ------------------------------------------------------------------------------ what is remembered


def _machine(threads: int) -> list[str]:
    """All that the choice of kernels depends on."""
    told = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if _is_choice(name)]
    capability = torch.backends.cpu.get_cpu_capability()
    versions = [str(_VERSION), torch.__version__, capability, str(threads)]
    return [*versions, platform.system(), platform.machine(), *_processor(), *told]


def _is_choice(name: str) -> bool:
    """Whether a variable of the environment tells PyTorch which kernels to take."""
    return name.startswith(("ONEDNN_", "DNNL_", "ATEN_CPU_"))


def _processor() -> list[str]:
    """The CPU's model and what it can do, as far as the system tells."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        first = file.read(8192).partition("\n\n")[0]  # all of them are alike
        names = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
        return [line for line in first.splitlines() if line.partition("\t")[0].strip() in names]
    return [platform.processor()]


def _kept(machine: Sequence[str]) -> Path | None:
    """The file that remembers what was found on such a machine; None without a home."""
    folder = cache_folder()
    name = f"kernels-{sha256(json.dumps(machine).encode()).hexdigest()[:16]}.json"
    return None if folder is None else folder / name


def _read(path: Path, machine: Sequence[str]) -> str | None:
    """What is remembered; None where that is nothing, or unreadable."""
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text("utf-8"))
        if isinstance(kept, dict) and kept.get("machine") == machine:
            found = kept.get("fault")
            return found if isinstance(found, str) else None
    return None


# ------------------------------------------------------------------------------ the test itself


def find_fault(threads: int, table: Sequence[Kernel]) -> tuple[str, bool]:
    """Compare kernels in a process of its own: what is wrong, and whether that is certain.

    Empty where nothing is. What could not be tested is not to be relied on either.
    """
    rows = [astuple(kernel) for kernel in table]
    command = _RUN.format(path=sys.path, threads=threads, table=rows)
    try:
        done = subprocess.run(
            [sys.executable, "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_START,
            # Threads that wait leave their core to others: on a busy machine all goes faster.
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"they could not be tested: {type(error).__name__}", False
    begun, _, said = done.stdout.partition("\n")
    if begun != _BEGUN:
        reason = (done.stderr.strip().splitlines() or ["the process ended"])[-1]
        return f"they could not be tested: {reason}", False
    if done.returncode == 0:
        return said.strip(), True
    return _ending(done.returncode, done.stderr), done.returncode != _KILLED


def _ending(status: int, stderr: str) -> str:
    """How the process ended that tested the kernels, in words."""
    if status == 1:
        slow = stderr.startswith("Timeout")  # of the watch in `main`
        last = (stderr.strip().splitlines() or ["status 1"])[-1]
        return f"they did not return within {SECONDS} s" if slow else f"they raised {last}"
    how = f"ended with status {status}"
    with suppress(ValueError):
        how = f"died of {signal.Signals(-status).name}"
    return f"the process that tested them {how}"


def main(threads: int, table: Sequence[tuple[int, ...]]) -> None:
    """The process of `find_fault`: prints that it has begun, then what is wrong, if anything."""
    torch.set_num_threads(threads)
    print(_BEGUN, flush=True)
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    print(next(faults([Kernel(*row) for row in table]), ""), flush=True)
    faulthandler.cancel_dump_traceback_later()


def faults(table: Sequence[Kernel]) -> Iterator[str]:
    """The kernels that are wrong channels last, each in words."""
    for kernel in table:
        wrong = largest(error for size in _SIZES for error in _errors(kernel, size))
        if not wrong < TOLERANCE:
            amount = "NaN" if math.isnan(wrong) else f"{wrong:.1%}"
            yield f"wrong by {amount}: {kernel}"


def largest(errors: Iterable[float]) -> float:
    """The largest of some; NaN if any is, which Python's `max` would lose."""
    return float(torch.tensor([*errors], dtype=torch.float64).max())


def _errors(kernel: Kernel, size: tuple[int, int, int]) -> Iterator[float]:
    """Of the output and the gradients in input and weight, as shares of the largest number."""
    generator = torch.Generator().manual_seed(0)
    count, *area = size
    inside = kernel.channels // kernel.groups
    shapes = (count, kernel.channels, *area), (kernel.width, inside, kernel.kernel, kernel.kernel)
    exact = [torch.randn(*shape, generator=generator).double() for shape in shapes]
    quick = [z.float().contiguous(memory_format=torch.channels_last) for z in exact]
    slope: Tensor | None = None
    results = []
    for z, weight in (exact, quick):
        output = kernel(z.requires_grad_(), weight.requires_grad_())
        if slope is None:
            slope = torch.randn(output.shape, generator=generator)
        gradients = torch.autograd.grad(output, (z, weight), slope.to(output.dtype))
        results.append((output.detach(), *gradients))
    for right, number in zip(*results, strict=True):
        yield float((number - right).abs().max() / right.abs().max())
