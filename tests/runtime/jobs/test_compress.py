"""Trained networks made smaller, end to end: costs, files, weights, refusals."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from attrs import evolve
from living import lines, snapshot, striped, without_seconds, write_tiny
from stops import same_weights, stopped_at_saves
from support import assert_style

from bayesnas import load_network
from bayesnas.cli import main
from bayesnas.commands.trained.compressing import IMPORTANCES
from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.graph.model import BudgetConstraint
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import plain_batches
from bayesnas.runtime.jobs.compression.bounds import Judge, step_budgets
from bayesnas.runtime.jobs.compression.compress import CompressResult, compress
from bayesnas.runtime.jobs.compression.cut import module_of
from bayesnas.runtime.jobs.compression.removal import EXAMPLES, Removal
from bayesnas.runtime.jobs.compression.wanted import Compression
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, evaluate_run, own_weights
from bayesnas.runtime.network.modules import build, predict
from bayesnas.runtime.network.normalisation import renew
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.report.page import write_report
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.weights import importance
from bayesnas.runtime.weights.choice import Limits, Share
from bayesnas.runtime.weights.priors.registry import PRIORS
from bayesnas.runtime.weights.removal import narrow
from bayesnas.runtime.weights.turns import TURNS

NET = """\
network net(image: [1, 8, 8]; width = 6) -> (logits: [3]) {
    stem = image : conv(3, width) >> bn >> relu
    a = stem : conv(3, 2 * width) >> bn >> relu >> conv(1, width) >> bn
    b = sum(stem, a)
    b -> logits : relu >> flatten >> dropout(20) >> linear(3)
}

train { epochs = 2; batch_size = 16 }
"""
HALF = Compression((Share("flops", 50),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training."""
    home = tmp_path_factory.mktemp("whole")
    (home / "net.nas").write_text(NET, encoding="utf-8")
    compiled = compile_spec(home / "net.nas")
    settings = make_settings(TrainSettings, compiled.settings("train"))
    train(compiled, settings, RunOptions(f"folder:{folder}", home / "run", 1, "cpu"))
    return home / "run"


def compressed(whole: Path, out: Path, wanted: Compression = HALF, **more: bool) -> CompressResult:
    return compress(whole, wanted, {}, RunOptions("", out, 2, "cpu", **more))


OF_CHANNELS = [n for n in (*importance.IMPORTANCES, *PRIORS) if n != "variational_dropout"]


@pytest.mark.parametrize("name", OF_CHANNELS)
def test_a_run_is_made_smaller_and_stays_a_run(name: str, whole: Path, tmp_path: Path) -> None:
    before, out = snapshot(whole), tmp_path / "half"
    result = compressed(whole, out, Compression((Share("flops", 50),), name))
    assert snapshot(whole) == before
    assert result.after.flops <= result.before.flops // 2
    spec = compile_spec(out / "compressed.nas")
    assert graph_cost(spec.graph) == result.after
    about = json.loads((out / "result.json").read_text("utf-8"))
    assert Cost(about["parameters"], about["flops"]) == result.after
    assert about["compression"]["before"]["flops"] == result.before.flops
    assert about["compression"]["removed"]["test_loss"] == result.removed.loss
    report, data = evaluate_run(RunOptions("", out, device="cpu"))
    assert report.score == result.trained.test
    assert load_network(out)(data.test.inputs[:2]).shape == (2, 3)
    rows = lines(out / "layers.jsonl")
    assert [row["layer"] for row in rows] == ["stem.0", "a.0", "a.3", "logits.3"]
    assert rows[0]["channels_kept"] == rows[1]["inputs_kept"] == rows[2]["channels_kept"]
    assert rows[3]["inputs_kept"] == 64 * rows[0]["channels_kept"]
    slices = lines(out / "slices.jsonl")
    kept = [r["kept"] for r in slices if r["strand"] == slices[0]["strand"]]
    assert (len(kept), sum(kept)) == (rows[0]["channels"], rows[0]["channels_kept"])
    assert ("gamma_error" in slices[0]) == (name == "bayesnas")
    assert ("drop" in slices[0]) == (name == "pgnas")
    assert f"{rows[2]['channels_kept']} of 6" in (out / "widths.dot").read_text("utf-8")
    again = compressed(out, tmp_path / "quarter")
    assert again.after.flops <= result.after.flops // 2


