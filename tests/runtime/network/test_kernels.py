"""Kernels are tried before they are relied on; where they are wrong, networks run contiguous."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from living import packaged, striped, write_tiny
from support import compile_text
from torch import Tensor, nn

from bayesnas.api import Found
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.network import kernels
from bayesnas.runtime.network.kernels import (
    TABLE,
    Kernel,
    fault,
    fault_of,
    faults,
    find_fault,
    largest,
    layout,
    layout_note,
)
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.runs.record import RunOptions

CPU = torch.device("cpu")
MAPS = packaged("digits_cell").graph
VECTORS = packaged("tabular_mlp").graph
SAID = "wrong by 75.1%: 4 to 8 channels"
Find = Callable[[str, bool], list[int]]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Find]:
    """Kernels in which a given fault is found, and with how many threads it was looked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def give(said: str, certain: bool = True) -> list[int]:
        asked: list[int] = []

        def found(threads: int, _table: object) -> tuple[str, bool]:
            asked.append(threads)
            return said, certain

        monkeypatch.setattr(kernels, "find_fault", found)
        fault.cache_clear()
        return asked

    fault.cache_clear()
    yield give
    fault.cache_clear()


# ------------------------------------------------------------------------------ the test


def test_the_kernels_in_use_are_right() -> None:
    assert find_fault(4, TABLE) == ("", True)


def test_they_are_right_with_fewer_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert find_fault(1, TABLE) == ("", True)


class Shifted(Kernel):
    """A kernel that is wrong in single precision, in its weight gradient alone."""

    def __call__(self, z: Tensor, weight: Tensor) -> Tensor:
        if weight.dtype == torch.float32:
            weight = weight.detach() + 1.1 * (weight - weight.detach())
        return super().__call__(z, weight)


