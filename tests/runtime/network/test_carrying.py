"""States carried over a text: against PyTorch's LSTM over the whole of it, in float64."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from support import assert_style, compile_text
from torch import Tensor, nn

from bayesnas.compiler.graph.scans import carried_scans
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data, Streams, stretches
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import evaluate_run, load_network
from bayesnas.runtime.network.carrying import STRETCH, States, judged_rows
from bayesnas.runtime.network.learning.learner import Learner
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.next_token import NextToken
from benchmarks.tasks import LSTM

WORDS, WIDTH, LENGTH = 5, 4, 3
NET = f"""{LSTM}
network reader(text: [{LENGTH}]) -> (next: [{WORDS}, {LENGTH}]) {{
    read = text : embedding({WORDS}, {WIDTH})
    start = read : zeros
    h, c = scan lstm(read; width = {WIDTH}) from start, start
    h -> next : conv(1, {WORDS}, bias = 1)
}}
"""
SETTINGS = TrainSettings(
    epochs=2, batch_size=4, learning_rate=0.5, augment="none", weight_decay=0, schedule="constant"
)


class Reference(nn.Module):
    """The same network by PyTorch's own layers."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.read = nn.Embedding(WORDS, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.next = nn.Linear(WIDTH, WORDS)
        self.double()
        given = dict(own.named_parameters())
        names = {
            "read.weight": self.read.weight,
            "h.read.weight": self.lstm.weight_ih_l0,
            "h.read.bias": self.lstm.bias_ih_l0,
            "h.kept.weight": self.lstm.weight_hh_l0,
            "h.kept.bias": self.lstm.bias_hh_l0,
            "next_.weight": self.next.weight,
            "next_.bias": self.next.bias,
        }
        with torch.no_grad():
            for name, parameter in names.items():
                parameter.copy_(given[name].reshape(parameter.shape))

    def forward(
        self, words: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Scores [N, words, length] and the states after the last word."""
        states, last = self.lstm(self.read(words.long()), state)
        return self.next(states).mT, last


def network() -> tuple[Learner, Reference]:
    compiled = compile_text(NET)
    module, emitted = build(compiled.graph, "net.nas", 0, carrying=True)
    module.double()
    return Learner(module, emitted, compiled.graph, SETTINGS), Reference(module)


def text(windows: int) -> Data:
    """A text of so many windows of whole numbers; what follows each is the next."""
    words = torch.randint(WORDS, (windows * LENGTH + 1,), generator=torch.manual_seed(1))
    inputs = words[:-1].reshape(windows, LENGTH).float()
    part = Part(inputs, words[1:].reshape(windows, LENGTH))
    plain = torch.zeros(LENGTH), torch.ones(LENGTH)
    return Data("text", NextToken(tuple("abcde")), part, part, *plain, "none")


def test_training_is_truncated_back_propagation_through_time() -> None:
    learner, reference = network()
    data = text(windows=14)  # 4 rows of 3 windows, and 2 windows of no row
    batches = Streams(data, data.train, 4, "none", torch.Generator())
    losses = [loss for epoch in range(2) for loss in learner.epoch(batches, epoch)]
    optimizer = torch.optim.SGD(reference.parameters(), 0.5, 0.9, nesterov=True)
    expected = []
    rows = data.train.inputs[:12].reshape(4, 3, LENGTH)  # type: ignore[call-overload]
    targets = data.train.targets[:12].reshape(4, 3, LENGTH)
    for _ in range(2):
        state = None
        for k in range(3):
            scores, state = reference(rows[:, k], state)
            state = state[0].detach(), state[1].detach()
            loss = nn.functional.cross_entropy(scores, targets[:, k])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(reference.parameters(), 5.0)
            optimizer.step()
            expected.append(float(loss.detach()))
    assert losses == pytest.approx(expected, rel=1e-12)
    parameters = dict(learner.module.named_parameters())
    assert torch.allclose(parameters["h.kept.weight"], reference.lstm.weight_hh_l0, atol=1e-12)
    assert not torch.allclose(reference.lstm.weight_hh_l0, network()[1].lstm.weight_hh_l0)


@torch.no_grad()
def test_a_text_is_judged_in_one_breath_and_the_states_of_a_training_stay() -> None:
    learner, _ = network()
    data = text(windows=7)
    with torch.enable_grad():
        list(learner.epoch(Streams(data, data.train, 4, "none", torch.Generator()), 0))
    before = {name: z.clone() for name, z in learner.states.tensors().items()}
    reference = Reference(learner.module)
    scores, _ = reference(data.train.inputs.reshape(1, -1))  # type: ignore[union-attr]
    whole = nn.functional.cross_entropy(scores, data.train.targets.reshape(1, -1))
    score = evaluate(learner.module, data, data.train, at_once=500)
    assert score.loss == pytest.approx(float(whole), rel=1e-12)
    alone = learner.module(data.train.inputs)  # not carried, where nobody asks for it
    parted = nn.functional.cross_entropy(alone, data.train.targets)
    assert abs(float(parted) - float(whole)) > 1e-4
    assert all(torch.equal(z, before[name]) for name, z in learner.states.tensors().items())


@pytest.mark.parametrize(("count", "rows"), [(7, 1), (7, 3), (6, 3), (5, 5), (1, 1)])
def test_stretches_hold_each_window_once_and_each_row_reads_on(count: int, rows: int) -> None:
    batches = stretches(count, rows)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert len(batches[0]) == rows
    for one, other in pairwise(batches):
        assert torch.equal(one[: len(other)] + 1, other)


def test_long_texts_alone_are_judged_in_parts() -> None:
    assert judged_rows(2 * STRETCH - 1, 500) == 1
    assert judged_rows(10 * STRETCH, 500) == 10
    assert judged_rows(10 * STRETCH, 4) == 4


def test_scans_of_a_shared_motif_or_in_a_scan_are_not_carried() -> None:
    graph = compile_text("""
motif step(x, before) -> (after) {
    both = concat(x, before)
    both -> after : linear(4)
}
motif twice(x, before) -> (after) {
    pair = x : series(2)
    inner = scan step(pair) from before
    inner -> after : pick(1)
}
motif tower(x) -> (y) {
    start = x : zeros(4)
    states = scan step(x) from start
    states -> y : pick(2)
}
network net(a: [4, 3], b: [4, 3]) -> (y: [4]) {
    start = a : zeros(4)
    outer = scan twice(a) from start
    left = shared tower(a)
    right = shared tower(b)
    lone = tower(b)
    outer -> y : pick(0)
    {left, right, lone} -> y
}
""").graph
    assert set(carried_scans(graph)) == {"outer", "lone.states"}
    module, _ = build(graph, "net.nas", 0, carrying=True)
    assert len(States.of(module).carriers) == 2


# ------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text("abcd" * 30, encoding="utf-8")
    return f"text:{path}"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    path = tmp_path_factory.mktemp("spec") / "reader.nas"
    path.write_text(NET, encoding="utf-8")
    return compile_spec(path)


CARRYING = {"epochs": 2, "batch_size": 4, "carry_state": "yes", "holdout": 0.25, "average": 0.5}


def run(spec: Compiled, book: str, out: Path, resume: bool = False, **settings: str) -> float:
    chosen = make_settings(TrainSettings, {**CARRYING, **settings})
    options = RunOptions(book, out, seed=3, device="cpu", resume=resume)
    return train(spec, chosen, options).test.loss


def interrupted(times: Iterator[int]) -> None:
    if next(times) % 2 == 0:
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_training_goes_on_in_the_text(
    spec: Compiled, book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = run(spec, book, tmp_path / "whole")
    judged, _ = evaluate_run(RunOptions("", tmp_path / "whole", device="cpu"))
    assert judged.score.loss == pytest.approx(loss, rel=1e-6)
    step, times = torch.optim.SGD.step, iter(range(1000))

    def disturbed(self: torch.optim.SGD, *arguments: object) -> None:
        step(self, *arguments)  # type: ignore[arg-type]
        interrupted(times)

    monkeypatch.setattr(torch.optim.SGD, "step", disturbed)
    cuts = 0
    while not (tmp_path / "cut" / "result.json").is_file():
        try:
            run(spec, book, tmp_path / "cut", resume=cuts > 0)
        except KeyboardInterrupt:
            cuts += 1
    assert cuts > 2
    weights = [(tmp_path / name / "weights.pt").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]
    source = (tmp_path / "whole" / "network.py").read_text("utf-8")
    assert "Carried" not in source
    words = torch.zeros(1, LENGTH)
    kept = load_network(tmp_path / "whole")
    assert torch.equal(kept(words), kept(words))  # each call of a network begins anew


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (
            NET.replace(f"[{WORDS}, {LENGTH}]", f"[{WORDS}]").replace(
                "conv(1, 5, bias = 1)", "pick(2) >> linear(5)"
            ),
            "leave it out: examples of `BOOK` are no windows that follow each other",
        ),
        (
            f"network plain(text: [{LENGTH}]) -> (next: [{WORDS}, {LENGTH}]) "
            f"{{ text -> next : embedding({WORDS}, 4) >> conv(1, {WORDS}) }}",
            "leave it out: `plain` has no `scan` that runs once for each example",
        ),
    ],
)
def test_states_that_cannot_be_carried_are_refused(
    text: str, remedy: str, book: str, tmp_path: Path
) -> None:
    (tmp_path / "s.nas").write_text(text, encoding="utf-8")
    with pytest.raises(DiagnosticError) as caught:
        run(compile_spec(tmp_path / "s.nas"), book, tmp_path / "out")
    [found] = caught.value.diagnostics
    assert_style(found)
    told: tuple[Diagnostic | str, ...] = (found.code, found.message, found.help or "")
    expected = remedy.replace("BOOK", book)
    assert told == ("D232", "`carry_state` does nothing here", expected)
