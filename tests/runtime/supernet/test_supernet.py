"""The supernet at work, against the emitted modules of pruned graphs and derivatives by hand."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from random import Random

import pytest
import torch
from attrs import evolve
from living import with_known_weights
from support import compile_text
from torch import Tensor, nn

from bayesnas.compiler.settings import STRATEGIES, SearchSettings
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.supernet import supernet as supernet_module
from bayesnas.runtime.supernet.supernet import HOLDOUT, Score, Supernet
from bayesnas.runtime.tasks.classification import Classification

CPU = torch.device("cpu")
# Two tied cells; into h[0] what the cell drops at will, into h[1] one of two.
SPACE = compile_text("""\
import "ops/basic.nas"

motif cell(a) -> (out) {
    node h[2]
    a ~> h[0] : conv_bn(1) | conv_bn(3) | skip
    {a, h[0]} ~> h[1] : conv_bn(3) | skip
    retain 1 into h[1]
    out = sum(h)
}

network net(image: [1, 8, 8]; width = 2, cells = 2) -> (y: [3]) {
    stem = image : conv_bn_relu(3, width)
    body = tied chain cell(stem) times cells
    body -> y : dropout(20) >> classifier(3)
}
""")
# Searched up to the output: members may drop all that has weights.
LAST = compile_text("""\
network net(image: [1, 8, 8]) -> (y: [3]) {
    node h
    image -> h : flatten
    h ~> y : linear(3) | linear(4) >> linear(3)
}
""")
MEMBERS = [m for m in member_space(SPACE.graph).members() if any("a->h[0]" in g for g in m)]


def images(count: int) -> Data:
    """Random examples of three classes."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    part = Part(inputs, torch.arange(count) % 3)
    return Data.of("images", Classification(("a", "b", "c")), part, part.subset(torch.arange(3)))


def supernet(count: int = 45, **settings: float | str) -> Supernet:
    chosen = SearchSettings(**{"batch_size": 16, **settings})  # type: ignore[arg-type]
    return Supernet(SPACE.graph, "net", images(count), chosen, 5, CPU)


def trained(steps: int = 4) -> Supernet:
    """With weights and statistics that are not those of the start; it judges all at once."""
    net = supernet()
    net.at_once = evolve(net.at_once, batch_size=64)
    net.total_steps = 20
    for inputs, labels in net.batches(steps):
        net.descend(inputs, labels, net.gates.at(member_space(SPACE.graph).mean()))
    return net


def alone(net: Supernet, kept: Collection[str]) -> nn.Module:
    """The emitted module of these groups alone, with the weights of the supernet."""
    module, _ = build(prune_to(SPACE.graph, frozenset(kept)), "pruned", 0)
    weights = net.module.state_dict()
    module.to(next(net.module.parameters()).dtype)
    module.load_state_dict({name: weights[name] for name in module.state_dict()})
    return module


def gates_alone(kept: Collection[str], weights: dict[str, float]) -> Tensor:
    graph = prune_to(SPACE.graph, frozenset(kept))
    return torch.tensor([weights[edge.searched_gate.group] for edge in graph.searched()])


def assert_same(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]), name


def copied(net: Supernet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.module.state_dict().items()}


# -------------------------------------------------------------------------------------- gates


@pytest.mark.parametrize("seed", range(5))
def test_kept_groups_are_the_pruned_network(seed: int) -> None:
    """A gate of 0 and an operation left out are the same, in sums."""
    net, random = supernet(), Random(seed)
    with_known_weights(net.module)
    kept = random.choice(MEMBERS) | {g for g in net.gates.groups if random.random() < 0.5}
    weights = {group: random.uniform(-1, 1) for group in sorted(kept)}
    gates = net.gates.at(weights).double()
    inputs = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    whole = net.module(inputs, gates)
    net.keep(kept)
    left = net.module(inputs, torch.where(gates == 0, 7.0, gates))  # unseen
    expected = alone(net, kept).eval()(inputs, gates_alone(kept, weights).double())
    assert torch.allclose(left, expected, rtol=0, atol=1e-12)
    assert torch.allclose(left, whole, rtol=0, atol=1e-12)


