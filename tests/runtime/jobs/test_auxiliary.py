"""Auxiliary outputs: part of the loss, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import compile_text

from bayesnas import cli
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.jobs.trained import load_network
from bayesnas.runtime.network.learning.auxiliary import Auxiliary
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.outputs import Output
from bayesnas.runtime.tasks.several import Several

# `head_0` and `head[0]` want the same name in the source, so that one of them gets another.
SPEC = """\
motif unit(x; width, stride = 1) -> (out) {
    x ~> out : relu >> conv(1, width, stride) >> bn | relu >> conv(3, width, stride) >> bn
}

network net(image: [1, 8, 8]; width = 4) -> (head_0: [10], logits: [10]) {
    stem = image : conv(3, width)
    body = tied chain unit(stem; width = width) times 3 reduce at 2
    node head[1]
    body[1] -> head_0 : relu >> avg_pool(5, 3, padded = 0) >> flatten >> linear(10)
    body -> head[0] : bn >> relu
    head[0] -> logits : global_avg_pool >> linear(10)
}

learn { head_0 = auxiliary * 0.4 }

search { warmup_epochs = 0.1; rounds = 1; epochs = 0.1; draws = 2; curvature_examples = 16 }

train { epochs = 1; batch_size = 64; average = 0.5; holdout = 0.1; keep = best }
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.nas").write_text(SPEC, "utf-8")


def test_its_loss_is_added_by_weight() -> None:
    compiled = compile_text(SPEC)
    task = Classification(tuple("0123456789"))
    outputs, targets = torch.randn(6, 20, dtype=torch.float64), torch.arange(6)
    losses = [torch.nn.functional.cross_entropy(o, targets) for o in outputs.split(10, dim=1)]
    total = Auxiliary.of(compiled.training).joined(task).loss(outputs, targets)
    assert float(total) == pytest.approx(float(losses[1] + 0.4 * losses[0]), rel=1e-12)


def test_of_several_outputs_it_learns_what_the_one_it_names_learns() -> None:
    text = SPEC.replace("head_0 = auxiliary", "head_0 = auxiliary(of = logits)")
    text = text.replace("logits: [10]", "size: [1], logits: [10]")
    size = "    body -> size : global_avg_pool >> linear(1)\n"
    text = text.replace("    node head", f"{size}    node head")
    auxiliary = Auxiliary.of(compile_text(text).training)
    classes = Classification(tuple("0123456789"))
    labels = torch.arange(6)
    two = Classification(("no", "yes"))
    task = Several(
        (
            Output("size", two, 3.0, 1, (), torch.int64),
            Output("logits", classes, 2.0, 10, (), torch.int64),
        )
    )
    targets = Several.joined([labels % 2, labels])
    outputs = torch.randn(6, 21, dtype=torch.float64)
    total = auxiliary.joined(task).loss(outputs, targets)
    alone = task.loss(outputs[:, 10:], targets) + 0.4 * classes.loss(outputs[:, :10], labels)
    assert float(total) == pytest.approx(float(alone), rel=1e-12)


def test_nothing_else_knows_of_it() -> None:
    compiled = compile_spec("net.nas")
    bare = SPEC.replace("head_0: [10], ", "").replace("learn { head_0 = auxiliary * 0.4 }", "")
    bare = bare.replace(
        "    body[1] -> head_0 : relu >> avg_pool(5, 3, padded = 0) >> flatten >> linear(10)\n", ""
    )
    assert graph_cost(compiled.graph) == graph_cost(compile_text(bare).graph)
    assert graph_cost(compiled.training).parameters == graph_cost(compiled.graph).parameters + 170


@pytest.mark.usefixtures("few_digits")
def test_a_training_leaves_the_network_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "net.nas", "--data", "digits", "-o", "run"]) == 0
    trained = json.loads(Path("run/result.json").read_text("utf-8"))
    assert "AvgPool2d(5" not in Path("run/network.py").read_text("utf-8")
    assert trained["parameters"] == graph_cost(compile_spec("net.nas").graph).parameters
    output = load_network("run")(torch.zeros(3, 1, 8, 8))
    assert output.shape == (3, 10)
    capsys.readouterr()
    assert cli.main(["eval", "run"]) == 0
    assert f"accuracy {100 * trained['test_accuracy']:.2f}%" in capsys.readouterr().out
    np.save("x.npy", np.zeros((1, 8, 8), np.uint8))
    assert cli.main(["predict", "run", "x.npy"]) == 0
    assert cli.main(["export", "run", "-o", "net.pt2"]) == 0
    assert cli.main(["report", "run"]) == 0


@pytest.mark.usefixtures("few_digits")
def test_its_weight_is_an_objective_of_the_command_too() -> None:
    command = ["train", "net.nas", "--data", "digits", "-o", "run", "--option", "epochs=1"]
    assert cli.main([*command, "--objective", "head_0=auxiliary*0.1"]) == 0
    settings = json.loads(Path("run/settings.json").read_text("utf-8"))
    assert settings["objectives"] == {"head_0": "auxiliary * 0.1"}


@pytest.mark.usefixtures("few_digits")
def test_a_search_leaves_it_out_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["search", "net.nas", "--data", "digits", "-o", "run", "--strategy", "random"]
    assert cli.main(command) == 0
    assert "`head_0` is there for training alone" in capsys.readouterr().err
    pruned = Path("run/pruned.nas").read_text("utf-8")
    assert "head_0" not in pruned
    assert [o.name for o in compile_spec("run/pruned.nas").network.outputs] == ["logits"]
