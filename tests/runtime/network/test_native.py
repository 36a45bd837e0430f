"""PyTorch's kernels give the right gradients for every convolution that we emit, on this CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from living import OTHERS, PACKAGED, packaged
from torch import nn

from bayesnas.runtime.network.modules import build

TESTS = Path(__file__).parents[2]
# What the faults that are known need; a CPU that has more can be told to take no more.
INSTRUCTIONS = "AVX2"


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("instructions", ["DEFAULT", INSTRUCTIONS])
def test_convolutions_have_the_gradients_of_contiguous_ones(
    threads: int, instructions: str
) -> None:
    if torch.backends.cpu.get_cpu_capability() == instructions:
        pytest.skip("this CPU takes them by default")
    path = os.pathsep.join(str(folder) for folder in (TESTS.parent / ".links", TESTS))
    done = subprocess.run(
        [sys.executable, str(TESTS / "native.py"), str(threads)],
        env={**os.environ, "PYTHONPATH": path, "ONEDNN_MAX_CPU_ISA": instructions},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("162 compared\n", 0), done.stderr


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("name", [*PACKAGED, *OTHERS])
def test_no_plain_convolution_skips_pixels(name: str, scheduled: bool) -> None:
    """Those of 1x1 with a stride are the known fault: they subsample first."""
    module, _ = build(packaged(name).graph, name, 0, scheduled)
    for layer in module.modules():
        if type(layer) is nn.Conv2d and layer.kernel_size == (1, 1):
            assert layer.stride == (1, 1)