def test_kept_groups_come_back() -> None:
    net = supernet()
    everything = sorted(net.gates.groups)
    assert net.state()["kept"] == everything
    for kept in (MEMBERS[0], MEMBERS[-1], frozenset[str](), frozenset(net.gates.groups)):
        net.keep(kept)
        assert net.state()["kept"] == sorted(kept)
        pruned = {
            edge.searched_gate.group
            for edge in SPACE.graph.searched()
            if _pruned(net, edge.searched_gate.number)
        }
        assert pruned == net.gates.groups.keys() - kept


def _pruned(net: Supernet, gate: int) -> bool:
    path, candidate = net.emitted.gates[gate]
    return candidate in net.module.get_submodule(path).pruned  # type: ignore[operator]


# -------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("count", [45, 41, 5])  # 36, 33 and 4 train: 3 batches, 2 and a single, 1
@pytest.mark.parametrize("steps", [0, 1, 3, 8])
def test_as_many_batches_as_asked_for(steps: int, count: int) -> None:
    net = supernet(count)
    sizes = [len(labels) for _, labels in net.batches(steps)]
    assert len(sizes) == steps
    assert all(2 <= size <= 16 for size in sizes)


def test_the_held_out_examples_do_not_train() -> None:
    net = supernet()
    assert len(net.held_part) == round(HOLDOUT * 45)
    assert len(net.fit_part) + len(net.held_part) == 45
    seen = torch.cat([net.fit_part.inputs, net.held_part.inputs]).flatten(1)
    assert sorted(seen.tolist()) == sorted(net.data.train.inputs.flatten(1).tolist())
    assert len(net.held_batch(7)[1]) == 7
    assert len(net.held_batch(100)[1]) == len(net.held_part)


def test_images_are_counted() -> None:
    net = supernet()
    gates = net.gates.at(dict.fromkeys(net.gates.groups, 1.0))
    for inputs, labels in net.batches(2):
        net.descend(inputs, labels, gates)
    assert (net.steps, net.trained, net.evaluated) == (2, 32, 0)
    net.gradient(gates, net.fit_part)
    net.curvature(gates, net.sample(net.fit_part, 10))
    assert (net.trained, net.evaluated) == (32, 36 + 10)
    with net.recalibrated(gates):
        net.score(gates)
    assert (net.trained, net.evaluated) == (32, 46 + 36 + 9)
    net.judge(MEMBERS[0])
    assert (net.trained, net.evaluated) == (32, 91 + 45)


def test_operations_left_out_do_not_learn() -> None:
    net = supernet(weight_decay=0, momentum=0)
    net.keep(MEMBERS[0])
    before = copied(net)
    [(inputs, labels)] = net.batches(1)
    net.descend(inputs, labels, net.gates.at(dict.fromkeys(MEMBERS[0], 1.0)))
    learnt = set(alone(net, MEMBERS[0]).state_dict())
    for name, value in net.module.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in learnt), name


def test_gates_get_their_gradient() -> None:
    net = supernet()
    [(inputs, labels)] = net.batches(1)
    weights = net.gates.table(dict.fromkeys(net.gates.groups, 1.0)).requires_grad_()
    net.descend(inputs, labels, net.gates.spread(weights.float()))
    assert weights.grad is not None
    assert (weights.grad != 0).all()


# -------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", ["ggn", "ggn_diagonal"])
def test_the_curvature_is_a_matrix(name: str) -> None:
    net = supernet(curvature=name)
    found = net.curvature(net.gates.at(dict.fromkeys(net.gates.groups, 1.0)), net.fit_part)
    assert found.shape == (14, 14)
    assert found.dtype == torch.float64
    assert (found.diagonal() > 0).all()
    assert bool((found == torch.diag(found.diagonal())).all()) == (name == "ggn_diagonal")


