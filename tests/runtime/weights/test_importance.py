"""Scores of channels, against gates that are put before what reads them."""

from __future__ import annotations

import torch
from attrs import evolve
from coupled import TEXTS
from living import inputs_of, module_of, with_known_weights
from support import compile_text, network

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.groups import Slices, coupled_slices
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.normalisation import norms_of
from bayesnas.runtime.weights.importance import IMPORTANCES, magnitude, norm_scale, taylor
from bayesnas.runtime.weights.removal import masked, sliced_tensors
from bayesnas.runtime.weights.subject import Subject


def subject_of(text: str) -> tuple[Compiled, Slices, Subject]:
    """A network with known weights; its loss is the mean of its squared outputs."""
    compiled = compile_text(text)
    slices = coupled_slices(compiled.graph)
    module = with_known_weights(module_of(emit_torch(compiled.graph, "spec.nas")))
    inputs = inputs_of(compiled.graph)
    subject = Subject(
        module,
        (*sliced_tensors(compiled, slices),),
        slices.removable,
        lambda: ((module(*inputs) ** 2).mean() for _ in range(2)),
    )
    return compiled, slices, subject


def test_every_importance_scores_every_channel() -> None:
    for name, text in TEXTS.items():
        if name != "vectors":  # which has two outputs
            _, slices, subject = subject_of(text)
            for importance in IMPORTANCES.values():
                shapes = {strand: row.shape for strand, row in importance(subject).items()}
                assert shapes == {strand: (strand.size,) for strand in slices.removable}


def test_the_largest_weights_are_kept_first() -> None:
    _, slices, subject = subject_of(network("x -> y : conv(3, 5) >> bn >> conv(1, 4)"))
    [strand] = slices.removable
    with torch.no_grad():
        for factor, channel in ((0.0, 3), (100.0, 1)):
            subject.module.y[0].weight[channel] *= factor  # type: ignore[union-attr, index]
            subject.module.y[1].weight[channel] *= factor  # type: ignore[union-attr, index]
            subject.module.y[1].bias[channel] *= factor  # type: ignore[union-attr, index]
            subject.module.y[2].weight[:, channel] *= factor  # type: ignore[union-attr, index]
    scores = magnitude(subject)[strand]
    assert (int(scores.argmin()), int(scores.argmax())) == (3, 1)
    assert float(scores.min()) == 0
    torch.testing.assert_close(scores.mean(), torch.ones((), dtype=torch.float64))


def test_the_size_of_a_filter_is_that_of_what_makes_it() -> None:
    _, _, subject = subject_of(network("x -> y : conv(3, 5) >> bn >> conv(1, 4)"))
    filters = evolve(subject, readers=False)
    before = magnitude(filters)
    with torch.no_grad():
        subject.module.y[2].weight[:, 1] *= 100  # type: ignore[union-attr, index]
    [scores], [same] = magnitude(filters).values(), before.values()
    torch.testing.assert_close(scores, same)
    assert int(next(iter(magnitude(subject).values())).argmax()) == 1


def test_taylor_is_the_derivative_in_a_gate() -> None:
    """Of a network that is linear in the gate: what the output changes by without the channel."""
    text = network("x -> y : conv(3, 5) >> bn >> conv(1, 4)")
    compiled, slices, subject = subject_of(text)
    [strand] = slices.removable
    inputs, module = inputs_of(compiled.graph), subject.module
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    linear = Subject(module, subject.sliced, subject.strands, lambda: [module(*inputs).mean()] * 1)
    with torch.no_grad():
        whole = module(*inputs).mean()
    scores, changes = taylor(linear)[strand], torch.empty(5, dtype=torch.float64)
    for channel in range(5):
        kept = {strand: [k for k in range(5) if k != channel]}
        module.load_state_dict(masked(compiled, state, slices, kept))
        with torch.no_grad():
            changes[channel] = (whole - module(*inputs).mean()).abs()
        module.load_state_dict(state)
    torch.testing.assert_close(scores, changes / changes.mean())


def test_scales_are_those_of_normalisations_alone() -> None:
    compiled = compile_text("""network net(image: [3, 6, 6]) -> (logits: [4]) {
    x = image : conv(1, 6) >> depthwise_conv(3) >> bn >> relu
    x -> logits : global_avg_pool >> linear(4)
}
""")
    slices = coupled_slices(compiled.graph)
    module, _ = build(compiled.graph, "net.nas", 0)
    subject = Subject(module, (*sliced_tensors(compiled, slices),), slices.removable)
    scales = torch.tensor([3.0, 0.01, 1.0, -1.0, 1.0, 1.0])
    with torch.no_grad():
        for norm in norms_of(module):
            norm.weight.copy_(scales)
    [row] = norm_scale(subject).values()
    torch.testing.assert_close(row, scales.abs())
