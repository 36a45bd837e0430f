"""A small trained-like network with the problem that priors are given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from living import images, module_of, with_known_weights
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.runtime.weights.priors.interface import Prior, Problem, inputs_of
from bayesnas.runtime.weights.removal import sliced_tensors, state_paths
from bayesnas.runtime.weights.subject import Subject

NET = """\
network net(image: [1, 8, 8]; width = 5) -> (logits: [3]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stem : conv(3, 2 * width, bias = 1) >> bn >> relu >> conv(1, width) >> bn
    b = sum(stem, a)
    b -> logits : relu >> flatten >> linear(3)
}
"""
EXAMPLES = 60


def problem(
    steps: int = 40, excess: Callable[[Kept], float] = lambda _: 1.0, seed: int = 0
) -> tuple[Compiled, Slices, Problem]:
    """A network in float64 with known weights, for striped images."""
    compiled = compile_text(NET)
    slices = coupled_slices(compiled.graph)
    module = with_known_weights(module_of(emit_torch(compiled.graph, "spec.nas")))
    data = images(EXAMPLES)

    def batches() -> list[tuple[Tensor, Tensor]]:
        inputs = data.normalize(data.train.inputs).double()
        return [*zip(inputs.split(16), data.train.targets.split(16), strict=True)]

    paths = state_paths(compiled)
    subject = Subject(
        module,
        (*sliced_tensors(compiled, slices),),
        slices.removable,
        generator=torch.Generator().manual_seed(seed),
    )
    inputs = inputs_of(subject, slices, paths)
    return (
        compiled,
        slices,
        Problem(subject, data.task, batches, EXAMPLES, 0.01, inputs, steps, excess),
    )


def steps(given: Problem, prior: Prior | None, count: int, rate: float = 0.05) -> None:
    """Plain training steps, under a prior if there is one."""
    module = given.subject.module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9)
    done = 0
    while done < count:
        for inputs, targets in given.batches():
            loss = given.task.loss(module(inputs), targets)
            penalty = prior.penalty() if prior else None
            (loss if penalty is None else loss + penalty).backward()
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
            if prior:
                prior.stepped(rate)
            done += 1


@torch.no_grad()
def silence(given: Problem, channel: int) -> None:
    """Make one channel of the first strand useless: nothing that reads it has a weight."""
    strand = given.subject.strands[0]
    weights = dict(given.subject.module.named_parameters())
    for tensor in given.subject.sliced:
        for k, axis in enumerate(tensor.axes):
            start = 0
            for run in axis:
                if k > 0 and run.strand is strand and tensor.name in weights:
                    first = start + channel * run.stretch
                    weights[tensor.name].movedim(k, 0)[first : first + run.stretch] = 0
                start += len(run)
