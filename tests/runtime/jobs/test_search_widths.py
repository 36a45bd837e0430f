"""Operations and widths searched together, end to end: budgets, files, resuming, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from coupled import twin
from living import lines, striped, without_seconds, write_tiny
from stops import stopped_in_round
from support import assert_style

from bayesnas.cli import main
from bayesnas.compiler.graph.cost import graph_cost, unmet_budgets
from bayesnas.compiler.graph.model import BudgetConstraint, CostName
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.compiler.slices.counts import Kept, kept_cost
from bayesnas.compiler.space.choices import Member, MemberSpace, member_space
from bayesnas.compiler.space.members import prune_to
from bayesnas.compiler.space.prices import chosen
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.jobs.compression.compress import compress
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.search.result import SearchResult
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.network.modules import evaluating
from bayesnas.runtime.report.page import write_report
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.widths import decisions
from bayesnas.runtime.strategies.widths.channels import View
from bayesnas.runtime.strategies.widths.decisions import Look, Widths
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.weights.choice import Share


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_spec(write_tiny(tmp_path_factory.mktemp("spec")), {"width": 4})


pytestmark = pytest.mark.usefixtures("no_pictures")


def run(
    space: Compiled,
    folder: Path,
    out: Path,
    budgets: dict[CostName, int] | None = None,
    resume: bool = False,
    **settings: float | str,
) -> SearchResult:
    joint: dict[str, float | str] = {"strategy": "bayesnas", "compress": "yes"}
    joint |= {"curvature_examples": 16}
    chosen = make_settings(SearchSettings, {**space.settings("search"), **joint, **settings})
    options = RunOptions(f"folder:{folder}", out, seed=3, device="cpu", resume=resume)
    limits = tuple(BudgetConstraint(cost, limit) for cost, limit in (budgets or {}).items())
    return search(Space(space, budgets=limits), chosen, options)


def test_a_cell_with_its_own_widths_is_found(space: Compiled, folder: Path, tmp_path: Path) -> None:
    whole = graph_cost(space.graph)
    limit = graph_cost(compile_spec(write_tiny(tmp_path), {"width": 2}).graph).flops // 2
    result = run(space, folder, tmp_path / "run", {"flops": limit})
    found = compile_spec(tmp_path / "run" / "pruned.nas")
    assert graph_cost(found.graph) == result.found
    assert 0.7 * limit < result.found.flops <= limit < whole.flops / 4
    assert not found.graph.searched()
    layers = lines(tmp_path / "run" / "layers.jsonl")
    assert layers[0]["channels"] == 4
    assert sum(row["channels_kept"] for row in layers) < sum(row["channels"] for row in layers)
    slices = lines(tmp_path / "run" / "slices.jsonl")
    assert {row["kept"] for row in slices} == {True, False}
    assert all(row["gamma"] >= 0 for row in slices)
    told = json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["shared"]
    report, _ = evaluate_run(RunOptions("", tmp_path / "run", device="cpu"))
    assert report.score.loss == pytest.approx(told["test_loss"])
    again = compress(
        tmp_path / "run",
        Compression((Share("flops", 50),)),
        {"epochs": 1},
        RunOptions("", tmp_path / "half", 1, "cpu"),
    )
    assert again.before == result.found
    page = tmp_path / "page.html"
    write_report([tmp_path / "run"], page)
    assert "The widths" in page.read_text("utf-8")
    trained = train(
        found,
        TrainSettings(epochs=1, batch_size=16),
        RunOptions(f"folder:{folder}", tmp_path / "train", 1, "cpu"),
    )
    assert trained.flops == result.found.flops


def test_without_a_budget_channels_go_by_entropy(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    result = run(space, folder, tmp_path, lambda_w=1000, prune_fraction=0.3)
    slices = lines(tmp_path / "slices.jsonl")
    assert 0 < sum(row["kept"] for row in slices) < len(slices)
    assert graph_cost(compile_spec(tmp_path / "pruned.nas").graph) == result.found


def test_that_no_channel_went_is_said(
    space: Compiled, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"prune_fraction": 1e-3, "rounds": 1, "epochs": 1}
    run(space, folder, tmp_path / "free", **more)
    assert "note: no channel went: without a budget those go whose" in capsys.readouterr().err
    run(space, folder, tmp_path / "wide", {"flops": 10**9}, **more)
    assert "note: no channel went: what was found is inside the budget" in capsys.readouterr().err


def test_operations_and_channels_are_weighed_by_one_evidence(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The more of a rise lasts, the less the loss rises, and the less operations are worth."""
    best, rounds = Widths._best, list[list[tuple[float, float]]]()

    def watched(
        self: Widths,
        space: MemberSpace,
        worth: Mapping[str, float],
        view: View,
        look: Look,
        budgets: Sequence[BudgetConstraint],
    ) -> tuple[Member, Kept]:
        found = []
        for lasting in (1e9, decisions.LASTING, 0.0):
            with monkeypatch.context() as patch:
                patch.setattr(decisions, "LASTING", lasting)
                member, kept = best(self, space, worth, view, look, budgets)
            graph = prune_to(self.net.graph, member)
            turns = self._turns(view, graph, look.alive, budgets)
            turns.until(0, look.rises.copy())
            assert turns.kept() == kept
            assert not unmet_budgets(kept_cost(graph, view.slices, kept), budgets)
            found.append((sum(worth.get(o, 0.0) for o in chosen(space, member)), turns.risen))
        rounds.append(found)
        return member, kept

    monkeypatch.setattr(Widths, "_best", watched)
    run(space, folder, tmp_path, {"flops": 6000})
    for least, now, most in rounds:
        assert least[0] <= now[0] <= most[0]
        assert least[1] <= now[1] <= most[1]
        share = decisions.LASTING
        assert now[0] - share * now[1] >= max(e - share * r for e, r in (least, most)) - 1e-12
    assert any(least != most for least, _, most in rounds)


