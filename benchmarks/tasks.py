"""Found networks beside plain ones of the same size: tables, a text, images.

    python -m benchmarks.tasks [--workers N]
    python -m benchmarks.tasks --quick
    python -m benchmarks.tasks --text FILE [--quick] [--workers N]
    python -m benchmarks.tasks --images [--quick] [--workers N]

For each task: what the default strategy finds, trained from scratch, and a plain network with as
many parameters that is trained alike. The test part is that of the data set and the same for every
seed; what differs are weights, order and draws. `--quick` takes one seed, `--workers` so many
processes of one thread each.

Tables are those that come with scikit-learn, and labels that its make_multilabel_classification
draws: `specs/table.nas`, a perceptron of two hidden layers, and gradient boosting
(HistGradientBoosting, its defaults). About 3 minutes on 2 cores; `--quick` half a minute.

With `--text`, on the first `CHARACTERS` of a text: `darts_rnn` of `NODES` nodes, and an LSTM whose
embedding is its decoder too; perplexity by character on the last fifth. A seed takes three minutes.

With `--images`, colour from grey: CIFAR-10 images, from `../shared/data`, are given without their
colours; `specs/unet.nas`, and a U-Net of 3x3 convolutions; PSNR. A seed takes two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
from collections.abc import Callable, Mapping
from functools import partial
from math import exp, sqrt
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from attrs import frozen
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, average_precision_score, r2_score

import bayesnas
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Examples
from benchmarks.common import cifar_slice, finish

TRAINING: Final[Mapping[str, Any]] = {
    "epochs": 60,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "weight_decay": 0.01,
}
PERCEPTRON: Final = """
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
READER: Final = """
network plain(text: [35]; words = {words}, width = {width}) -> (next: [words, 35]) {{
    read = text : embedding(words, width) >> dropout(20, locked = 1)
    start = read : zeros(width)
    states, cells = scan lstm(read; width = width) from start, start
    states -> next : dropout(20, locked = 1) >> unembedding(words, bias = 1)
}}
"""
IMAGES, HELD = 50, 20  # of each class, to train on and to test
COLOURING: Final[Mapping[str, Any]] = {
    "epochs": 20,
    "batch_size": 32,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "weight_decay": 0.01,
}
CONVOLUTIONS: Final = """
op conv_bn(width) = conv(3, width) >> bn >> relu
op twice(width) = conv_bn(width) >> conv_bn(width)

network plain(image: [3, 32, 32]; width = 8) -> (mask: [3, 32, 32]) {
    a = image : twice(width)
    b = a : max_pool(2, 2) >> twice(2 * width)
    c = b : max_pool(2, 2) >> twice(4 * width)
    d = c : transposed_conv(2, 2 * width)
    e = concat(d, b)
    f = e : twice(2 * width) >> transposed_conv(2, width)
    g = concat(f, a)
    g -> mask : twice(width) >> conv(1, 3, bias = 1)
}
"""
Row: TypeAlias = "dict[str, float]"


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
    parser.add_argument("--images", action="store_true", help="colour from grey, and no tables")
    parser.add_argument("--workers", type=int, default=1, help="processes; default %(default)s")
    options = parser.parse_args()
    seeds = range(1 if options.quick else 3)
    tasks: dict[str, Callable[[int], Row]]
    tasks = {subject.name: partial(tabular, subject) for subject in SUBJECTS}
    if options.text is not None:
        tasks = {"text": partial(read, options.text.read_text("utf-8")[:CHARACTERS])}
    if options.images:
        tasks = {"images": partial(coloured, cifar_slice(IMAGES, HELD, 32))}
    figures: dict[str, Any] = {}
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        jobs = {
            name: [pool.apply_async(quietly, (t, s)) for s in seeds] for name, t in tasks.items()
        }
        for name, results in jobs.items():
            rows = [result.get() for result in results]
            figures[name] = {word: summary([row[word] for row in rows]) for word in rows[0]}
            told = ", ".join(f"{word} {text}" for word, text in figures[name].items())
            print(f"{name}: {told}", flush=True)
    finish("tasks", seeds=len(seeds), **figures)


def quietly(task: Callable[[int], Row], seed: int) -> Row:
    """A task with a seed, on one thread, without what its runs say."""
    torch.set_num_threads(1)
    with contextlib.redirect_stderr(io.StringIO()):
        return task(seed)


