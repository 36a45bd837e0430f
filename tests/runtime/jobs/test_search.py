"""Searches end to end on a space of two small cells: what is written, reproduced and resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from attrs import evolve
from living import SAME, TINY, lines, snapshot, striped, without_seconds, write_tiny
from support import NOWHERE, graph_of, network
from torch import Tensor

from bayesnas.compiler.artifacts.graph_file import graph_from_json
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_loaded, compile_spec
from bayesnas.compiler.settings import SearchSettings, make_settings
from bayesnas.dsl.diagnostics import DiagnosticError, Source
from bayesnas.dsl.loader import load_text
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.jobs.failures import unlearned
from bayesnas.runtime.jobs.search import search as search_module
from bayesnas.runtime.jobs.search.result import SearchResult
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.trained import load_network
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.bayesnas import penalised
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.next_token import NextToken
from bayesnas.runtime.tasks.scores import Score


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return compile_spec(write_tiny(tmp_path_factory.mktemp("spec")))


pytestmark = pytest.mark.usefixtures("no_pictures")


def run(
    space: Compiled, folder: Path, out: Path, resume: bool = False, **settings: float | str
) -> SearchResult:
    published: dict[str, float | str] = {"strategy": "bayesnas", "discretize": "no"}
    chosen = make_settings(SearchSettings, {**space.settings("search"), **published, **settings})
    options = RunOptions(f"folder:{folder}", out, seed=3, device="cpu", resume=resume)
    return search(space, chosen, options)


@pytest.fixture(scope="module")
def done(
    space: Compiled, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, SearchResult]]:
    """A search that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
        out = tmp_path_factory.mktemp("runs") / "whole"
        yield out, run(space, folder, out)


# -------------------------------------------------------------------------------------- results


def test_everything_is_written(done: tuple[Path, SearchResult]) -> None:
    out, _ = done
    assert sorted(snapshot(out)) == sorted([
        "spec.nas", "settings.json", "supernet.py", "history.jsonl", "gates.jsonl",
        "checkpoint.pt", "pruned.nas", "graph.json", "gamma.json", "gamma.md", "search.dot",
        "pruned.dot", "result.json", "rounds.jsonl",
    ])  # fmt: skip
    assert (out / "spec.nas").read_text(encoding="utf-8") == TINY


def test_the_settings_say_what_made_it(done: tuple[Path, SearchResult], folder: Path) -> None:
    record = json.loads((done[0] / "settings.json").read_text(encoding="utf-8"))
    assert record["command"] == "search"
    assert record["data"] == f"folder:{folder}"
    assert record["seed"] == 3
    assert record["settings"]["rounds"] == 3
    assert record["settings"]["momentum"] == SearchSettings().momentum
    assert record["versions"]["torch"] == torch.__version__


def test_the_found_network_is_a_spec(done: tuple[Path, SearchResult], space: Compiled) -> None:
    out, result = done
    found = compile_spec(out / "pruned.nas")
    assert found.graph.searched() == []
    assert graph_cost(found.graph) == result.found
    assert graph_cost(space.graph) == result.supernet
    assert result.found.parameters < result.supernet.parameters
    text = (out / "pruned.nas").read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# Found by bayesnas search of tiny.nas on folder:")
    assert f"seed 3: {result.operations_left} of {result.operations} operations left" in first


def test_retain_is_kept(done: tuple[Path, SearchResult], space: Compiled) -> None:
    graph = compile_spec(done[0] / "pruned.nas").graph
    for retain in space.graph.retains:
        if retain.node in graph.network:
            assert len(graph.connections(retain.node)) <= retain.count


def test_history_and_gates_tell_the_same_story(
    done: tuple[Path, SearchResult], space: Compiled
) -> None:
    out, result = done
    history, gates = lines(out / "history.jsonl"), lines(out / "gates.jsonl")
    assert [row["round"] for row in history] == [0, 1, 2, 3]
    assert [row["gate"] for row in gates] == list(range(len(space.graph.searched())))
    removed = {}
    for row in history:
        assert isinstance(row["removed"], dict)
        removed |= {group: (row["round"], reason) for group, reason in row["removed"].items()}
    assert removed
    for row in gates:
        expected = removed.get(str(row["group"]), (None, None))
        assert (row["removed_in_round"], row["removed_by"]) == expected
    assert history[-1]["alive"] == result.operations_left == result.operations - len(removed)
    assert result.task.entries("holdout", result.holdout).items() <= history[-1].items()


