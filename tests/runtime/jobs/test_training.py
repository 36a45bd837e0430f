"""Trainings end to end on a space of two small cells: what is saved, loaded, resumed, refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from attrs import evolve
from living import TINY, snapshot, striped, write_tiny
from torch import nn

from bayesnas import build, load_network
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.export import export
from bayesnas.runtime.jobs.start import start_from
from bayesnas.runtime.jobs.train import TrainResult, train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.network.device import pick_device
from bayesnas.runtime.network.learning import learner
from bayesnas.runtime.network.training import report_raw
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import check_out
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.runs.seals import sealed
from bayesnas.runtime.tasks.scores import Report, Score


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_spec(write_tiny(tmp_path_factory.mktemp("spec")))


def run(
    space: Compiled,
    folder: Path,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    seed: int = 3,
    **settings: float | str,
) -> TrainResult:
    chosen = make_settings(TrainSettings, {**space.settings("train"), **settings})
    return train(space, chosen, RunOptions(f"folder:{folder}", out, seed, "cpu", resume, force))


@pytest.fixture(scope="module")
def done(
    space: Compiled, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, TrainResult]]:
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, run(space, folder, out)


def options(out: Path, data: str = "") -> RunOptions:
    return RunOptions(data, out, device="cpu")


def model_of(out: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(out / "weights.pt", weights_only=True)
    return state


def refusal(caught: pytest.ExceptionInfo[DiagnosticError]) -> tuple[str, str, int]:
    [found] = caught.value.diagnostics
    assert found.help
    return found.code, found.message, caught.value.status


# -------------------------------------------------------------------------------------- results


def test_everything_is_written(done: tuple[Path, TrainResult], space: Compiled) -> None:
    out, result = done
    assert sorted(snapshot(out)) == sorted([
        "spec.nas", "settings.json", "history.jsonl", "checkpoint.pt", "weights.pt", "network.py",
        "result.json",
    ])  # fmt: skip
    assert (out / "spec.nas").read_text(encoding="utf-8") == TINY
    written = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert written["test_accuracy"] == result.test.quality
    assert written["parameters"] == graph_cost(space.graph).parameters
    assert result.test_examples == 18
    history = (out / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2]


def test_evaluation_reproduces_the_number(done: tuple[Path, TrainResult], folder: Path) -> None:
    out, result = done
    before = snapshot(out)
    for data in ("", f"folder:{folder}"):
        report, found = evaluate_run(options(out, data))
        assert report.score == result.test
        assert len(found.test) == 18
    assert snapshot(out) == before


def test_a_trained_network_is_loaded(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path
) -> None:
    out, result = done
    module = load_network(out)
    assert isinstance(module, nn.Module)
    assert not module.training
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, model_of(out)[name], rtol=0, atol=0)
    data = load_data(f"folder:{folder}", space.graph)
    assert report_raw(module, data.task, data.test, 500).score == result.test


def test_the_source_beside_the_weights_takes_them(
    done: tuple[Path, TrainResult], space: Compiled
) -> None:
    """Without this package: the emitted file, and the state dict of the weights."""
    out, _ = done
    namespace: dict[str, type[nn.Module]] = {}
    exec((out / "network.py").read_text(encoding="utf-8"), namespace)
    module = namespace["Tiny"]()
    module.load_state_dict(model_of(out))
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    expected = load_network(out)(images)
    for given in (images, images / 255):
        torch.testing.assert_close(module.eval()(given), expected)
    assert sum(p.numel() for p in module.parameters()) == graph_cost(space.graph).parameters


def test_training_learns(space: Compiled, folder: Path, tmp_path: Path) -> None:
    result = run(space, folder, tmp_path / "o", epochs=20)
    assert result.test.quality > 0.6


def test_numbers_of_the_network_are_kept(folder: Path, tmp_path: Path) -> None:
    space = compile_spec(write_tiny(tmp_path), {"cells": 1, "width": 4})
    result = run(space, folder, tmp_path / "o", epochs=1)
    report, _ = evaluate_run(options(tmp_path / "o"))
    assert report.score.quality == result.test.quality


def test_imported_files_travel_with_the_spec(folder: Path, tmp_path: Path) -> None:
    """The run's folder is complete: the spec and its imports may go."""
    source = tmp_path / "source"
    (source / "parts").mkdir(parents=True)
    (source / "parts" / "mine.nas").write_text("op mine = conv(3) >> bn\n")
    text = 'import "parts/mine.nas"\n' + TINY.replace(
        "body -> logits : relu", "body -> logits : mine"
    )
    (source / "net.nas").write_text(text)
    result = run(compile_spec(source / "net.nas"), folder, tmp_path / "o", epochs=1)
    (source / "parts" / "mine.nas").unlink()
    assert evaluate_run(options(tmp_path / "o"))[0].score.quality == result.test.quality


