"""`pgnas` of channels: what is noise goes, drawn masks meet their budget, the best is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from living import images, striped
from problems import EXAMPLES, problem, steps
from support import compile_text

from bayesnas.cli import main
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.runtime.jobs.compression.bounds import Bounds, Judge
from bayesnas.runtime.jobs.compression.removal import Removal
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.weights.choice import Limits
from bayesnas.runtime.weights.priors.dropout import Dropout
from bayesnas.runtime.weights.removal import sliced_tensors

NOISY = (1, 4)  # of the channels of the first strand


def planted() -> tuple[Dropout, Bounds, BudgetConstraint]:
    """A trained network, two of whose channels are read as noise, and what it learns of them."""
    compiled, slices, given = problem()
    steps(given, None, 60)
    module, subject, strand = given.subject.module, given.subject, slices.removable[0]
    noise = torch.tensor([float(k in NOISY) for k in range(strand.size)]).double()
    with torch.no_grad():
        weights = dict(module.named_parameters())
        for name, where in subject.spread({strand: noise}).items():
            drawn = torch.randn(weights[name].shape, generator=subject.generator)
            weights[name].add_(4 * where * drawn)
    prior = Dropout(given)
    for _ in range(25):
        for inputs, targets in given.batches():
            (given.task.loss(module.train()(inputs), targets) + prior.penalty()).backward()
            prior.stepped(0.0)
    limit = BudgetConstraint("parameters", graph_cost(compiled.graph).parameters * 3 // 4)
    judge = Judge("pgnas", Limits(), (limit,), 0)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return prior, Bounds(compiled, judge, state, weights), limit


def test_noise_goes_and_every_mask_meets_the_budget() -> None:
    prior, bounds, limit = planted()
    ours = prior.subject.strands
    drop = prior.columns()["drop"][ours[0]]
    others = [k for k in range(ours[0].size) if k not in NOISY]
    assert float(drop[[*NOISY]].min()) > float(drop[others].max())

    theirs = dict(zip(ours, bounds.strands, strict=True))
    samples = [{theirs[s]: row for s, row in odds.items()} for odds in prior.samples(12)]
    masks = [*bounds.masks(samples, [limit])]
    graph = bounds.compiled.graph
    assert len({str([*mask.values()]) for mask in masks}) > 6
    assert all(kept_cost(graph, bounds.slices, m).parameters <= limit.limit for m in masks)

    data = images(EXAMPLES)
    half = data.train.subset(torch.arange(0, EXAMPLES, 2))
    judged = Removal(bounds, data, 16).masks_judged(masks, bounds.state, data.train, half)
    assert [mask.loss for mask in judged] == sorted(mask.loss for mask in judged)
    assert not {*NOISY} & {*judged[0].kept[theirs[ours[0]]]}


def test_masks_are_judged_once_what_stays_takes_over() -> None:
    """Without its twin a channel does for both, so that the loss is that of the whole network."""
    bounds, _ = unbound()
    strand = bounds.strands[0]
    state = {name: tensor.clone() for name, tensor in bounds.state.items()}
    for tensor in sliced_tensors(bounds.compiled, bounds.slices):
        if any(run.strand is strand for run in tensor.axes[tensor.maker]):
            values = state[tensor.name].movedim(tensor.maker, 0)
            values[-1] = values[0]
    whole: Kept = {s: range(s.size) for s in bounds.strands}
    masks: list[Kept] = [whole, {**whole, strand: range(strand.size - 1)}]
    data = images(EXAMPLES)
    one, other = Removal(bounds, data, 16).masks_judged(masks, state, data.train, data.train)
    assert one.loss == pytest.approx(other.loss, rel=0.01)
    plain = [*masks[1].values()]
    assert plain in ([*one.kept.values()], [*other.kept.values()])


def test_below_the_budget_a_mask_is_as_it_was_drawn() -> None:
    bounds, limit = unbound()
    odds = {s: torch.linspace(-1, 1, s.size) for s in bounds.strands}
    [mask] = bounds.masks([odds], [limit])
    assert {s: [k for k in range(s.size) if odds[s][k] > 0] for s in odds} == mask


def unbound() -> tuple[Bounds, BudgetConstraint]:
    """Bounds that bind nothing."""
    compiled, _, given = problem()
    limit = BudgetConstraint("parameters", 10**6)
    module = given.subject.module
    judge = Judge("pgnas", Limits(), (limit,), 0)
    names = dict(module.named_parameters())
    return Bounds(compiled, judge, module.state_dict(), names), limit


NET = """\
network net(image: [1, 8, 8]; width = 6) -> (logits: [3]) {
    hidden = image : conv(3, width) >> bn >> relu >> conv(3, width) >> bn >> relu
    hidden -> logits : flatten >> linear(3)
}

train { epochs = 2; batch_size = 16 }
"""


@pytest.mark.usefixtures("no_pictures")
def test_the_command_tells_of_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.nas").write_text(NET, encoding="utf-8")
    data = f"folder:{striped(tmp_path / 'data')}"
    line = "compress net.nas -o out --budget flops=50% --importance pgnas --device cpu"
    line += " --option draws=5"
    assert main([*line.split(), "--data", data]) == 0
    told = json.loads(Path("out/result.json").read_text("utf-8"))["compression"]
    losses = [mask["loss"] for mask in told["masks"]]
    assert 2 <= len(losses) <= 6
    assert losses == sorted(losses)
    assert told["masks"][0]["flops"] == told["removed"]["flops"]
    assert all(mask["flops"] <= told["before"]["flops"] // 2 for mask in told["masks"])
    judged = json.loads(Path("out/steps/1_judged/settings.json").read_text("utf-8"))
    assert judged["settings"]["holdout"] == 0.2
    assert main([*line.split(), "--data", data, "--resume"]) == 0
    again = json.loads(Path("out/result.json").read_text("utf-8"))["compression"]
    assert again["masks"] == told["masks"]


def test_what_is_left_after_channels_went_costs_what_it_costs() -> None:
    """With operations that have no weights of their own, and none masked."""
    compiled = compile_text("""network net(tokens: [8]) -> (next: [50, 8]) {
    x = tokens : embedding(50, 12) >> conv(3, 10, causal = 1) >> relu >> conv(3, 12, causal = 1)
    x -> next : unembedding(50)
}
""")
    module, _ = build(compiled.graph, "net.nas", 0)
    state, names = module.state_dict(), dict(module.named_parameters())
    judge = Judge("magnitude", Limits(), (BudgetConstraint("flops", 10**6),), 0, ("weight",))
    bounds = Bounds(compiled, judge, state, names)
    for size in (1, 4, 10):
        kept = {s: range(min(size, s.size)) for s in bounds.strands}
        counts = {n: int(z.sum()) for n, z in bounds.survivors(kept).items()}
        prices = bounds.left(kept)
        found = prices.cost({name: counts[name] for name in prices.uses})
        assert found == kept_cost(compiled.graph, bounds.slices, kept)
