"""A small network compiled, trained and compared, to see that this machine computes rightly."""

from __future__ import annotations

import time
from typing import Final

import torch
from attrs import frozen

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.network.kernels import fault
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.training import sgd

_STEPS: Final = 5
_EXAMPLES: Final = 64
_NEAR: Final = 1e-3  # of the largest output, that single and double precision may differ by


@frozen
class Check:
    """One thing that was tried; ``problem`` is empty where it went well."""

    name: str
    problem: str
    seconds: float


def self_test(device: torch.device) -> list[Check]:
    """Kernels, precision and training on a device, each tried; seconds, longer the first time."""
    checks = []
    for name, test in (("convolutions", _kernels), ("network", _network), ("training", _training)):
        start = time.perf_counter()
        try:
            problem = test(device)
        except Exception as error:
            problem = (str(error).splitlines() or [type(error).__name__])[0]
        checks.append(Check(name, problem, time.perf_counter() - start))
    return checks


def _kernels(device: torch.device) -> str:
    """Those of PyTorch on the CPU, see `kernels.fault`."""
    del device
    found = fault(torch.get_num_threads())
    return f"{found}; networks take a slower way" if found else ""


def _network(device: torch.device) -> str:
    """A network's outputs on a device against those in double precision on the CPU."""
    graph = compile_spec("digits_cell", {"cells": 2, "width": 4}).graph
    inputs = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module = build(graph, "digits_cell", 0)[0].eval()
        here = predict(module.to(device), inputs.to(device)).double().cpu()
        exact = predict(module.double().cpu(), inputs.double())
    difference = float((here - exact).abs().max() / exact.abs().max())
    return "" if difference < _NEAR else f"outputs differ by {difference:.1e} of the largest"


def _training(device: torch.device) -> str:
    """A few steps on one batch of digits: the loss falls."""
    compiled = compile_spec("digits_cell", {"cells": 1, "width": 4})
    data = load_data("digits", compiled.graph)
    part = data.train.first(_EXAMPLES).to(device)
    data = data.to(device)
    module = build(compiled.graph, "digits_cell", 0)[0].to(device).train()
    optimizer = sgd(module.parameters(), 0.1, 0.9, 0.0)
    losses = []
    for _ in range(_STEPS):
        loss = data.task.loss(predict(module, data.normalize(part.inputs)), part.targets)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (
        "" if losses[-1] < losses[0] else f"the loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
    )