def test_the_graph_carries_what_was_found(done: tuple[Path, SearchResult], space: Compiled) -> None:
    out, _ = done
    graph, found = graph_from_json((out / "graph.json").read_text(encoding="utf-8"), "graph.json")
    gone = {row["gate"] for row in lines(out / "gates.jsonl") if row["removed_by"]}
    assert {e.searched_gate.number for e in graph.searched() if e.id in found.removed} == gone
    assert set(found.gammas) == {e.id for e in space.graph.searched()}


def test_the_result_says_how_to_get_the_figure(done: tuple[Path, SearchResult]) -> None:
    out, result = done
    assert result.advice is not None
    assert "dot -Tsvg" in result.advice
    assert result.figure == str(out / "pruned.dot")
    assert json.loads((out / "result.json").read_text(encoding="utf-8"))["seed"] == 3


# -------------------------------------------------------------------------------------- again


def test_judgements_say_how_far_they_have_come(
    space: Compiled,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bayesnas.runtime.runs.progress.EVERY", 0.0)
    run(space, folder, tmp_path / "run", strategy="posterior", discretize="yes")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("judging: ")]
    shares = [float(line.removeprefix("judging: ").partition("%")[0]) for line in told]
    assert shares == sorted(shares)
    assert (
        75 <= shares[-1] <= 100
    )  # the score of what is left, by all that is held out, comes after


