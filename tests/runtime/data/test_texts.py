"""Texts: tokens, vocabularies, windows, and a language model from a file to answers."""

from __future__ import annotations

import lzma
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support import assert_style, compile_text, graph_of

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions, Ports, Request
from bayesnas.runtime.data.texts.source import load
from bayesnas.runtime.data.texts.tokens import Vocabulary, split_text
from bayesnas.runtime.jobs.export import TOLERANCE, export
from bayesnas.runtime.jobs.prediction import Fault, Prediction, predictions
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, evaluate_run
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.tasks.next_token import UNKNOWN, NextToken

TEXT = "abcab\nca"


def write(path: Path, text: str = TEXT * 5) -> str:
    path.write_text(text, encoding="utf-8")
    return f"text:{path}"


def spec(length: int, tokens: int) -> str:
    ports = f"(window: [{length}]) -> (next: [{tokens}])"
    return f"network lm{ports} {{ window -> next : linear({tokens}) }}"


def refused(name: str, length: int, tokens: int) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_data(name, graph_of(spec(length, tokens)))
    [found] = caught.value.diagnostics
    assert_style(found)
    return found


def test_tokens_are_characters_or_words_with_the_ends_of_lines() -> None:
    assert split_text("ab\nc", "character") == ["a", "b", "\n", "c"]
    assert split_text("In the  beginning,\n\nthe end", "word") == [
        *("In", "the", "beginning,", "<eos>", "<eos>", "the", "end")
    ]
    assert split_text("the end\n", "word") == ["the", "end", "<eos>"]  # else the line goes on


def test_the_most_frequent_tokens_have_numbers_and_the_rest_none() -> None:
    vocabulary = Vocabulary.of(["a", "b", "b", "c", "c", "c"], 3)
    assert vocabulary.tokens == (UNKNOWN, "c", "b")
    assert vocabulary.numbers(["a", "b", "c", "d"]).tolist() == [0, 2, 1, 0]


def test_windows_behind_which_a_token_is_learned(tmp_path: Path) -> None:
    """Every window of the text, and the one token behind each; the end of the text is the test."""
    data = load_data(write(tmp_path / "t.txt"), graph_of(spec(3, 5)))
    assert isinstance(data.task, NextToken)
    numbers = Vocabulary(data.task.tokens).numbers(list(TEXT * 5))
    assert len(data.train) + len(data.test) == 40 - 2 * 3
    for k in range(len(data.train)):
        assert data.train.inputs[k].tolist() == numbers[k : k + 3].tolist()
        assert data.train.targets[k].tolist() == [numbers[k + 3]]
    assert data.test.targets.flatten().tolist() == numbers[32 + 3 :].tolist()
    assert data.normalize(data.train.inputs).tolist() == data.train.inputs.tolist()
    assert data.note == (
        f"`{tmp_path / 't.txt'}`: 32 characters of 5 kinds; its last 8 characters are the test "
        "part; `next` predicts the character that follows a window"
    )


def test_windows_whose_tokens_all_are_followed(tmp_path: Path) -> None:
    """Each token is read once, and what follows it is learned."""
    name = write(tmp_path / "t.txt")
    request = Request(
        name, name.partition(":")[2], (3,), DataOptions(), ports=Ports({"x": (3,)}, {"y": (5, 3)})
    )
    data = load(request)
    numbers = Vocabulary.of(TEXT * 4, 5).numbers(list(TEXT * 4))
    assert data.train.inputs.flatten().tolist() == numbers[:30].tolist()
    assert data.train.targets.flatten().tolist() == numbers[1:31].tolist()


def test_parts_of_a_folder_are_read_by_the_vocabulary_of_the_first(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "the cat sat\n" * 9)
    write(tmp_path / "valid.txt", "the dog sat\n" * 9)
    graph = graph_of(spec(2, 5))
    data = load_data(f"text:{tmp_path}", graph, DataOptions(level="word"))
    assert data.task.record() == {
        "tokens": [UNKNOWN, "<eos>", "cat", "sat", "the"],
        "level": "word",
    }
    assert set(data.test.inputs.flatten().tolist()) == {0, 1, 3, 4}
    assert "there is no `test`: `valid.txt` is the test part" in data.note


def test_a_packed_text_is_read_as_it_is(tmp_path: Path) -> None:
    with lzma.open(tmp_path / "t.txt.xz", "wt", encoding="utf-8") as stream:
        stream.write(TEXT * 5)
    packed = load_data(f"text:{tmp_path / 't.txt.xz'}", graph_of(spec(3, 5)))
    plain = load_data(write(tmp_path / "t.txt"), graph_of(spec(3, 5)))
    assert packed.train.fingerprint() == plain.train.fingerprint()