def test_a_wrong_gradient_is_found() -> None:
    wrong = Shifted(4, 8, 3, 2)
    assert list(faults([*TABLE[:2], wrong])) == [f"wrong by 10.0%: {wrong}"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_of_errors_a_nan_is_the_largest(place: int) -> None:
    errors = [1e-9, 0.5, 1e-7]
    assert largest(errors) == 0.5
    errors[place] = math.nan
    assert math.isnan(largest(errors))


class Undefined(Kernel):
    """A kernel whose gradient in the weight is no number."""

    def __call__(self, z: Tensor, weight: Tensor) -> Tensor:
        if weight.dtype == torch.float32:
            weight = weight + (0 * weight).sqrt()
        return super().__call__(z, weight)


def test_a_gradient_that_is_no_number_is_found() -> None:
    wrong = Undefined(4, 8, 3, 2)
    assert list(faults([*TABLE[:2], wrong])) == [f"wrong by NaN: {wrong}"]


@pytest.mark.parametrize(
    ("ending", "said", "certain"),
    [
        ("os.abort()", "the process that tested them died of SIGABRT", True),
        ("os.kill(os.getpid(), 9)", "the process that tested them died of SIGKILL", False),
        ("os._exit(3)", "the process that tested them ended with status 3", True),
        ("raise RuntimeError('no primitive')", "they raised RuntimeError: no primitive", True),
        (
            "import faulthandler, time; faulthandler.dump_traceback_later(0.1, exit=True)\n"
            "while True: time.sleep(1)",
            "they did not return within 60 s",
            True,
        ),
        ("print('wrong by 3.0%')", "wrong by 3.0%", True),
    ],
)
def test_a_process_that_fails_tells_why(
    ending: str, said: str, certain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_RUN", f"import os; print('begun', flush=True)\n{ending}")
    assert find_fault(1, TABLE) == (said, certain)


def test_what_cannot_be_tested_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_RUN", "raise ImportError('no torch')")
    said = "they could not be tested: ImportError: no torch"
    assert find_fault(1, TABLE) == (said, False)
    monkeypatch.setattr(kernels.sys, "executable", "/nonexistent/python")
    assert find_fault(1, TABLE) == ("they could not be tested: FileNotFoundError", False)


# ------------------------------------------------------------------------------ what is remembered


@pytest.mark.parametrize("said", ["", SAID])
def test_a_machine_is_tested_once_for_each_number_of_threads(find: Find, said: str) -> None:
    asked = find(said)
    assert [fault(1), fault(1), fault(2)] == [said] * 3
    again = find("another")
    assert [fault(1), fault(2)] == [said] * 2
    assert (asked, again) == ([1, 2], [])


def test_another_choice_of_kernels_is_tested_anew(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    find("")
    assert fault(1) == ""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    find(SAID)
    assert fault(1) == SAID


def test_what_is_uncertain_is_not_remembered(find: Find) -> None:
    find("killed", certain=False)
    assert fault(1) == "killed"
    find("")
    assert fault(1) == ""


@pytest.mark.parametrize("text", ["", "[]", "{", '{"machine": [], "fault": ""}', "\udcff"])
def test_an_unreadable_memory_is_written_anew(find: Find, text: str, tmp_path: Path) -> None:
    find(SAID)
    assert fault(1) == SAID
    [file] = (tmp_path / "cache/bayesnas").iterdir()
    assert json.loads(file.read_text())["fault"] == SAID
    file.write_text(text, errors="surrogateescape")
    find("")
    assert fault(1) == ""
    assert json.loads(file.read_text())["fault"] == ""


def test_a_place_that_cannot_be_written_does_no_harm(find: Find, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    find(SAID)
    assert fault(1) == SAID


# ------------------------------------------------------------------------------ the safe way


def test_only_maps_on_a_cpu_are_asked_for(find: Find) -> None:
    asked = find(SAID)
    assert layout(VECTORS, CPU) == torch.channels_last
    assert fault_of(MAPS, torch.device("cuda")) == ""
    assert asked == []
    assert layout(MAPS, CPU) == torch.contiguous_format
    assert SAID in layout_note(MAPS, CPU)
    find("")
    fault.cache_clear()
    assert layout_note(VECTORS, CPU) == ""


def test_a_contiguous_network_is_the_same_function() -> None:
    text = "network net(x: [4, 8, 8]) -> (y: [6, 4, 4]) { x -> y : CONVS }"
    convs = "conv(3, 6) >> depthwise_conv(5) >> conv(1, 6, 2) >> conv(3, dilation = 2)"
    graph = compile_text(text.replace("CONVS", convs)).graph
    z = torch.randn(5, 4, 8, 8).to(memory_format=torch.channels_last)
    fast, safe = (
        build(graph, "spec", 0, layout=form)[0]
        for form in (torch.channels_last, torch.contiguous_format)
    )
    seen = []

    def note(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.extend([*inputs, output])

    for layer in safe.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
            seen.append(layer.weight)
    torch.testing.assert_close(safe(z), fast(z))
    assert len(seen) == 3 * 4
    assert all(tensor.is_contiguous() for tensor in seen)


def test_runs_go_contiguous_and_say_so(
    find: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    space = compile_spec(write_tiny(tmp_path))
    data = f"folder:{striped(tmp_path / 'striped')}"
    own = {"strategy": "evidence", "recompute": "yes"}
    settings = make_settings(SearchSettings, {**space.settings("search"), **own})
    training = make_settings(TrainSettings, space.settings("train"))
    losses = []
    for said in ("", SAID):
        out = tmp_path / f"run{bool(said)}"
        monkeypatch.setenv("XDG_CACHE_HOME", str(out))
        find(said)
        found = search(space, settings, RunOptions(data, out / "search", 3, "cpu"))
        trained = train(space, training, RunOptions(data, out / "train", 3, "cpu"))
        fresh = Found(out, found, space).network()
        assert bool(fresh._forward_pre_hooks) == bool(said)
        report, _ = evaluate_run(RunOptions("", out / "train", device="cpu"))
        assert report.score.quality == trained.test.quality
        losses.append([found.holdout.loss, trained.test.loss])
        notes = [line for line in capsys.readouterr().err.splitlines() if "runs contiguous" in line]
        assert len(notes) == (3 if said else 0)
        assert all(note.startswith("note: ") and note.endswith(f"({said})") for note in notes)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