def test_the_same_seed_finds_the_same(
    done: tuple[Path, SearchResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(999)  # what was drawn before does not matter
    run(space, folder, tmp_path / "again")
    for name in SAME:
        assert (tmp_path / "again" / name).read_bytes() == (done[0] / name).read_bytes(), name
    histories = [lines(out / "history.jsonl") for out in (done[0], tmp_path / "again")]
    assert without_seconds(histories[0]) == without_seconds(histories[1])


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C in the middle of that step."""
    descend, count = Supernet.descend, iter(range(10**6))

    def interrupted(self: Supernet, *arguments: Tensor) -> float:
        if next(count) == step:
            raise KeyboardInterrupt
        return descend(self, *arguments)

    monkeypatch.setattr(Supernet, "descend", interrupted)


# 36 images train in 3 steps an epoch: the warm-up ends after 3, the rounds after 6, 9 and 12.
@pytest.mark.parametrize("step", [3, 8])
def test_a_resumed_search_ends_as_an_undisturbed_one(
    step: int,
    done: tuple[Path, SearchResult],
    space: Compiled,
    folder: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, step)
        with pytest.raises(KeyboardInterrupt):
            run(space, folder, out)
    assert (out / "checkpoint.pt").is_file()
    assert not (out / "result.json").exists()
    torch.manual_seed(999)
    resumed = run(space, folder, out, resume=True)
    assert evolve(resumed, seconds=0, figure="", advice="") == evolve(
        done[1], seconds=0, figure="", advice=""
    )
    for name in SAME:
        assert (out / name).read_bytes() == (done[0] / name).read_bytes(), name
    assert without_seconds(lines(out / "history.jsonl")) == without_seconds(
        lines(done[0] / "history.jsonl")
    )


def test_a_search_without_warm_up_is_resumed_too(
    space: Compiled, folder: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(space, folder, whole, warmup_epochs=0, rounds=1)
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(space, folder, cut, warmup_epochs=0, rounds=1)
    run(space, folder, cut, resume=True, warmup_epochs=0, rounds=1)
    for name in SAME:
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    assert [row["round"] for row in lines(cut / "history.jsonl")] == [0, 1]


def test_a_finished_search_resumed_is_the_same(
    done: tuple[Path, SearchResult], space: Compiled, folder: Path
) -> None:
    before = snapshot(done[0])
    run(space, folder, done[0], resume=True)
    assert snapshot(done[0]) == before


def test_another_seed_finds_another(
    done: tuple[Path, SearchResult], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    chosen = make_settings(SearchSettings, {**space.settings("search"), "rounds": 1})
    search(space, chosen, RunOptions(f"folder:{folder}", tmp_path / "o", seed=4, device="cpu"))
    assert (tmp_path / "o" / "gates.jsonl").read_bytes() != (done[0] / "gates.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("settings", "differs"), [({"rounds": 4}, "settings"), ({"lambda_w": 0.5}, "settings")]
)
def test_a_search_is_not_resumed_with_other_settings(
    settings: dict[str, float],
    differs: str,
    done: tuple[Path, SearchResult],
    space: Compiled,
    folder: Path,
) -> None:
    before = snapshot(done[0])
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, done[0], resume=True, **settings)
    [found] = caught.value.diagnostics
    assert found.code == "D414"
    assert found.message == f"the run in `{done[0]}` differs in its {differs}"
    [(name, value)] = settings.items()
    assert any(n.startswith(f"`{name}`: ") and n.endswith(f", now {value}") for n in found.notes)
    assert found.help
    assert snapshot(done[0]) == before


def test_a_search_that_kept_no_weights(done: tuple[Path, SearchResult]) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_network(done[0])
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == (
        "D415",
        f"the search in `{done[0]}` kept no weights of what it found",
    )
    assert str(done[0] / "pruned.nas") in (found.help or "")


# -------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "settings",
    [
        {"dependency": "recursive"},
        {"prune_fraction": 0},
        {"prune_fraction": 1, "lambda_w": 5e-4},
        {"epochs": 0},
        {"curvature_examples": 1},
        {"momentum": 0, "augment": "none"},
    ],
    ids=str,
)
def test_settings(
    settings: dict[str, float | str], space: Compiled, folder: Path, tmp_path: Path
) -> None:
    result = run(space, folder, tmp_path / "o", **{"rounds": 1, **settings})
    assert graph_cost(compile_spec(tmp_path / "o" / "pruned.nas").graph) == result.found
    if settings.get("prune_fraction") == 0:
        reasons = {row["removed_by"] for row in lines(tmp_path / "o" / "gates.jsonl")}
        assert "entropy" not in reasons


class UntouchedPart(Part):
    """A test part that must not be looked at."""

    def __getattribute__(self, name: str) -> object:
        if name in ("inputs", "labels", "subset", "__len__"):
            raise AssertionError(f"a search read `{name}` of the test part")
        return super().__getattribute__(name)

    def __len__(self) -> int:
        raise AssertionError("a search counted the test part")

    def to(self, _device: torch.device) -> Part:
        return self


def test_the_test_part_is_never_touched(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guarded(*arguments: object) -> Data:
        data = load_data(*arguments)  # type: ignore[arg-type]
        return evolve(data, test=UntouchedPart(data.test.inputs, data.test.targets))

    monkeypatch.setattr(search_module, "load_data", guarded)
    run(space, folder, tmp_path / "o", rounds=1)
    assert (tmp_path / "o" / "result.json").is_file()


# -------------------------------------------------------------------------------------- failures


def failed(space: Compiled, folder: Path, out: Path, **settings: float | str) -> DiagnosticError:
    with pytest.raises(DiagnosticError) as caught:
        run(space, folder, out, **settings)
    return caught.value


def test_a_loss_that_is_not_finite(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work failed; what was reached before is kept."""
    descend, count = Supernet.descend, iter(range(10**6))

    def diverging(self: Supernet, *arguments: Tensor) -> float:
        if next(count) == 4:
            with torch.no_grad():
                next(self.module.parameters()).fill_(torch.nan)
        return descend(self, *arguments)

    monkeypatch.setattr(Supernet, "descend", diverging)
    error = failed(space, folder, tmp_path / "o")
    [found] = error.diagnostics
    assert (found.code, error.status) == ("D602", 1)
    assert found.message.startswith("the loss became nan in step ")
    assert "learning_rate" in found.help
    names = set(snapshot(tmp_path / "o"))
    assert {"checkpoint.pt", "history.jsonl", "settings.json", "spec.nas"} <= names
    assert not {"result.json", "pruned.nas"} & names
    assert not [name for name in names if name.startswith(".")]


def test_derivatives_that_are_not_finite(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step, how many entries, and of which edges; the checkpoint before it stays."""

    def broken(*_arguments: object) -> Tensor:
        found = torch.eye(len(space.graph.searched()), dtype=torch.float64)
        found[1, 2] = torch.nan
        return found

    monkeypatch.setattr("bayesnas.runtime.supernet.supernet.ESTIMATORS", {"ggn": broken})
    error = failed(space, folder, tmp_path / "o", curvature="ggn")
    [found] = error.diagnostics
    edge = space.graph.searched()[1]
    assert (found.code, error.status) == ("D602", 1)
    assert found.message.startswith("1 of ")
    assert " entries of the curvature of the gates are not finite after step " in found.message
    assert f"`{edge.connection}: {edge.operation.label}`" in found.notes[0]
    assert "the last good checkpoint is kept in " in found.notes[-1]
    assert "learning_rate" in found.help
    assert torch.load(tmp_path / "o" / "checkpoint.pt", weights_only=True)["round"] == 0


def scored(monkeypatch: pytest.MonkeyPatch, *scores: Score) -> None:
    """What the held-out examples say in the warm-up and after each round."""
    given = iter(scores)
    monkeypatch.setattr(Supernet, "score", lambda *_: next(given))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 7.8e10])
def test_an_absurd_loss_is_not_found(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    scored(monkeypatch, Score(1.0, 0.5), Score(loss, 0.5))
    error = failed(space, folder, tmp_path / "o", rounds=1)
    [found] = error.diagnostics
    message = f"the held-out loss after round 1 became {loss:.3g}"
    assert (found.code, found.message, error.status) == ("D602", message, 1)
    assert found.notes == (
        "without learning it is 1.1",
        f"the last good checkpoint is kept in `{tmp_path / 'o'}`",
    )
    assert not (tmp_path / "o" / "pruned.nas").exists()
    assert torch.load(tmp_path / "o" / "checkpoint.pt", weights_only=True)["round"] == 0


def test_a_loss_may_be_absurd_for_a_while(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, Score(1e6, 0.5), Score(1e6, 0.5), Score(1.0, 0.5))
    assert run(space, folder, tmp_path / "o", rounds=2).holdout.loss == 1.0


def test_weights_that_are_not_finite(
    space: Compiled, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last step no loss tells; they are named, and not saved."""
    step, count = torch.optim.SGD.step, iter(range(10**6))
    state = torch.load(done_checkpoint(space, folder, tmp_path / "whole"), weights_only=True)

    def diverging(self: torch.optim.SGD) -> None:
        step(self)
        if next(count) == state["net"]["steps"] - 1:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(torch.inf)

    monkeypatch.setattr(torch.optim.SGD, "step", diverging)
    error = failed(space, folder, tmp_path / "o", rounds=1, strategy="darts")
    [found] = error.diagnostics
    assert (found.code, error.status) == ("D602", 1)
    assert " numbers that are not finite after round 1 of the search" in found.message
    assert torch.load(tmp_path / "o" / "checkpoint.pt", weights_only=True)["round"] == 0


def done_checkpoint(space: Compiled, folder: Path, out: Path) -> Path:
    run(space, folder, out, rounds=1, strategy="darts")
    return out / "checkpoint.pt"


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (1 / 3, "never rose above 33.33%, that of one answer for all examples: nothing was"),
        (0.35, "ended at 35.00%, not clearly above 33.33%, that of one answer for all examples"),
        (0.9, ""),
    ],
)
def test_that_nothing_was_learned_is_said(
    space: Compiled,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quality: float,
    said: str,
) -> None:
    """A third of the held-out examples are of the largest class."""
    monkeypatch.setattr(Classification, "chance", lambda _task, _targets: Score(1.1, 1 / 3))
    scored(monkeypatch, Score(1.0, 0.2), Score(1.0, quality))
    run(space, folder, tmp_path / "o", rounds=1)
    err = capsys.readouterr().err
    assert ("that of one answer for all" in err) == bool(said)
    assert not said or f"note: held-out accuracy {said}" in err


def test_a_perplexity_that_never_fell_is_said() -> None:
    """What is better when less falls below."""
    task = NextToken(("a", "b", "c", "d"))
    rows = [task.entries("holdout", Score(math.log(p), -p)) for p in (5.0, 4.5)]
    said = unlearned(task, Score(math.log(4), -4.0), rows, 100, weighted=False)
    assert said.startswith("held-out perplexity never fell below 4.00, that of one answer for all")
    better = [*rows, task.entries("holdout", Score(math.log(3), -3.0))]
    assert unlearned(task, Score(math.log(4), -4.0), better, 100, weighted=False) == ""


def test_a_minimum_that_was_missed_is_said_once(
    space: Compiled,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(penalised, "MAX_POINTS", 1)
    monkeypatch.setattr(penalised, "TOLERANCE", 0.0)
    run(space, folder, tmp_path / "o", rounds=2)
    assert capsys.readouterr().err.count("found no minimum of the loss's quadratic model") == 1


def test_batches_of_one_example(folder: Path, tmp_path: Path) -> None:
    """Where a vector is normalised they are refused before anything is written."""
    text = (
        "network n(x: [1, 8, 8]) -> (y: [3]) {\n"
        "    x ~> y : flatten >> linear(3) >> bn | flatten >> linear(3)\n}"
    )
    spec = compile_loaded(load_text(Source("spec.nas", text), NOWHERE))
    error = failed(spec, folder, tmp_path / "o", batch_size=1)
    [found] = error.diagnostics
    assert (found.code, error.status) == ("D439", 2)
    assert "batch_size=2" in found.help
    assert snapshot(tmp_path) == {}


def test_a_search_that_would_leave_nothing(space: Compiled, folder: Path, tmp_path: Path) -> None:
    error = failed(space, folder, tmp_path / "o", lambda_w=1, prune_fraction=1)
    [found] = error.diagnostics
    assert (found.code, error.status) == ("D601", 1)
    assert "lambda_w" in found.help
    assert not (tmp_path / "o" / "pruned.nas").exists()
    assert (tmp_path / "o" / "checkpoint.pt").is_file()


def test_nothing_to_search(folder: Path, tmp_path: Path) -> None:
    text = "network n(x: [1, 8, 8]) -> (y: [3]) { x -> y : flatten >> linear(3) }"
    error = failed(
        compile_loaded(load_text(Source("spec.nas", text), NOWHERE)), folder, tmp_path / "o"
    )
    [found] = error.diagnostics
    assert (found.code, found.message, error.status) == ("D431", "`n` has no searched edges", 2)
    assert "~>" in found.help
    assert snapshot(tmp_path) == {}


def test_files_that_lie_about_do_not_matter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The found spec's imports are the packaged ones, whatever the working folder holds."""
    (tmp_path / "cwd" / "ops").mkdir(parents=True)
    (tmp_path / "cwd" / "ops" / "basic.nas").write_text("not a spec")
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / "spec").mkdir()
    compiled = compile_spec(write_tiny(tmp_path / "spec"))
    run(compiled, folder, tmp_path / "o", rounds=1)
    compile_spec(tmp_path / "o" / "pruned.nas")


def test_the_graph_of_a_space_is_not_changed_by_its_search(
    done: tuple[Path, SearchResult], space: Compiled
) -> None:
    assert done
    assert space.graph.searched() == compile_loaded(space.loaded).graph.searched()
    assert graph_of(network("x -> y : relu")).searched() == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_search_on_a_gpu(space: Compiled, folder: Path, tmp_path: Path) -> None:
    chosen = make_settings(SearchSettings, space.settings("search"))
    options = RunOptions(f"folder:{folder}", tmp_path / "o", seed=3, device="cuda")
    result = search(space, chosen, options)
    assert graph_cost(compile_spec(tmp_path / "o" / "pruned.nas").graph) == result.found
