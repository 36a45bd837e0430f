"""Found networks beside plain ones of the same size, on real data that comes with scikit-learn.

    python -m benchmarks.tasks
    python -m benchmarks.tasks --quick
    python -m benchmarks.tasks --text FILE [--quick]

For each task: what the default strategy finds in `specs/table.nas`, trained from scratch; a plain
perceptron of two hidden layers with as many parameters, trained alike; and for tables gradient
boosting (scikit-learn's HistGradientBoosting, its defaults). The test part is that of the data set,
a fifth that is the same for every seed; what differs are weights, order and draws. Labels are drawn
by scikit-learn's make_multilabel_classification.

About 3 minutes on 2 cores; `--quick` takes one seed, half a minute.

With `--text`, on the first `CHARACTERS` of a text: what the default strategy finds in `darts_rnn`,
of `NODES` nodes, and an LSTM with as many parameters, whose embedding is its decoder too, trained
alike; perplexity by character on the last fifth. A seed takes three minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Mapping
from functools import partial
from math import exp, sqrt
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from attrs import frozen
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, average_precision_score, r2_score

import bayesnas
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from benchmarks.common import finish

TRAINING: Final[Mapping[str, Any]] = {
    "epochs": 60,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "weight_decay": 0.01,
}
PLAIN: Final = """
network plain(row: [{inputs}]) -> (answer: [{outputs}]) {{
    hidden = row : linear({width}) >> bn >> relu >> linear({width}) >> bn >> relu
    hidden -> answer : linear({outputs})
}}
"""
CHARACTERS, NODES, WIDTH = 60_000, 3, 32
SEARCH: Final[Mapping[str, Any]] = {"warmup_epochs": 2, "rounds": 2}
READING: Final[Mapping[str, Any]] = {
    "epochs": 20,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 0.005,
    "gradient_clip": 0.25,
}
LSTM: Final = """
motif lstm(x, before, cell; width) -> (hidden, carried) {
    read = x : linear(4 * width)
    kept = before : linear(4 * width)
    gates = sum(read, kept)
    i = gates : chunk(0, 4) >> sigmoid
    f = gates : chunk(1, 4) >> sigmoid
    g = gates : chunk(2, 4) >> tanh
    o = gates : chunk(3, 4) >> sigmoid
    old = product(f, cell)
    new = product(i, g)
    carried = sum(old, new)
    shown = carried : tanh
    hidden = product(o, shown)
}
"""
PLAIN: Final = """
network plain(text: [35]; words = {words}, width = {width}) -> (next: [words, 35]) {{
    read = text : embedding(words, width) >> dropout(20, locked = 1)
    start = read : zeros(width)
    states, cells = scan lstm(read; width = width) from start, start
    states -> next : dropout(20, locked = 1) >> unembedding(words, bias = 1)
}}
"""


@frozen
class Subject:
    """A data set, and how many numbers go in and out."""

    name: str
    inputs: int
    outputs: int


SUBJECTS: Final = (
    Subject("diabetes", 10, 1),
    Subject("breast_cancer", 30, 1),
    Subject("wine", 13, 3),
    Subject("labels", 20, 5),
)


def main() -> None:
    """All of them, a row a task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--text", type=Path, metavar="FILE", help="this text, and no tables")
    options = parser.parse_args()
    seeds = range(1 if options.quick else 3)
    torch.set_num_threads(1)
    tasks: dict[str, Callable[[int], dict[str, float]]]
    tasks = {subject.name: partial(measured, subject) for subject in SUBJECTS}
    if options.text is not None:
        start = options.text.read_text("utf-8")[:CHARACTERS]
        tasks = {"text": partial(read, start)}
    figures: dict[str, Any] = {}
    for name, task in tasks.items():
        with contextlib.redirect_stderr(io.StringIO()):  # of runs
            rows = [task(seed) for seed in seeds]
        figures[name] = {word: summary([row[word] for row in rows]) for word in rows[0]}
        told = ", ".join(f"{word} {text}" for word, text in figures[name].items())
        print(f"{name}: {told}", flush=True)
    finish("tasks", seeds=len(seeds), **figures)


