"""Regression: whose units, which scores, what suits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from support import graph_of

import bayesnas
from bayesnas.compiler.settings import SearchSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.arrays import data_of_arrays
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.registry import task_of
from bayesnas.runtime.tasks.regression import Regression

RANDOM = np.random.default_rng(0)


def test_scores_are_those_of_scikit_learn_in_the_units_of_the_targets() -> None:
    """Whatever the mean and the deviation of the part that is judged."""
    values, guesses = 50 + 7 * RANDOM.normal(size=(40, 2)), 50 + 7 * RANDOM.normal(size=(40, 2))
    task = Regression(("a", "b"), (40.0, 60.0), (5.0, 9.0))
    mean, deviation = np.array(task.mean), np.array(task.deviation)
    outputs = torch.from_numpy((guesses - mean) / deviation)
    report = task.report([(outputs, torch.from_numpy(values))])
    assert report.measures is not None
    for k, name in enumerate(task.names):
        assert report.measures.rows[name] == pytest.approx(
            [
                r2_score(values[:, k], guesses[:, k]),
                root_mean_squared_error(values[:, k], guesses[:, k]),
                mean_absolute_error(values[:, k], guesses[:, k]),
            ]
        )
    assert report.score.quality == pytest.approx(r2_score(values, guesses))
    answers = [[number for _, number in row] for row in task.answers(outputs, 1)]
    np.testing.assert_allclose(answers, guesses)


def test_a_constant_target_has_no_variance_to_explain() -> None:
    """Rounding may give it one."""
    task = Regression(("a", "b"), (0.0, 0.0), (1.0, 1.0))
    values = torch.stack([torch.full((7,), 0.1), torch.arange(7.0)], dim=1).double()
    report = task.report([(values + 0.5, values)])
    assert report.measures is not None
    assert report.measures.rows["a"][0] == 0
    assert report.measures.rows["b"][0] == pytest.approx(1 - 0.25 / 4)


def test_answers_have_the_digits_that_tell_them_apart() -> None:
    task = Regression(("time", "size"), (1.7e9, 70.0), (300.0, 20.0))
    texts = task.answer_texts([("time", 1_700_000_028.31), ("size", 71.23456789)])
    assert texts == ["time 1700000028.3", "size 71.2346"]
    targets = torch.tensor([[1_700_000_028.31, 71.23456789]], dtype=torch.float64)
    assert task.truths(targets) == ["1700000028.3, 71.235"]


def test_the_loss_is_that_of_a_normal_distribution() -> None:
    task = Regression(("y",), (2.0,), (4.0,), 0.5)
    outputs, targets = torch.tensor([[0.3]]), torch.tensor([[6.0]], dtype=torch.float64)
    normal = torch.distributions.Normal(0.3, 0.5)
    assert float(task.loss(outputs, targets)) == pytest.approx(
        -float(normal.log_prob(torch.tensor(1.0))), rel=1e-6
    )


def test_an_estimated_sigma_is_the_likeliest() -> None:
    """Equation 9 of BayesNAS: the root mean square of the residuals, whatever it was before."""
    plain = Regression(("a", "b"), (40.0, 60.0), (5.0, 9.0))
    asked = plain.with_options({"sigma": 0})
    assert asked.estimating
    outputs = torch.from_numpy(RANDOM.normal(size=(30, 2)))
    targets = torch.from_numpy(50 + 7 * RANDOM.normal(size=(30, 2)))
    batches = [(outputs, targets)]
    found = asked.informed(asked.score(batches))
    z = (targets - torch.tensor(plain.mean)) / torch.tensor(plain.deviation)
    assert found.sigma == pytest.approx(float((outputs - z).square().mean().sqrt()))
    assert found.informed(found.score(batches)).sigma == pytest.approx(found.sigma)
    for sigma in (0.99 * found.sigma, 1.01 * found.sigma):
        assert evolve(found, sigma=sigma).score(batches).loss > found.score(batches).loss
    assert plain.informed(plain.score(batches)) == plain
    [factors] = found.factors(outputs)
    assert factors.weights[0, 0] == pytest.approx(found.sigma**-2)


TABLE = """
network net(x: [3]) -> (y: [1]) {
    node h
    x ~> h : linear(4) >> tanh | linear(4)
    h -> y : linear(1)
}
learn { y = regression(sigma = 0) }
search { warmup_epochs = 4; rounds = 1; epochs = 1; draws = 2; batch_size = 8 }
train { epochs = 4; batch_size = 8 }
"""


def test_searches_and_trainings_estimate_it(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(200, 3))
    data = data_of_arrays(x, x[:, 0] + 0.1 * RANDOM.normal(size=200))
    spec = tmp_path / "net.nas"
    spec.write_text(TABLE, encoding="utf-8")
    found = bayesnas.search(spec, data, tmp_path / "search", device="cpu")
    before, after = (
        json.loads(line)["holdout_loss"]
        for line in (tmp_path / "search/history.jsonl").read_text("utf-8").splitlines()
    )
    assert before > 0.9  # of sigma 1: 0.92 and more
    assert after < 0.9
    trained = bayesnas.train(found, data, tmp_path / "train", device="cpu")
    record = json.loads((tmp_path / "train/result.json").read_text("utf-8"))
    assert record["sigma"] == pytest.approx((1 - trained.result.test.quality) ** 0.5, rel=0.5)
    assert record["sigma"] < 0.9
    task = TrainedRun.open(tmp_path / "train").task
    assert isinstance(task, Regression)
    assert task.sigma == record["sigma"]


def test_steps_are_those_of_squares_whatever_is_estimated() -> None:
    x = RANDOM.normal(size=(40, 3))
    data, graph = data_of_arrays(x, x[:, 0]), graph_of(TABLE)
    settings, weights = SearchSettings(batch_size=8, weight_decay=0), []
    for sigma in (1.0, 0.3):
        task = evolve(data.task, sigma=sigma, estimated=True)
        net = Supernet(graph, "n", evolve(data, task=task), settings, 0, torch.device("cpu"))
        for inputs, targets in net.batches(3):
            net.descend(inputs, targets, net.gates.at(dict.fromkeys(net.gates.groups, 1.0)))
        weights.append(torch.cat([w.detach().flatten() for w in net.module.parameters()]))
    torch.testing.assert_close(*weights)


def test_units_are_those_of_the_training_part_alone() -> None:
    y = np.concatenate([RANDOM.normal(5, 2, size=400), RANDOM.normal(500, 1, size=100)])
    data = data_of_arrays(np.zeros((400, 3)), y[:400], np.zeros((100, 3)), y[400:])
    assert isinstance(data.task, Regression)
    assert data.task.mean == pytest.approx((y[:400].mean(),))
    split = data_of_arrays(np.zeros((500, 3)), y)
    assert isinstance(split.task, Regression)
    assert split.task.mean == pytest.approx((float(split.train.targets.mean()),))


@pytest.mark.parametrize(
    ("targets", "numbers"),
    [
        ([0.5, 1.5], True),
        ([151.0, 75.0, 310.0], True),  # whole, but no classes from 0 without gaps
        ([1.0, 2.0, 3.0], True),
        ([0.0, 1.0, 2.0], False),
        ([0, 1, 2], False),
        ([[0.1, 5.0], [0.2, 7.0]], True),
    ],
    ids=str,
)
def test_floating_point_numbers_are_predicted_unless_they_number_classes(
    targets: list[float], numbers: bool
) -> None:
    assert isinstance(task_of(np.array(targets), "`y`"), Regression) == numbers


def test_strata_are_of_equal_size_and_in_order() -> None:
    task = Regression(("y",), (0.0,), (1.0,))
    targets = torch.from_numpy(RANDOM.permutation(53)[:, None].astype(float))
    strata = task.strata(targets)
    counts = np.bincount(strata)
    assert len(counts) == 10
    assert counts.max() - counts.min() <= 1
    order = targets[:, 0].argsort().numpy()
    assert (np.diff(strata[order]) >= 0).all()
    assert task.strata(targets[:7]).max() == 0


def test_classes_are_not_weighed() -> None:
    task = Regression(("y",), (0.0,), (1.0,))
    with pytest.raises(DiagnosticError) as caught:
        task.balanced(torch.zeros(3, 1))
    [found] = caught.value.diagnostics
    assert found.code == "D423"
    assert found.message == "`class_weights = balanced` does nothing where R2 is learned"


def test_a_network_of_another_number_of_outputs() -> None:
    task = Regression(("y",), (0.0,), (1.0,))
    with pytest.raises(DiagnosticError) as caught:
        task.check(graph_of("network net(x: [4]) -> (y: [3]) { x -> y : linear(3) }"), "prices")
    [found] = caught.value.diagnostics
    assert found.message == "`prices` has a number to predict per example, the network predicts 3"
    assert found.help.startswith("declare the output as `y: [1]`, fed by `linear(1)`")


def test_an_objective_that_was_asked_for_is_blamed() -> None:
    text = "network n(x: [3]) -> (y: [4]) { x -> y : linear(4) }\nlearn { y = regression }"
    task = task_of(np.arange(40) % 4, "`y`", objective=graph_of(text).objectives[0])
    with pytest.raises(DiagnosticError) as caught:
        task.check(graph_of(text), "data")
    [found] = caught.value.diagnostics
    assert found.notes == ("`y` learns a regression, as its objective says",)
    assert found.help.endswith("fed by `linear(1)`; or give it another objective")


def test_an_error_of_chance_is_about_what_it_is() -> None:
    """R2 of answers that have a correlation with the targets varies so much."""
    task, found = Regression(("y",), (0.0,), (1.0,)), []
    for _ in range(400):
        x = RANDOM.normal(size=200)
        y = x + RANDOM.normal(size=200)  # R2 0.5
        report = task.report([(torch.from_numpy(x)[:, None], torch.from_numpy(y)[:, None])])
        found.append(report.score.quality)
    assert task.standard_error(0.5, 200) == pytest.approx(np.std(found), rel=0.3)