def summary(values: list[float]) -> str:
    """Mean and deviation."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{fmean(values):.4g} ± {deviation:.2g}"


def beside(
    space: Compiled,
    data: Data | str,
    plain: tuple[str, Callable[[int], str]],
    seed: int,
    training: Mapping[str, Any],
    searching: Mapping[str, Any],
    objective: Mapping[str, str] | None = None,
) -> tuple[Row, Row]:
    """Loss, metric and parameters on the test part: of what is found, and of a plain network.

    ``plain`` is its name, and its spec by how many parameters it should have.
    """
    name, spec_of = plain
    own: dict[str, Any] = {"seed": seed, "device": "cpu", "objective": objective}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = bayesnas.search(space, data, folder / "search", **own, **searching)
        trained = bayesnas.train(found, data, folder / "found", **own, **training).result
        spec = folder / "plain.nas"
        spec.write_text(spec_of(trained.parameters))
        by_hand = bayesnas.train(spec, data, folder / "plain", **own, **training).result
    results = {"found": trained, name: by_hand}
    sizes = {f"parameters {word}": float(one.parameters) for word, one in results.items()}
    losses = {word: one.test.loss for word, one in results.items()}
    return {word: one.test.quality for word, one in results.items()} | sizes, losses


def tabular(subject: Subject, seed: int) -> Row:
    """The metric of each on the test part, and the sizes."""
    data = data_of(subject)
    space = bayesnas.compile("table", columns=subject.inputs, outputs=subject.outputs)
    row, _ = beside(space, data, ("plain", partial(perceptron, subject)), seed, TRAINING, {})
    return {**row, "boosting": boosted(data, seed)}


def read(text: str, seed: int) -> Row:
    """The perplexity of each on the end of a text, and the sizes."""
    words = len(set(text))
    space = bayesnas.compile("darts_rnn", words=words, nodes=NODES, width=WIDTH)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "text.txt"
        file.write_text(text, "utf-8")
        plain = "LSTM", partial(long_short_term, words)
        row, losses = beside(space, f"text:{file}", plain, seed, READING, SEARCH)
    return row | {name: exp(loss) for name, loss in losses.items()}


def coloured(images: Path, seed: int) -> Row:
    """The PSNR of each in decibels, and the sizes."""
    arrays = np.load(images)
    colour, colour_test = arrays["x"], arrays["x_test"]
    data = bayesnas.data_of_arrays(
        grey(colour), colour, grey(colour_test), colour_test, name="colour from grey"
    )
    learned = {"mask": "regression"}
    plain = "plain", convolutions
    space = bayesnas.compile("unet", width=8, classes=3)
    row, _ = beside(space, data, plain, seed, COLOURING, SEARCH, learned)
    return row


def grey(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Images [N, 3, H, W] without their colours: the luma of ITU-R 601, in all channels."""
    luma = np.einsum("c,nchw->nhw", [0.299, 0.587, 0.114], images)
    return np.repeat(luma.round().astype(np.uint8)[:, None], 3, axis=1)


def convolutions(parameters: int) -> str:
    """A U-Net of about so many parameters."""

    def of(width: int) -> str:
        return CONVOLUTIONS.replace("width = 8", f"width = {width}")

    return min(map(of, range(2, 33)), key=lambda text: abs(size(text) - parameters))


def size(text: str) -> int:
    """Parameters of a spec's network."""
    with TemporaryDirectory() as scratch:
        spec = Path(scratch) / "plain.nas"
        spec.write_text(text)
        return graph_cost(bayesnas.compile(spec).graph).parameters


def long_short_term(words: int, parameters: int) -> str:
    """An LSTM of about so many parameters: 8 w^2 + (words + 8) w + words of width w."""
    half = (words + 8) / 16
    width = max(2, round(sqrt(half**2 + (parameters - words) / 8) - half))
    return LSTM + READER.format(words=words, width=width)


def data_of(subject: Subject) -> Data:
    """The data set."""
    if subject.name != "labels":
        return bayesnas.load_data(
            subject.name,
            bayesnas.compile("table", columns=subject.inputs, outputs=subject.outputs).graph,
        )
    x, y = make_multilabel_classification(1000, subject.inputs, n_classes=5, random_state=0)
    return bayesnas.data_of_arrays(x, y, name="labels")


def perceptron(subject: Subject, parameters: int) -> str:
    """A perceptron of about so many parameters: w^2 + (inputs + outputs + 6) w of width w."""
    half = (subject.inputs + subject.outputs + 6) / 2
    width = max(2, round(sqrt(half**2 + parameters) - half))
    return PERCEPTRON.format(inputs=subject.inputs, outputs=subject.outputs, width=width)


def boosted(data: Data, seed: int) -> float:
    """Gradient boosting by the same metric."""

    def of(part: Examples) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
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