# -------------------------------------------------------------------------------------- judgement


def norms(net: Supernet) -> list[nn.BatchNorm2d]:
    return [m for m in net.module.modules() if isinstance(m, nn.BatchNorm2d)]


def test_recalibrated_statistics_are_those_of_these_gates() -> None:
    net = trained()
    stem: nn.Sequential = net.module.stem  # type: ignore[assignment]
    with net.recalibrated(net.gates.at(dict.fromkeys(net.gates.groups, 0.5))), torch.no_grad():
        arriving = stem[0](net.data.normalize(net.fit_part.inputs))
        assert torch.allclose(stem[1].running_mean, arriving.mean(dim=(0, 2, 3)), atol=1e-6)
        assert torch.allclose(stem[1].running_var, arriving.var(dim=(0, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("most", [6, 12, 16, 29])
def test_recalibration_is_a_mean_over_examples(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are dealt into batches; of 36 examples 30 are taken, one left alone is not."""
    monkeypatch.setattr(supernet_module, "JUDGEMENT", most)
    monkeypatch.setattr(supernet_module, "RECALIBRATION", 30)
    net = trained()
    stem: nn.Sequential = net.module.stem  # type: ignore[assignment]
    before = net.evaluated
    with net.recalibrated(net.gates.at(dict.fromkeys(net.gates.groups, 0.5))), torch.no_grad():
        arriving = stem[0](net.data.normalize(net.fit_part.inputs[: 29 if most == 29 else 30]))
        assert torch.allclose(stem[1].running_mean, arriving.mean(dim=(0, 2, 3)), atol=1e-6)
        variances = torch.stack([part.var(dim=(0, 2, 3)) for part in arriving.split(most)])
        shares = torch.tensor([len(part) for part in arriving.split(most)]) / len(arriving)
        assert torch.allclose(stem[1].running_var, shares @ variances, atol=1e-5)
    assert net.evaluated == before + 30


@pytest.mark.parametrize("fails", [False, True])
def test_the_old_statistics_come_back_exactly(fails: bool) -> None:
    net = trained()
    before, momenta = copied(net), [norm.momentum for norm in norms(net)]
    gates = net.gates.at(dict.fromkeys(MEMBERS[0], 1.0))
    if fails:
        with pytest.raises(KeyError), net.recalibrated(gates):
            raise KeyError
    else:
        with net.recalibrated(gates):
            stem = net.module.state_dict()["stem.1.running_mean"]
            assert not torch.equal(stem, before["stem.1.running_mean"])
    assert_same(before, net.module.state_dict())
    assert [norm.momentum for norm in norms(net)] == momenta == [0.1] * len(momenta)


def test_the_old_statistics_come_back_after_a_failed_recalibration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = trained()
    before, momenta = copied(net), [norm.momentum for norm in norms(net)]

    def failing(*_: object) -> Tensor:
        raise MemoryError

    monkeypatch.setattr(supernet_module, "predict", failing)
    with pytest.raises(MemoryError):
        net.judge(MEMBERS[0])
    assert_same(before, net.module.state_dict())
    assert [norm.momentum for norm in norms(net)] == momenta
    assert net.state()["kept"] == sorted(net.gates.groups)


def by_hand(net: Supernet, member: Member) -> Score:
    """A network of its own, its statistics from one pass, its answers counted one by one."""
    module = alone(net, member)
    gates = torch.ones(len(prune_to(SPACE.graph, member).searched()))
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = 1.0
    loss, right = 0.0, 0
    with torch.no_grad():
        module.train()(net.data.normalize(net.fit_part.inputs), gates)
        module.eval()
        for image, label in zip(net.held_part.inputs, net.held_part.targets.tolist(), strict=True):
            [answer] = module(net.data.normalize(image[None]), gates).double()
            loss -= float(answer.log_softmax(dim=0)[label])
            right += int(answer.argmax()) == label
    return Score(loss / len(net.held_part), right / len(net.held_part))


@pytest.mark.parametrize("number", range(0, len(MEMBERS), 4))
def test_a_judged_member_is_a_network_of_its_own(number: int) -> None:
    net, member = trained(), MEMBERS[number]
    found, expected = net.judge(member), by_hand(net, member)
    assert found.loss == pytest.approx(expected.loss, abs=1e-5)
    assert found.quality == expected.quality
    before = net.evaluated
    losses = net.losses(member, net.held_part, len(net.fit_part))
    assert float(losses.mean()) == pytest.approx(found.loss, abs=1e-6)
    assert net.evaluated == before + len(net.held_part) + len(net.fit_part)
    first = net.losses(member, net.held_part.first(3), len(net.fit_part))
    torch.testing.assert_close(first, losses[:3], atol=1e-6, rtol=0)


def test_a_judgement_leaves_nothing_behind() -> None:
    net = trained()
    net.keep([*MEMBERS[0], *MEMBERS[5]])
    before, kept = copied(net), net.state()["kept"]
    first = net.judge(MEMBERS[3])
    assert_same(before, net.module.state_dict())
    assert net.state()["kept"] == kept == sorted({*MEMBERS[0], *MEMBERS[5]})
    assert net.module.training
    assert net.judge(MEMBERS[3]) == first


# -------------------------------------------------------------------------------------- resumed


def work(net: Supernet) -> list[float]:
    """Steps and draws of all kinds."""
    losses = []
    for number, (inputs, labels) in enumerate(net.batches(4)):
        net.keep(MEMBERS[number])
        losses.append(
            net.descend(inputs, labels, net.gates.at(dict.fromkeys(MEMBERS[number], 1.0)))
        )
    held, _ = net.held_batch(5)
    part = net.sample(net.fit_part, 7)
    judged = net.judge(MEMBERS[2])
    return [*losses, float(held.sum()), float(part.inputs.double().sum()), judged.loss]


def test_a_restored_supernet_goes_on_alike() -> None:
    net = supernet()
    net.total_steps = 20
    work(net)
    buffer = io.BytesIO()
    torch.save(net.state(), buffer)
    expected = work(net)
    again = supernet()
    again.total_steps = 20
    torch.manual_seed(999)
    again.restore(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert work(again) == expected
    assert_same(net.module.state_dict(), again.module.state_dict())
    for name in ("steps", "trained", "evaluated", "kept"):
        assert net.state()[name] == again.state()[name]


def test_the_seed_decides_everything() -> None:
    def run(seed: int) -> list[float]:
        chosen = SearchSettings(batch_size=16)
        return work(Supernet(SPACE.graph, "net", images(45), chosen, seed, CPU))

    torch.manual_seed(1)
    first = run(0)
    torch.manual_seed(2)
    assert run(0) == first
    assert run(1) != first


def test_a_step_without_operations_on_the_way_learns_nothing() -> None:
    net = Supernet(LAST.graph, "net", images(45), SearchSettings(batch_size=16), 5, CPU)
    before = [parameter.detach().clone() for parameter in net.module.parameters()]
    net.keep(())
    for inputs, labels in net.batches(1):
        loss = net.descend(inputs, labels, net.gates.at({}))
    assert loss == pytest.approx(torch.tensor(3.0).log().item())
    assert all(map(torch.equal, net.module.parameters(), before))


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "largest"])
def test_a_search_whose_members_may_be_empty(name: str, tmp_path: Path) -> None:
    settings = SearchSettings(strategy=name, batch_size=8, rounds=2, epochs=2, warmup_epochs=1)
    search(LAST, settings, RunOptions(images(45), tmp_path / "run", device="cpu"))
    assert "linear" in (tmp_path / "run" / "pruned.nas").read_text("utf-8")