def test_what_is_wrong_with_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    name = f"text:{path}"
    assert refused(name, 3, 5).message == f"no file `{path}`"
    write(path, "")
    assert refused(name, 3, 5).message == f"`{path}` has no tokens"
    write(path, "abcabc")
    found = refused(name, 8, 4)
    assert (found.code, found.message) == (
        "D512",
        f"`{path}` has 5 tokens, and a window and what follows has 9",
    )
    path.write_bytes(b"\xff\xfe")
    assert refused(name, 3, 5).message == f"`{path}` cannot be read"
    write(path)
    found = refused(name, 3, 9)
    assert (found.code, found.message) == (
        "D506",
        f"`{name}` has 5 kinds of token, the network predicts 9",
    )
    assert found.help == "declare the output as `next: [5]`"
    with pytest.raises(DiagnosticError, match=r"windows of a text are \[length\]"):
        load_data(
            name, graph_of("network n(x: [1, 4]) -> (y: [5]) { x -> y : flatten >> linear(5) }")
        )


SMALL = {"length": 8, "words": 5, "width": 12, "blocks": 1}


def test_from_a_text_to_the_next_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searched, trained, judged on another text, asked what follows a text, and exported."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    name = write(tmp_path / "t.txt", TEXT * 150)
    short = {"warmup_epochs": 1, "epochs": 1, "rounds": 1, "strategy": "evidence"}
    space = Space(compile_spec("text", SMALL))
    settings = make_settings(SearchSettings, {**short, "batch_size": 16})
    search(space, settings, RunOptions(name, tmp_path / "search", device="cpu"))
    found = compile_spec(tmp_path / "search" / "pruned.nas")
    schedule = make_settings(TrainSettings, {"epochs": 25, "batch_size": 8})
    out = tmp_path / "train"
    result = train(found, schedule, RunOptions(name, out, device="cpu"))
    trained = TrainedRun.open(out)
    perplexity = trained.record["test_perplexity"]
    assert perplexity == pytest.approx(math.exp(result.test.loss))
    assert 1 <= perplexity < 2  # 4 tokens, two of which tell what follows

    report, _ = evaluate_run(RunOptions("", out, device="cpu"))
    assert report.score == result.test
    other = write(tmp_path / "other.txt", TEXT * 8)
    judged, data = evaluate_run(RunOptions(other, out, device="cpu"))
    assert len(data.test) == 7
    assert judged.score.quality > -2
    ends = [tmp_path / "end.txt", tmp_path / "short.txt"]
    for path, text in zip(ends, ("xxxab\ncacab\nc", "ab"), strict=True):
        path.write_text(text, encoding="utf-8")
    said = list(predictions(trained, ends, DataOptions(), 1, lambda _: None, Findings()))
    [answer] = [outcome for outcome in said if isinstance(outcome, Prediction)]
    assert answer.answers[0][0] == "'a'"
    assert [outcome.reason for outcome in said if isinstance(outcome, Fault)] == [
        "has 2 tokens, the network reads 8"
    ]
    assert export(out, tmp_path / "net.pt2").difference < TOLERANCE


def test_a_model_that_reads_what_follows_is_refused(tmp_path: Path) -> None:
    """A convolution that is padded on both sides sees the token that it is to predict."""
    name = write(tmp_path / "t.txt", TEXT * 20)
    model = """
    network lm(tokens: [8]) -> (next: [5, 8]) {
        tokens -> next : embedding(5, 4) >> conv(3, 5§)
    }"""
    short = make_settings(TrainSettings, {"epochs": 1})
    options = RunOptions(name, tmp_path / "o", device="cpu")
    with pytest.raises(DiagnosticError) as caught:
        train(compile_text(model.replace("§", "")), short, options)
    [found] = caught.value.diagnostics
    assert (found.code, found.message) == (
        "D517",
        "`next` reads the tokens that it is to predict",
    )
    assert found.span is not None
    assert found.span.line == 2
    train(compile_text(model.replace("§", ", causal = 1")), short, options)


def test_the_perplexity_of_chance_is_that_of_how_often_tokens_come() -> None:
    task = NextToken(("a", "b", "c"))
    targets = torch.tensor([[0, 0], [1, 0]])
    chance = task.chance(targets)
    frequencies = np.log([0.75, 0.25, 1e-9])
    outputs = torch.from_numpy(np.repeat(frequencies, 2)[None].repeat(2, axis=0))
    assert task.score([(outputs, targets)]).quality == pytest.approx(chance.quality)