@pytest.mark.parametrize(
    ("importance", "families"),
    [
        ("magnitude", ("row",)),
        ("taylor", ("block", "filter")),
        ("bayesnas", ("filter",)),
        ("group_lasso", ("weight",)),
        ("variational_dropout", ("weight",)),
        ("bayesnas", ("filter", "shape", "kernel")),
    ],
)
def test_families_of_weights(
    importance: str, families: tuple[str, ...], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted = Compression((Share("flops", 50),), importance, families=families)
    result = compressed(whole, out, wanted)
    limit = result.before.flops // 2
    about = json.loads((out / "result.json").read_text("utf-8"))
    state = torch.load(out / "weights.pt", weights_only=True)
    rows = lines(out / "layers.jsonl")
    if families == ("filter",):
        assert result.sparsity is None
        assert result.after.flops <= limit
        assert "weights" not in rows[0]
        return
    sparsity = result.sparsity
    assert sparsity is not None
    assert about["compression"]["sparsity"]["nonzero"] == sparsity.nonzero < sparsity.weights
    assert sparsity.flops <= limit < result.after.flops
    assert (result.after == result.before) == ("filter" not in families)
    counted = [(row["weights"], row["nonzero"]) for row in rows]
    assert tuple(map(sum, zip(*counted, strict=True))) == (sparsity.weights, sparsity.nonzero)
    weights = {row["layer"]: state[f"{row['layer']}.weight"] for row in rows}
    for row in rows:  # held while the rest trained on
        assert int((weights[row["layer"]] != 0).sum()) == row["nonzero"]
    slices = lines(out / "slices.jsonl")
    assert {row.get("family", families[0]) for row in slices} == {*families}
    assert {row["kept"] for row in slices} == {True, False}
    assert ("gamma" in slices[0]) == (importance == "bayesnas")
    assert all(row["norm"] > 0 or row["gamma"] == 0 for row in slices if "gamma" in row)


@pytest.mark.parametrize("name", ["bayesnas", "group_lasso"])
def test_no_channel_stays_that_nothing_makes(name: str, whole: Path, tmp_path: Path) -> None:
    """Penalties of several families add; a filter at zero would never learn again."""
    wanted = Compression((Share("parameters", 40),), name, families=("channel", "filter"))
    compress(whole, wanted, {"epochs": 12}, RunOptions("", tmp_path / "out", 2, "cpu"))
    state = torch.load(tmp_path / "out" / "weights.pt", weights_only=True)
    rows = [row for row in lines(tmp_path / "out" / "slices.jsonl") if row["family"] == "filter"]
    assert any(row["norm"] == 0 for row in rows)
    assert not any(row["kept"] for row in rows if row["norm"] == 0)
    for layer in ("stem.0", "a.0", "a.3"):
        assert bool((state[f"{layer}.weight"].flatten(1) != 0).any(dim=1).all())


@pytest.mark.parametrize(("name", "steps"), [("evidence", 1), ("taylor", 2), ("pgnas", 1)])
def test_weights_may_be_the_result_as_they_are(
    name: str, steps: int, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted = Compression((Share("flops", 50),), name, steps=steps, result="shared")
    values = {} if name == "evidence" else {"epochs": 3}
    result = compress(whole, wanted, values, RunOptions("", out, 2, "cpu"))
    assert result.after.flops <= result.before.flops // 2
    assert (out / "history.jsonl").read_text("utf-8") == ""
    score = evaluate_run(RunOptions("", out, device="cpu"))[0].score
    assert score == result.trained.test
    assert score.loss == pytest.approx(result.removed.loss, rel=1e-5)
    for step in [] if name == "evidence" else [*(out / "steps").iterdir()]:
        assert len(lines(step / "history.jsonl")) == 3  # all epochs are of the only training
    again = compress(whole, wanted, values, RunOptions("", out, 2, "cpu", resume=True))
    assert again.trained.test == score
    write_report([out], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count(">trained on<") == 0  # in the table of steps
    assert page.count(">1: trained on<") == steps - 1
    assert compressed(out, tmp_path / "quarter").after.flops <= result.after.flops // 2


@pytest.mark.parametrize("shared", [True, False])
def test_what_nothing_reads_stays_only_to_learn_again(
    shared: bool, whole: Path, tmp_path: Path
) -> None:
    wanted = Compression((Share("flops", 90),), "group_lasso", lambda_w=0.0)
    wanted = evolve(wanted, result="shared" if shared else "trained")
    compress(whole, wanted, {"epochs": 12}, RunOptions("", tmp_path / "out", 2, "cpu"))
    rows = lines(tmp_path / "out" / "slices.jsonl")
    assert any(row["norm"] == 0 for row in rows)
    kept = [row["norm"] > 0 for row in rows if row["kept"]]
    assert all(kept) == shared


def test_settings_of_a_training_where_there_is_none(whole: Path, tmp_path: Path) -> None:
    wanted = evolve(HALF, result="shared")
    with pytest.raises(DiagnosticError, match="`--option epochs` does nothing with `evidence`"):
        compress(whole, wanted, {"epochs": 3}, RunOptions("", tmp_path / "out", 2, "cpu"))
    assert not (tmp_path / "out").exists()


def test_masks_are_drawn_of_any_size_where_no_budget_is(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compressed(whole, out, Compression((), "pgnas", result="shared"))
    rows = lines(out / "slices.jsonl")
    about = json.loads((out / "result.json").read_text("utf-8"))["compression"]
    assert about["removed"]["flops"] <= about["before"]["flops"]
    if "masks" in about:  # there was more than one, and the best was taken
        losses = [mask["loss"] for mask in about["masks"]]
        assert losses == sorted(losses)
    else:
        assert all(row["kept"] == (row["drop"] < 0.5) for row in rows)


def test_a_masked_compression_goes_on_where_it_stopped(whole: Path, tmp_path: Path) -> None:
    wanted = Compression((Share("parameters", 30),), "bayesnas", families=("filter", "weight"))
    first = compressed(whole, tmp_path / "whole", wanted)
    with stopped_at_saves(1, 2):
        for again in (False, True):
            with pytest.raises(KeyboardInterrupt):
                compressed(whole, tmp_path / "cut", wanted, resume=again)
    second = compressed(whole, tmp_path / "cut", wanted, resume=True)
    assert second.sparsity == first.sparsity
    assert second.trained.test == first.trained.test


@pytest.mark.parametrize("family", ["kernel", "shape", "block"])
def test_a_masked_run_is_masked_again_within_its_budget(
    family: str, whole: Path, tmp_path: Path
) -> None:
    once = Compression((Share("parameters", 30),), families=("weight",))
    compressed(whole, tmp_path / "once", once)
    wanted = Compression((Share("parameters", 20),), families=("channel", family))
    result = compressed(tmp_path / "once", tmp_path / "again", wanted)
    state = torch.load(tmp_path / "again" / "weights.pt", weights_only=True)
    compiled = compile_spec(tmp_path / "again" / "compressed.nas")
    module, _ = build(compiled.graph, "net.nas", 0)
    weights = [state[name] for name, _ in module.named_parameters()]
    left = sum(int((w != 0).sum()) if w.dim() > 1 else w.numel() for w in weights)
    assert left <= result.before.parameters // 5


@pytest.mark.parametrize(
    ("families", "least", "steps", "percent"),
    [
        (("filter", "weight"), 4, 2, 12),  # by its share alone a filter goes below the least
        (("filter", "row"), 1, 1, 5),  # no row is left of some tensor, whichever scored best
        (("row", "column"), 1, 1, 3),  # by its share alone fewer rows than tensors would stay
        (("shape", "kernel", "row"), 1, 2, 6),  # by their shares alone too many are left
    ],
)
def test_several_families_share_a_budget_as_far_as_they_can(
    families: tuple[str, ...], least: int, steps: int, percent: int, whole: Path, tmp_path: Path
) -> None:
    budget = Share("parameters", percent)
    wanted = Compression((budget,), families=families, limits=Limits(least), steps=steps)
    out = tmp_path / "out"
    result = compressed(whole, out, wanted)
    state = torch.load(out / "weights.pt", weights_only=True)
    module, _ = build(compile_spec(out / "compressed.nas").graph, "net.nas", 0)
    weights = [state[name] for name, _ in module.named_parameters()]
    left = sum(int((w != 0).sum()) if w.dim() > 1 else w.numel() for w in weights)
    assert left <= result.before.parameters * percent // 100
    assert all(bool((w != 0).any()) for w in weights if w.dim() > 1)  # no tensor is emptied
    assert all(layer.channels_kept >= min(least, layer.channels) for layer in result.layers)


def test_several_steps_end_where_one_does(whole: Path, tmp_path: Path) -> None:
    limits = Limits(layers=("logits",))
    wanted = Compression((Share("flops", 40),), limits=limits, steps=2)
    result = compressed(whole, tmp_path / "out", wanted)
    first = graph_cost(compile_spec(tmp_path / "out" / "steps" / "1" / "compressed.nas").graph)
    assert result.after.flops <= 0.4 * result.before.flops < first.flops
    assert first.flops <= 0.4**0.5 * result.before.flops
    assert [layer.layer for layer in result.layers] == ["stem.0", "a.0", "a.3", "logits.3"]
    assert [layer.channels for layer in result.layers] == [6, 12, 6, 3]
    assert (result.layers[0].share, result.layers[3].share) == (1, 1)  # kept in both
    about = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))["compression"]
    [step] = about["steps"]
    assert step["flops"] == first.flops
    assert about["before"]["flops"] == result.before.flops
    epochs = [
        len(lines(run / "history.jsonl")) for run in (tmp_path / "out/steps/1", tmp_path / "out")
    ]
    assert epochs == [1, 1]  # of the two that the spec has


def test_budgets_of_steps_fall_by_equal_shares() -> None:
    whole = Cost(1000, 8000)
    budgets = (BudgetConstraint("flops", 1000), Share("parameters", 50))
    first, second, last = step_budgets(whole, budgets, 3)
    assert [b.limit for b in first] == [4000, 793]
    assert [b.limit for b in second] == [2000, 629]
    assert [b.limit for b in last] == [1000, 500]


def test_nothing_is_lost_where_the_budget_allows_all(whole: Path, tmp_path: Path) -> None:
    result = compressed(whole, tmp_path / "all", Compression((Share("flops", 100),)))
    assert result.after == result.before
    record = json.loads((whole / "result.json").read_text("utf-8"))
    assert result.removed.loss == pytest.approx(record["test_loss"], rel=1e-5)


def test_limits_hold(whole: Path, tmp_path: Path) -> None:
    limits = Limits(least=2, round_to=4, layers=("logits",))
    wanted = Compression((Share("parameters", 90),), limits=limits)
    stem, a, _, logits = compressed(whole, tmp_path / "out", wanted).layers
    assert stem.channels_kept == stem.channels
    assert logits.inputs_kept == logits.inputs
    assert a.channels_kept < a.channels
    assert a.channels_kept % 4 == 0


@pytest.mark.parametrize(
    ("name", "steps", "stops"),
    [("evidence", 1, 1), ("magnitude", 2, 3), ("bayesnas", 1, 2), ("pgnas", 2, 3)],
)
def test_an_interrupted_run_goes_on(
    name: str, steps: int, stops: int, whole: Path, tmp_path: Path
) -> None:
    """Wherever it stopped: in what comes before its last part, or in that."""
    straight, out = tmp_path / "straight", tmp_path / "resumed"
    wanted = Compression((Share("flops", 50),), name, steps=steps)
    values = {"epochs": 4}
    compress(whole, wanted, values, RunOptions("", straight, 2, "cpu"))
    with (
        stopped_at_saves(stops),
        pytest.raises(KeyboardInterrupt, match=f"`--resume` goes on with the run in `{out}`"),
    ):
        compress(whole, wanted, values, RunOptions("", out, 2, "cpu"))
    if not (out / "settings.json").exists():
        with pytest.raises(DiagnosticError, match="D413"):
            compress(whole, wanted, values, RunOptions("", out, 2, "cpu"))
    compress(whole, wanted, values, RunOptions("", out, 2, "cpu", resume=True))
    assert same_weights(straight, out)
    histories = [without_seconds(lines(run / "history.jsonl")) for run in (straight, out)]
    assert histories[0] == histories[1]
    with pytest.raises(DiagnosticError, match="D414"):
        compress(
            whole,
            Compression((Share("flops", 40),), name, steps=steps),
            values,
            RunOptions("", out, 2, "cpu", resume=True),
        )


def test_another_setting_is_named_when_a_compression_goes_on(whole: Path, tmp_path: Path) -> None:
    wanted = Compression((Share("flops", 50),), "bayesnas")
    compressed(whole, out := tmp_path / "o", wanted)
    before = snapshot(out)
    with pytest.raises(DiagnosticError) as caught:
        compressed(whole, out, evolve(wanted, curvature="exact"), resume=True)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == "D414"
    assert diagnostic.notes == ("different: compression", "`curvature`: not given, now exact")
    assert snapshot(out) == before


def test_another_compression_is_replaced(whole: Path, tmp_path: Path) -> None:
    """In parts as well, and gone on with, whatever the other one was."""
    out, straight = tmp_path / "out", tmp_path / "straight"
    compressed(whole, out)
    wanted = Compression((Share("flops", 40),), steps=2)
    assert refusal(whole, out, wanted).code == "D413"
    with stopped_at_saves(1), pytest.raises(KeyboardInterrupt, match="--resume"):
        compressed(whole, out, wanted, force=True)
    compressed(whole, out, wanted, resume=True)
    compressed(whole, straight, wanted)
    assert same_weights(straight, out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in straight.iterdir()
    )


# -------------------------------------------------------------------------------------- refusals


def refusal(whole: Path, out: Path, wanted: Compression, **more: bool) -> Diagnostic:
    """What is said; the folder is as it was."""
    before = snapshot(out.parent)
    with pytest.raises(DiagnosticError) as caught:
        compressed(whole, out, wanted, **more)
    assert caught.value.status == 2
    assert snapshot(out.parent) == before
    [diagnostic] = caught.value.diagnostics
    assert_style(diagnostic)
    return diagnostic


def test_a_budget_that_cannot_be_met(whole: Path, tmp_path: Path) -> None:
    wanted = Compression((BudgetConstraint("parameters", 3),))
    diagnostic = refusal(whole, tmp_path / "out", wanted)
    assert (diagnostic.code, diagnostic.help) == ("D609", "raise the budget")


@pytest.mark.parametrize(("importance", "steps"), [("bayesnas", 1), ("magnitude", 3)])
def test_a_budget_is_refused_before_any_work(
    importance: str, steps: int, whole: Path, tmp_path: Path
) -> None:
    """That of the last step as well: each saves the same share."""
    wanted = Compression((BudgetConstraint("parameters", 3),), importance, steps=steps)
    assert refusal(whole, tmp_path / "out", wanted).code == "D609"


def test_a_network_without_channels_that_may_go(folder: Path, tmp_path: Path) -> None:
    text = (
        "network net(image: [1, 8, 8]) -> (logits: [3]) { image -> logits : flatten >> linear(3) }"
    )
    (tmp_path / "net.nas").write_text(text, encoding="utf-8")
    settings = make_settings(TrainSettings, {"epochs": 1})
    options = RunOptions(f"folder:{folder}", tmp_path / "run", 1, "cpu")
    train(compile_spec(tmp_path / "net.nas"), settings, options)
    diagnostic = refusal(tmp_path / "run", tmp_path / "out", HALF)
    assert diagnostic.code == "D609"
    assert diagnostic.notes == ("none of its channels may go",)
    assert diagnostic.help == "raise the budget, or train a narrower network"


def test_an_importance_that_there_is_not(whole: Path, tmp_path: Path) -> None:
    diagnostic = refusal(whole, tmp_path / "out", Compression(HALF.budgets, "taylo"))
    assert (diagnostic.code, diagnostic.help) == ("D610", "did you mean `taylor`?")


def test_weights_of_another_network(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    spec = tmp_path / "run" / "spec.nas"
    spec.write_text(NET.replace("width = 6", "width = 5"), encoding="utf-8")
    assert refusal(tmp_path / "run", tmp_path / "out", HALF).code == "D416"


def test_no_weights(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "weights.pt").unlink()
    assert refusal(tmp_path / "run", tmp_path / "out", HALF).code == "D416"


def test_a_layer_that_there_is_not(whole: Path, tmp_path: Path) -> None:
    wanted = Compression((Share("flops", 50),), limits=Limits(layers=("sten",)))
    diagnostic = refusal(whole, tmp_path / "out", wanted)
    assert (diagnostic.code, diagnostic.help) == ("D608", "did you mean `stem`?")


def test_the_run_itself_is_not_replaced(whole: Path) -> None:
    assert refusal(whole, whole, HALF, force=True).code == "D413"
    assert refusal(whole, whole, HALF).code == "D413"


def test_a_supernet_is_searched_first(folder: Path, tmp_path: Path) -> None:
    compiled = compile_spec(write_tiny(tmp_path))
    settings = make_settings(TrainSettings, compiled.settings("train"))
    train(compiled, settings, RunOptions(f"folder:{folder}", tmp_path / "run", 1, "cpu"))
    assert refusal(tmp_path / "run", tmp_path / "out", HALF).code == "D607"


def test_no_training_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone", tmp_path / "out", HALF).code == "D415"
    told = refusal(tmp_path / "net.nas", tmp_path / "out", HALF).help or ""
    assert told.startswith("train it first, `bayesnas train ")


# --------------------------------------------------------------------------------- command line


def test_the_command(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = f"compress {whole} -o {out} --budget flops=50% --keep stem --option epochs=1"
    assert main([*line.split(), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "stem.0" in said
    assert "after training on" in said
    assert len(lines(out / "history.jsonl")) == 1


@pytest.mark.parametrize(
    "words",
    ["--budget flops=0%", "--budget flops=150%", "--budget time=50%", "--budget half",
     "--budget flops=50% --least 0", "--budget flops=50% --round-to -2",
     "--budget flops=50% --steps 0", "--budget flops=50% --option epochs", "--steps 2",
     "--importance bayesnas --option lambda_w"],
)  # fmt: skip
def test_what_cannot_be_read(
    words: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compress", str(whole), "-o", str(tmp_path / "out"), *words.split()]) == 2
    assert capsys.readouterr().err.startswith("error[D418]: ")
    assert not (tmp_path / "out").exists()


def test_a_strength_is_a_setting(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compress", str(whole), "-o", str(tmp_path / "out"), "--importance", "bayesnas"]
    assert main([*command, "--option", "lambda_w=-1"]) == 2
    said = capsys.readouterr().err
    assert "error[D231]: invalid value `-1` of `lambda_w`" in said
    assert "write a number from 0 to 1000" in said
    assert main([*command, "--lambda-w", "1"]) == 2
    assert "write `--option lambda_w=VALUE`: it is a setting" in capsys.readouterr().err
    assert main([*command, "--train-option", "lambda_w=1"]) == 2
    assert "error[D423]: `--train-option` does nothing with a run" in capsys.readouterr().err
    assert main(["compress", "x", "-o", "y", "--option", "help"]) == 0
    assert "strength of the penalty of `bayesnas`" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_result_that_there_is_not(whole: Path, tmp_path: Path) -> None:
    diagnostic = refusal(whole, tmp_path / "out", evolve(HALF, result="share"))
    assert (diagnostic.code, diagnostic.help) == ("D231", "did you mean `shared`?")


def test_a_strength_is_of_one_importance(whole: Path, tmp_path: Path) -> None:
    wanted = Compression((Share("flops", 50),), "group_lasso", lambda_w=1.0)
    diagnostic = refusal(whole, tmp_path / "out", wanted)
    assert diagnostic.code == "D423"
    assert diagnostic.message == "`--option lambda_w` does nothing with `group_lasso`"


@pytest.mark.parametrize("name", ["evidence", "magnitude", "random"])
def test_what_stays_takes_over_what_goes(name: str, whole: Path) -> None:
    run = TrainedRun.open(whole)
    data = run.own_data()
    judge = Judge(name, Limits(), (BudgetConstraint("flops", 20_000),), 2)
    removal = Removal.of(run, judge, data)
    cut = removal.judged()
    plain = narrow(run.compiled, own_weights(run), removal.slices, cut.kept)
    module = module_of(plain.compiled, plain.state, data.device)
    assert cut.score(data, 8).loss < evaluate(module, data, data.test, 8).loss
    smaller = module_of(cut.narrowed.compiled, cut.narrowed.state, data.device)
    before = {key: tensor.clone() for key, tensor in smaller.state_dict().items()}
    examples = data.train.sample(EXAMPLES, torch.Generator().manual_seed(2)).at_hand()
    batches = plain_batches(data, examples, run.batch_size)
    renew(smaller, (inputs for inputs, _ in batches), partial(predict, smaller))
    for key, tensor in smaller.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=1e-4, atol=1e-5)


def test_without_a_budget_what_is_zero_goes_and_costs_nothing(whole: Path, tmp_path: Path) -> None:
    result = compressed(whole, tmp_path / "out", Compression((), "bayesnas", lambda_w=500.0))
    judged = json.loads(
        (tmp_path / "out" / "steps" / "1_judged" / "result.json").read_text("utf-8")
    )
    assert result.after.flops < result.before.flops
    assert result.removed.loss == pytest.approx(judged["test_loss"], rel=1e-5)
    gone = [row for row in lines(tmp_path / "out" / "slices.jsonl") if not row["kept"]]
    assert gone
    assert {row["norm"] for row in gone} == {0.0}
    write_report([tmp_path / "out"], tmp_path / "page.html")
    assert "--option lambda_w=500" in (tmp_path / "page.html").read_text("utf-8")


def test_without_a_budget_what_any_family_made_zero_goes(whole: Path, tmp_path: Path) -> None:
    families = ("channel", "filter")
    wanted = Compression((), "bayesnas", families=families, lambda_w=20.0)
    result = compress(whole, wanted, {"epochs": 12}, RunOptions("", tmp_path / "out", 2, "cpu"))
    judged = json.loads(
        (tmp_path / "out" / "steps" / "1_judged" / "result.json").read_text("utf-8")
    )
    assert result.removed.loss < 1.001 * judged["test_loss"]  # its statistics are new
    rows = lines(tmp_path / "out" / "slices.jsonl")
    norms = {
        family: [row["norm"] for row in rows if row["family"] == family] for family in families
    }
    kept = [row["kept"] for row in rows if row["family"] == "filter"]
    both = [min(pair) > 0 for pair in zip(*norms.values(), strict=True)]
    assert kept == both
    readers = [norm > 0 for norm in norms["channel"]]
    assert not all(readers)
    assert readers != both  # some are zero by one family alone


def test_a_penalty_that_leaves_nothing_says_so(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Compression((), "bayesnas", families=("channel", "filter"), lambda_w=600.0)
    compress(whole, wanted, {"epochs": 12}, RunOptions("", tmp_path / "out", 2, "cpu"))
    said = capsys.readouterr().err
    assert "is left that is not zero: lower `lambda_w`, or name fewer families" in said
    state = torch.load(tmp_path / "out" / "weights.pt", weights_only=True)
    named = re.findall(r"`([\w.]+)`", next(line for line in said.splitlines() if "is left" in line))
    emptied = [name for name in ("stem.0", "a.0", "a.3", "logits.3") if f"`{name}`" in said]
    assert emptied == [name for name in named if name != "lambda_w"]
    assert not any(bool(state[f"{name}.weight"].any()) for name in emptied)


def test_the_command_offers_every_importance() -> None:
    assert set(IMPORTANCES) == {*importance.IMPORTANCES, *TURNS, *PRIORS}


def test_limits_of_channels_where_none_go(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compress", str(whole), "-o", str(tmp_path / "out"), "--budget", "flops=50%"]
    assert main([*command, "--family", "row,kernel", "--round-to", "4"]) == 2
    assert "error[D423]: `--round-to` does nothing with `--family row,kernel`" in (
        capsys.readouterr().err
    )
    assert main([*command, "--option", "draws=5"]) == 2
    assert "error[D423]: `--option draws` does nothing with `evidence`" in (capsys.readouterr().err)
    assert main([*command, "--family", "rows"]) == 2
    assert "no family of weights `rows`" in capsys.readouterr().err
    assert main([*command[:4], "--family", "filter"]) == 2
    assert "pgnas" not in (said := capsys.readouterr().err)
    assert "help: add `--budget flops=50%`, or `--importance bayesnas --option lambda_w=1`" in said
    assert main(command[:4]) == 2
    assert "or `--importance pgnas`, which draws masks of any size" in capsys.readouterr().err