def summary(values: list[float]) -> str:
    """Mean and deviation."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.4g} ± {deviation:.2g}"


def measured(subject: Subject, seed: int) -> dict[str, float]:
    """The metric of each on the test part, and the sizes."""
    data = data_of(subject)
    space = bayesnas.compile("table", columns=subject.inputs, outputs=subject.outputs)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = bayesnas.search(space, data, folder / "search", seed=seed, device="cpu")
        trained = bayesnas.train(found, data, folder / "found", seed=seed, device="cpu", **TRAINING)
        spec = folder / "plain.nas"
        spec.write_text(plain(subject, trained.result.parameters))
        by_hand = bayesnas.train(spec, data, folder / "plain", seed=seed, device="cpu", **TRAINING)
    return {
        "found": trained.result.test.quality,
        "plain": by_hand.result.test.quality,
        "boosting": boosted(data, seed),
        "parameters found": trained.result.parameters,
        "parameters plain": by_hand.result.parameters,
    }


def read(text: str, seed: int) -> dict[str, float]:
    """The perplexity of each on the end of a text, and the sizes."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "text.txt").write_text(text, "utf-8")
        words, data = len(set(text)), f"text:{folder / 'text.txt'}"
        space = bayesnas.compile("darts_rnn", words=words, nodes=NODES, width=WIDTH)
        run: dict[str, Any] = {"seed": seed, "device": "cpu"}
        found = bayesnas.search(space, data, folder / "search", **run, **SEARCH)
        trained = bayesnas.train(found, data, folder / "found", **run, **READING)
        spec = folder / "plain.nas"
        spec.write_text(long_short_term(words, trained.result.parameters))
        by_hand = bayesnas.train(spec, data, folder / "plain", **run, **READING)
    results = {"found": trained.result, "LSTM": by_hand.result}
    return {name: exp(result.test.loss) for name, result in results.items()} | {
        f"parameters {name}": result.parameters for name, result in results.items()
    }


def long_short_term(words: int, parameters: int) -> str:
    """An LSTM of about so many parameters: 8 w^2 + (words + 8) w + words of width w."""
    half = (words + 8) / 16
    width = max(2, round(sqrt(half**2 + (parameters - words) / 8) - half))
    return LSTM + PLAIN.format(words=words, width=width)


def data_of(subject: Subject) -> Data:
    """The data set."""
    if subject.name != "labels":
        return bayesnas.load_data(
            subject.name,
            bayesnas.compile("table", columns=subject.inputs, outputs=subject.outputs).graph,
        )
    x, y = make_multilabel_classification(1000, subject.inputs, n_classes=5, random_state=0)
    return bayesnas.data_of_arrays(x, y, name="labels")


def plain(subject: Subject, parameters: int) -> str:
    """A perceptron of about so many parameters: w^2 + (inputs + outputs + 6) w of width w."""
    half = (subject.inputs + subject.outputs + 6) / 2
    width = max(2, round(sqrt(half**2 + parameters) - half))
    return PLAIN.format(inputs=subject.inputs, outputs=subject.outputs, width=width)


def boosted(data: Data, seed: int) -> float:
    """Gradient boosting by the same metric."""

    def of(part: Part) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        assert isinstance(part.inputs, torch.Tensor)
        return part.inputs.numpy(), part.targets.numpy()

    (x, y), (x_test, y_test) = of(data.train), of(data.test)
    if data.task.metric == "R2":
        regressor = HistGradientBoostingRegressor(random_state=seed).fit(x, y[:, 0])
        return float(r2_score(y_test[:, 0], regressor.predict(x_test)))
    if data.task.metric == "accuracy":
        classifier = HistGradientBoostingClassifier(random_state=seed).fit(x, y)
        return float(accuracy_score(y_test, classifier.predict(x_test)))
    models = [HistGradientBoostingClassifier(random_state=seed).fit(x, y[:, k]) for k in range(5)]
    chances = np.stack([model.predict_proba(x_test)[:, 1] for model in models], axis=1)
    return float(average_precision_score(y_test, chances))


if __name__ == "__main__":
    main()