def test_several_operations_may_stay(space: Compiled, folder: Path, tmp_path: Path) -> None:
    result = run(space, folder, tmp_path, {"flops": 12000}, discretize="no", lambda_w=1e-6)
    assert result.found.flops <= 12000
    assert result.operations_left > 4


def test_an_interrupted_search_ends_alike(space: Compiled, folder: Path, tmp_path: Path) -> None:
    whole = run(space, folder, tmp_path / "whole", {"flops": 6000})
    with stopped_in_round(2), pytest.raises(KeyboardInterrupt):
        run(space, folder, tmp_path / "cut", {"flops": 6000})
    again = run(space, folder, tmp_path / "cut", {"flops": 6000}, resume=True)
    assert again.found == whole.found
    for name in ("pruned.nas", "slices.jsonl", "layers.jsonl"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()
    ends = [without_seconds(lines(tmp_path / name / "history.jsonl")) for name in ("whole", "cut")]
    assert ends[0] == ends[1]


def test_what_has_gone_has_no_effect_and_stays_so(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Widths, Supernet]] = []
    settle = Widths.settle

    def kept(self: Widths, groups: frozenset[str], gates: torch.Tensor) -> None:
        seen.append((self, self.net))
        settle(self, groups, gates)

    monkeypatch.setattr(Widths, "settle", kept)
    run(space, folder, tmp_path, {"flops": 6000})
    [(widths, net)] = seen
    module, (inputs, targets) = net.module.eval(), net.held_batch(4)
    gates = torch.ones(len(net.gates))
    view = widths.channels.view(frozenset(net.gates.groups))
    before = module(inputs, gates)
    gone = {s: ~row for s, row in widths.channels.alive(view).items()}
    assert any(bool(row.any()) for row in gone.values())
    weights = dict(module.named_parameters())
    for sliced in view.subject.sliced:  # the filters of what has gone may be anything
        start = 0
        for one in sliced.axes[sliced.maker] if len(sliced.axes) > 1 else ():
            if one.strand in gone and one.stretch == 1:
                places = start + gone[one.strand].nonzero()[:, 0]
                weights[sliced.name].data.movedim(sliced.maker, 0)[places] += 7.0
            start += len(one)
    torch.testing.assert_close(module(inputs, gates), before)
    net.descend(inputs, targets, gates)
    after = widths.channels.alive(view)
    assert all(torch.equal(~gone[s], after[s]) for s in gone)


def outputs(module: torch.nn.Module, *given: torch.Tensor) -> torch.Tensor:
    with evaluating(module), torch.no_grad():
        result: torch.Tensor = module(*given)
    return result