def test_an_imported_file_of_any_name(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "spec.nas").write_text("op mine = conv(3) >> bn\n")
    text = 'import "spec.nas"\n' + TINY.replace("logits : relu", "logits : mine")
    (source / "net.nas").write_text(text)
    result = run(compile_spec(source / "net.nas"), folder, tmp_path / "o", epochs=1)
    assert evaluate_run(options(tmp_path / "o"))[0].score.quality == result.test.quality


# -------------------------------------------------------------------------------------- again


def test_the_same_seed_trains_the_same(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(999)
    again = run(space, folder, tmp_path / "again")
    assert evolve(again, seconds=0) == evolve(done[1], seconds=0)
    for name, tensor in model_of(tmp_path / "again").items():
        torch.testing.assert_close(tensor, model_of(done[0])[name], rtol=0, atol=0)


def test_another_seed_trains_another(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    run(space, folder, tmp_path / "o", seed=4)
    weight = "stem.0.weight"
    assert not torch.equal(model_of(tmp_path / "o")[weight], model_of(done[0])[weight])


def test_a_resumed_training_ends_as_an_undisturbed_one(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    """Cut in its second epoch; dropout and augmentation go on where they were."""
    out = tmp_path / "cut"
    check_loss, count = learner.check_loss, iter(range(10**6))

    def interrupted(loss: torch.Tensor, place: str) -> float:
        if next(count) == 4:
            raise KeyboardInterrupt
        return check_loss(loss, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "check_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(space, folder, out)
    assert not (out / "weights.pt").exists()
    torch.manual_seed(999)
    resumed = run(space, folder, out, resume=True)
    assert evolve(resumed, seconds=0) == evolve(done[1], seconds=0)
    for name, tensor in model_of(out).items():
        torch.testing.assert_close(tensor, model_of(done[0])[name], rtol=0, atol=0)


ALL = {
    "epochs": 3, "optimizer": "adamw", "learning_rate": 0.01, "schedule": "cosine_epoch",
    "warmup_epochs": 1, "decay_norms": "no", "accumulate": 2, "average": 0.9, "drop_path": 0.3,
    "augment": "flip", "crop": 0.5, "policy": "trivial", "rotate": 10,
    "color_jitter": 0.2, "cutout": 2,
    "erase": 0.2, "mixup": 0.2, "cutmix": 1.0, "holdout": 0.25, "keep": "best",
    "label_smoothing": 0.1, "batch_size": 8,
}  # fmt: skip


def test_labels_are_smoothed_to_learn_and_not_to_judge(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    """The test loss is that of the labels, which can be compared and may be below ln(1 / share)."""
    result = run(space, folder, tmp_path / "o", epochs=30, label_smoothing=0.5)
    entropy = 0.75 * math.log(1 / 0.75) + 0.25 * math.log(1 / 0.25)  # the least, of two classes
    rows = [json.loads(r) for r in (tmp_path / "o/history.jsonl").read_text("utf-8").splitlines()]
    assert rows[-1]["train_loss"] >= entropy
    assert result.test.loss < entropy
    report, _ = evaluate_run(options(tmp_path / "o"))
    assert report.score == result.test


def test_a_training_that_began_with_weights_is_not_resumed_without_them(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    chosen = make_settings(TrainSettings, space.settings("train"))
    given = RunOptions(f"folder:{folder}", tmp_path / "o", 3, "cpu")
    train(space, chosen, given, start_from(done[0], space))
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", resume=True)
    message = f"the run in `{tmp_path / 'o'}` differs in its weights"
    assert refusal(caught)[:2] == ("D414", message)


def test_a_training_with_all_settings_is_resumed(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut between two batches whose gradients are gathered: it is saved at the step before."""
    whole = run(space, folder, tmp_path / "whole", **ALL)
    text = (tmp_path / "whole/history.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(0 <= row["holdout_accuracy"] <= 1 for row in rows)
    best = torch.load(tmp_path / "whole/checkpoint.pt", weights_only=True)["best"]
    assert best["quality"] == max(row["holdout_accuracy"] for row in rows)
    check_loss, count = learner.check_loss, iter(range(10**6))

    def interrupted(loss: torch.Tensor, place: str) -> float:
        if next(count) == 7:
            raise KeyboardInterrupt
        return check_loss(loss, place)

    with monkeypatch.context() as patch:
        patch.setattr(learner, "check_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(space, folder, tmp_path / "cut", **ALL)
    resumed = run(space, folder, tmp_path / "cut", resume=True, **ALL)
    assert evolve(resumed, seconds=0) == evolve(whole, seconds=0)
    for name, tensor in model_of(tmp_path / "cut").items():
        torch.testing.assert_close(tensor, model_of(tmp_path / "whole")[name], rtol=0, atol=0)


def test_a_finished_training_resumed_is_the_same(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path
) -> None:
    history = done[0] / "history.jsonl"
    before = history.read_bytes()
    history.write_bytes(before[:20])  # what was lost comes back
    again = run(space, folder, done[0], resume=True)
    assert again == done[1]
    assert history.read_bytes() == before


# -------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "settings",
    [{"gradient_clip": 0}, {"momentum": 0}, {"augment": "shift_flip"}, {"batch_size": 1000}],
    ids=str,
)
def test_settings(
    settings: dict[str, float | str], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    assert 0 <= run(space, folder, tmp_path / "o", epochs=1, **settings).test.quality <= 1


@pytest.mark.parametrize(
    ("settings", "message", "remedy"),
    [
        (
            {"keep": "best"},
            "`keep = best` does nothing here",
            "hold examples out to judge by: `holdout = 0.1`",
        ),
        (
            {"rate_decay": 0.9},
            "`rate_decay` does nothing here",
            "write `schedule = exponential`, or `steps`",
        ),
        (
            {"rate_steps": "3"},
            "`rate_steps` does nothing here",
            "write `schedule = steps`",
        ),
        (
            {"schedule": "steps"},
            "`schedule = steps` does nothing here",
            'say when and how far: `rate_steps = "30, 60"`, `rate_decay = 0.1`',
        ),
    ],
    ids=["keep", "rate_decay", "rate_steps", "steps"],
)
def test_settings_that_do_nothing(
    settings: dict[str, float | str],
    message: str,
    remedy: str,
    space: Compiled,
    folder: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", **settings)
    assert refusal(caught) == ("D232", message, 2)
    assert caught.value.diagnostics[0].help == remedy
    assert snapshot(tmp_path) == {}


def test_batches_of_one(space: Compiled, folder: Path, tmp_path: Path) -> None:
    """The settings allow it: each image then counts, or the setting is refused."""
    try:
        run(space, folder, tmp_path / "o", epochs=1, batch_size=1)
    except DiagnosticError:
        assert snapshot(tmp_path) == {}
    else:
        history = (tmp_path / "o" / "history.jsonl").read_text(encoding="utf-8")
        assert json.loads(history)["train_loss"] > 0


def test_fresh_weights_follow_the_seed_alone(space: Compiled) -> None:
    torch.manual_seed(1)
    first, _ = build(space.graph, "tiny.nas", seed=5)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second, _ = build(space.graph, "tiny.nas", seed=5)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(tensor, second.state_dict()[name], rtol=0, atol=0)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # and the caller's generator is left alone


# -------------------------------------------------------------------------------------- failures


def test_a_loss_that_is_not_finite(space: Compiled, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", learning_rate=100, weight_decay=1, epochs=80)
    code, message, status = refusal(caught)
    assert (code, status) == ("D602", 1)
    assert message.startswith("the loss became ")
    assert "learning_rate" in caught.value.diagnostics[0].help
    names = set(snapshot(tmp_path / "o"))
    assert {"settings.json", "spec.nas"} <= names
    assert not {"weights.pt", "result.json"} & names


def test_what_was_reached_before_a_failure_is_kept(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_loss, count = learner.check_loss, iter(range(10**6))

    def diverging(loss: torch.Tensor, place: str) -> float:
        return check_loss(loss * torch.nan if next(count) == 4 else loss, place)

    monkeypatch.setattr(learner, "check_loss", diverging)
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o")
    assert refusal(caught) == ("D602", "the loss became nan in epoch 2", 1)
    assert torch.load(tmp_path / "o" / "checkpoint.pt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize("name", ["banana", "", "cuda:99", "meta", "cpu:x"])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        pick_device(name)
    assert refusal(caught) == ("D412", f"no device `{name}` on this machine", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(DiagnosticError) as caught:
        pick_device("cuda")
    assert caught.value.diagnostics[0].notes == ("PyTorch sees no GPUs here",)


def test_one_device_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(DiagnosticError) as caught:
        pick_device("cuda:1")
    what = "`cuda:1` is one device, and 2 processes were started"
    assert refusal(caught) == ("D412", what, 2)


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    out = tmp_path / "o"
    out.mkdir()
    check_out(out, resume=False, force=False)  # an empty one will do
    (out / "mine.txt").write_text("mine")
    with pytest.raises(DiagnosticError) as caught:
        check_out(out, resume=False, force=False)
    assert refusal(caught) == ("D413", f"`{out}` is not empty", 2)
    with pytest.raises(DiagnosticError) as caught:
        check_out(out, resume=False, force=True)
    expected = f"`{out}` is not the folder of a run and will not be replaced"
    assert refusal(caught) == ("D413", expected, 2)
    with pytest.raises(DiagnosticError) as caught:
        check_out(out / "mine.txt", resume=False, force=True)
    assert refusal(caught) == ("D413", f"`{out / 'mine.txt'}` is a file", 2)
    assert snapshot(tmp_path) == {"o": None, "o/mine.txt": b"mine"}


def test_force_replaces_a_run(space: Compiled, folder: Path, tmp_path: Path) -> None:
    run(space, folder, tmp_path / "o", epochs=1)
    (tmp_path / "o" / "old.txt").write_text("old")
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", epochs=1)
    assert "--resume" in caught.value.diagnostics[0].help
    assert "--force" in caught.value.diagnostics[0].help
    run(space, folder, tmp_path / "o", epochs=1, force=True)
    assert snapshot(tmp_path / "o")["old.txt"] == b"old"  # not ours
    assert not [name for name in snapshot(tmp_path / "o") if name.startswith(".")]


def test_nothing_to_resume(space: Compiled, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", resume=True)
    assert refusal(caught) == ("D414", f"nothing to resume in `{tmp_path / 'o'}`", 2)
    assert snapshot(tmp_path) == {}


def test_a_run_whose_settings_are_damaged(space: Compiled, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / "settings.json").write_text('{"command": "train", ')
    (out / "checkpoint.pt").write_bytes(b"weights")
    before = snapshot(tmp_path)
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, out, resume=True)
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == ("D414", f"nothing to resume in `{out}`")
    assert found.notes == ("its `settings.json` is not what runs write: it may be damaged",)
    assert "restore that file" in found.help
    assert snapshot(tmp_path) == before


def test_another_training_is_not_resumed(
    done: tuple[Path, TrainResult], space: Compiled, folder: Path
) -> None:
    before = snapshot(done[0])
    for other in ({"seed": 4}, {"epochs": 3}):
        with pytest.raises(DiagnosticError) as caught:
            run(space, folder, done[0], resume=True, **other)  # type: ignore[arg-type]
        name = "seed" if "seed" in other else "settings"
        expected = f"the run in `{done[0]}` differs in its {name}"
        assert refusal(caught) == ("D414", expected, 2)
    assert snapshot(done[0]) == before


def test_a_training_of_an_older_bayesnas_is_resumed_where_settings_have_come_since(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(space, folder, out, epochs=1)
    record = json.loads((out / "settings.json").read_text("utf-8"))
    del record["settings"]["rotate"]
    (out / "settings.json").write_text(json.dumps(sealed(record)), "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, out, epochs=1, resume=True, rotate=5)
    assert refusal(caught) == ("D414", f"the run in `{out}` differs in its settings", 2)
    assert caught.value.diagnostics[0].notes[-1] == "`rotate`: 0.0, now 5.0"
    assert run(space, folder, out, epochs=1, resume=True) == result


def test_a_training_is_not_resumed_for_another_test_part(space: Compiled, tmp_path: Path) -> None:
    data, out = striped(tmp_path / "images", train=6, test=2), tmp_path / "out"
    run(space, data, out, epochs=1)
    (data / "test/rows/0.png").unlink()
    with pytest.raises(DiagnosticError) as caught:
        run(space, data, out, epochs=1, resume=True)
    assert refusal(caught) == ("D414", f"the run in `{out}` differs in its test part", 2)
    _, judged = evaluate_run(options(out))
    assert judged.note == "the test part is not the one that the training was judged on"


def test_no_run_to_evaluate(tmp_path: Path) -> None:
    for out in (tmp_path / "gone", tmp_path):
        with pytest.raises(DiagnosticError) as caught:
            evaluate_run(options(out))
        assert refusal(caught) == ("D415", f"no run in `{out}`", 2)


BROKEN = {"settings.json": ("D415",), "weights.pt": ("D416",), "spec.nas": ("D101", "D216")}


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04nonsense"], ids=repr)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_run(
    name: str, content: bytes, space: Compiled, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    run(space, folder, out, epochs=1)
    (out / name).write_bytes(content)
    before = snapshot(out)
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(options(out))
    codes = (*BROKEN[name], "D402") if content.startswith(b"\x80") else BROKEN[name]
    assert caught.value.diagnostics[0].code in codes
    assert caught.value.status == 2
    assert snapshot(out) == before


def test_a_spec_that_was_edited(space: Compiled, folder: Path, tmp_path: Path) -> None:
    """Its weights are of the spec as it was."""
    out = tmp_path / "o"
    run(space, folder, out, epochs=1)
    (out / "spec.nas").write_text(TINY.replace("max_pool(3)", "max_pool(5)"))
    with pytest.raises(DiagnosticError) as caught:
        load_network(out)
    message = f"`{out / 'spec.nas'}` is not the file that the run wrote"
    assert refusal(caught) == ("D416", message, 2)


def test_weights_of_another_run(space: Compiled, folder: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "o", tmp_path / "other"
    run(space, folder, out, epochs=1)
    wider = compile_spec(space.loaded.source.name, {"width": 4})
    run(wider, folder, other, epochs=1)
    (other / "weights.pt").replace(out / "weights.pt")
    with pytest.raises(DiagnosticError) as caught:
        load_network(out)
    message = f"`{out / 'weights.pt'}` holds what bayesnas does not write"
    assert refusal(caught) == ("D416", message, 2)


def test_a_run_holds_no_code(space: Compiled, folder: Path, tmp_path: Path) -> None:
    """A pickle in the place of the weights is refused and not run."""
    out = tmp_path / "o"
    run(space, folder, out, epochs=1)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "owned"),)  # type: ignore[return-value]

    torch.save({"model": Evil()}, out / "weights.pt")
    with pytest.raises(DiagnosticError) as caught:
        load_network(out)
    assert caught.value.diagnostics[0].code == "D416"
    assert not (tmp_path / "owned").exists()


def test_data_of_other_classes(
    done: tuple[Path, TrainResult], folder: Path, tmp_path: Path
) -> None:
    """As many classes, of other names: the accuracy would mean nothing."""
    other = striped(tmp_path / "data", train=2, test=2)
    for part in ("train", "test"):
        (other / part / "columns").rename(other / part / "zebras")
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(options(done[0], f"folder:{other}"))
    assert refusal(caught)[0::2] == ("D506", 2)
    assert evaluate_run(options(done[0], f"folder:{folder}"))


def test_a_checkpoint_cut_short(space: Compiled, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    run(space, folder, out, epochs=1)
    whole = (out / "checkpoint.pt").read_bytes()
    (out / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    before = snapshot(out)
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, out, epochs=1, resume=True)
    assert refusal(caught)[0::2] == ("D416", 2)
    assert snapshot(out) == before


def test_a_run_is_opened_with_its_numbers(done: tuple[Path, TrainResult]) -> None:
    _, record, compiled = Run.open(done[0])
    assert record["seed"] == 3
    assert compiled.network.name == "tiny"


# ------------------------------------------------------------------------------ not numbers


def changed(out: Path, done: Path, file: str = "weights.pt", **entries: object) -> Path:
    """A copy of a run, one file of which has other entries."""
    shutil.copytree(done, out)
    if file == "weights.pt":
        torch.save({**model_of(out), **entries}, out / file)
    else:
        whole = json.loads((out / file).read_text("utf-8"))
        (out / file).write_text(json.dumps(sealed({**whole, **entries})), encoding="utf-8")
    return out


FLAWS: dict[str, tuple[str, dict[str, object], str]] = {
    "a mean": (
        "weights.pt",
        {"input_mean": torch.full((1, 1, 1), torch.nan)},
        "`input_mean` has 1 of 1 numbers that",
    ),
    "a deviation": (
        "weights.pt",
        {"input_std": torch.full((1, 1, 1), torch.inf)},
        "`input_std` has 1 of 1 numbers that",
    ),
    "a deviation of 0": (
        "weights.pt",
        {"input_std": torch.zeros(1, 1, 1)},
        "`input_std` has numbers that are not positive",
    ),
    "channels": (
        "weights.pt",
        {"input_mean": torch.zeros(3, 1, 1)},
        "at $.input_mean.shape: [1, 1, 1] was expected",
    ),
    "weights of another run": (
        "weights.pt",
        {"input_mean": torch.zeros(1, 1, 1)},
        "its hash is not the one in `result.json`",
    ),
    "classes": (
        "result.json",
        {"classes": ["a", "b"]},
        "they are of another number of classes than the network",
    ),
}


@pytest.mark.parametrize("name", FLAWS)
def test_a_run_of_bad_numbers(done: tuple[Path, TrainResult], tmp_path: Path, name: str) -> None:
    file, entries, note = FLAWS[name]
    out = changed(tmp_path / "o", done[0], file, **entries)
    with pytest.raises(DiagnosticError) as caught:
        evaluate_run(options(out))
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D416", 2)
    assert found.notes[0].startswith(note)


def test_weights_that_are_not_finite_are_named(
    done: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    """In evaluation, in loading, in export: no accuracy of a network that is none."""
    model = model_of(done[0])
    name = next(name for name in model if name.endswith("running_var"))
    broken = model[name].clone()
    broken[0] = torch.nan
    out = changed(tmp_path / "o", done[0], **{name: broken})
    for use in (
        lambda: evaluate_run(options(out)),
        lambda: load_network(out),
        lambda: export(out, tmp_path / "network.pt2"),
    ):
        with pytest.raises(DiagnosticError) as caught:
            use()
        [found] = caught.value.diagnostics
        note = f"`{name}` has 1 of {len(broken)} numbers that are not finite"
        assert (found.code, found.notes) == ("D416", (note,))
    assert not (tmp_path / "network.pt2").exists()


def test_a_training_that_ends_in_no_numbers(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of an epoch breaks a weight: it is named, the epoch before stays."""
    step, count = torch.optim.SGD.step, iter(range(10**6))

    def diverging(self: torch.optim.SGD) -> None:
        step(self)
        if next(count) == 1:
            with torch.no_grad():
                self.param_groups[0]["params"][0].view(-1)[0] = torch.inf

    monkeypatch.setattr(torch.optim.SGD, "step", diverging)
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", batch_size=1000, epochs=3)
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D602", 1)
    assert found.message.endswith(" numbers that are not finite after epoch 2")
    assert "the last good checkpoint is kept in " in found.notes[-1]
    assert torch.load(tmp_path / "o" / "checkpoint.pt", weights_only=True)["epoch"] == 1
    assert not (tmp_path / "o" / "weights.pt").exists()


def test_an_absurd_test_loss(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesnas.runtime.jobs.train.report", lambda *_: Report(Score(7.8e10, 0.1)))
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, tmp_path / "o", epochs=1)
    assert refusal(caught) == ("D602", "the test loss became 7.8e+10", 1)
    assert not (tmp_path / "o" / "weights.pt").exists()