def test_of_two_channels_that_stand_for_each_other_one_goes(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the supernet computes stays as it is, but for the ridge."""
    seen: list[Widths] = []
    monkeypatch.setattr(Widths, "settle", lambda self, *_: seen.append(self))
    more = {"discretize": "no", "rounds": 1, "epochs": 1}
    run(space, folder, tmp_path, {"flops": 10**9}, **more)
    [widths] = seen
    net, groups = widths.net, frozenset(widths.net.gates.groups)
    module, (inputs, _) = net.module, net.held_batch(16)
    view, gates = widths.channels.view(groups), torch.ones(len(net.gates))
    for strand in view.subject.strands:
        twin(module, view.subject.sliced, strand)
    whole = kept_cost(view.graph, view.slices, {}).flops
    widths.budgets = (BudgetConstraint("flops", whole - 1),)
    module.train()  # as between two steps
    with net.recalibrated(gates):
        before = outputs(module, inputs, gates)
        widths.update(member_space(net.graph), {}, gates, 1)
        after = outputs(module, inputs, gates)
    torch.testing.assert_close(after, before, rtol=0, atol=0.02)
    assert module.training
    gone = [row for row in widths.channels.alive(view).values() if not row.all()]
    assert [row.tolist().count(False) for row in gone] == [1]
    assert not gone[0][[0, -1]].all()


def test_what_comes_back_takes_nothing_over(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads zero until it is learned anew."""
    seen: list[Widths] = []
    monkeypatch.setattr(Widths, "settle", lambda self, *_: seen.append(self))
    run(space, folder, tmp_path, {"flops": 12000}, discretize="no", rounds=1, epochs=1)
    [widths] = seen
    net, groups = widths.net, frozenset(widths.net.gates.groups)
    view, gates = widths.channels.view(groups), torch.ones(len(net.gates))
    alive, look = widths.channels.alive(view), widths._look(view, gates)
    strand = next(s for s, row in alive.items() if 2 <= int(row.sum()) < len(row))
    dead, first, *rest = (*(~alive[strand]).nonzero()[:1, 0], *alive[strand].nonzero()[:, 0])
    kept = widths.channels.kept(view)
    states = []
    for back in ([], [int(dead)]):
        net.module.load_state_dict(look.layers.state)
        widths.channels.cut(view, {**kept, strand: sorted([*map(int, rest), *back])}, look.layers)
        states.append({name: w.clone() for name, w in net.module.state_dict().items()})
    assert not alive[strand][dead]
    assert alive[strand][first]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


VECTORS = """\
choice ops = (linear(8) >> bn >> relu) | (linear(8) >> bn >> tanh)
network vectors(x: [3]) -> (y: [2]) {
    node d
    stem = x : linear(8) >> bn
    stem ~> d : ops
    d -> y : linear(2)
}
search { warmup_epochs = 1; rounds = 1; epochs = 1; batch_size = 16; curvature_examples = 17 }
"""


FIXED = """\
choice ops = linear(2) | (relu >> linear(2))
network fixed(x: [3]) -> (y: [2]) {
    node d
    x ~> d : ops
    d -> y : tanh
}
search { warmup_epochs = 1; rounds = 1; epochs = 1; batch_size = 16 }
"""


def search_table(text: str, folder: Path, *more: str) -> Path:
    """The spec of what `search --compress` finds for a table of three columns and two classes."""
    rows = [f"{k % 5},{k % 3},{k % 7},{'ab'[k % 2]}" for k in range(80)]
    (folder / "table.csv").write_text("\n".join(["a,b,c,label", *rows]))
    (folder / "spec.nas").write_text(text)
    data = ["--data", f"csv:{folder / 'table.csv'}", "--target", "label"]
    command = ["search", str(folder / "spec.nas"), *data, "--compress", "-o", str(folder / "out")]
    assert main([*command, "--strategy", "bayesnas", *more]) == 0
    return folder / "out" / "pruned.nas"


def test_a_last_batch_of_one_example(tmp_path: Path) -> None:
    """Batch normalisation of vectors has no statistics of one."""
    found = compile_spec(search_table(VECTORS, tmp_path, "--budget", "parameters=90"))
    assert graph_cost(found.graph).parameters <= 90


@pytest.mark.parametrize("more", [[], ["--budget", "parameters=100"]])
def test_a_space_whose_channels_all_stay(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert graph_cost(compile_spec(search_table(FIXED, tmp_path, *more)).graph).parameters == 8
    assert "note: no channel went" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--compress", "--proxy", "width=1"], "D423"),
        (["--compress", "--budget", "flops=10"], "D604"),
        (["--compress", "--strategy", "darts"], "D232"),
        (["--option", "compress=yes", "--strategy", "posterior"], "D232"),
    ],
)
def test_refusals(
    arguments: list[str],
    code: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = write_tiny(tmp_path)
    command = ["search", str(spec), "--data", f"folder:{folder}", "-o", str(tmp_path / "out")]
    assert main([*command, *arguments]) == 2
    told = capsys.readouterr().err
    assert f"error[{code}]" in told
    assert not (tmp_path / "out").exists()


def test_the_command_line_takes_a_strategy_that_can(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = write_tiny(tmp_path)
    command = ["search", str(spec), "--data", f"folder:{folder}", "-o", str(tmp_path / "out")]
    options = ["--option", "rounds=1", "--option", "epochs=0", "--option", "warmup_epochs=1"]
    assert main([*command, "--compress", "--budget", "parameters=1K", *options]) == 0
    said = capsys.readouterr()
    assert "`bayesnas`" in said.out
    assert (
        "note: widths are searched by `bayesnas`, or with `--strategy evidence`; `posterior` keeps "
        "all channels\n"
    ) in said.err
    settings = json.loads((tmp_path / "out" / "settings.json").read_text("utf-8"))["settings"]
    assert (settings["strategy"], settings["compress"]) == ("bayesnas", "yes")


def test_too_narrow_is_said_with_what_there_is(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path, {"parameters": 20})
    [diagnostic] = caught.value.diagnostics
    assert_style(diagnostic)
    assert diagnostic.message == "no member of the space is inside the budget, however narrow"
    assert "budget: parameters <= 20" in diagnostic.notes
