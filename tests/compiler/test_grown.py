"""Found cells in the networks that they are trained in for a result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import compile_text

from bayesnas import cli
from bayesnas.commands.counting import NETWORKS
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.grown import grown
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.recipes import recipe_settings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.loader import packaged_networks
from bayesnas.runtime.network.modules import build

HEADS = {"cifar10": 476_426, "imagenet": 1_260_776}


def test_all_networks_are_named_on_the_command_line() -> None:
    assert list(NETWORKS) == packaged_networks()


@pytest.mark.parametrize(
    ("spec", "around"),
    [
        ("darts_v2", "darts_cifar10"),
        ("darts_v2_imagenet", "darts_imagenet"),
        ("bayesnas_cells", "bayesnas_cifar10"),
        ("bayesnas_imagenet", "bayesnas_imagenet"),
    ],
)
def test_a_published_cell_grows_into_its_published_network(spec: str, around: str) -> None:
    own = compile_spec(spec)
    new = grown(own, around)
    assert graph_cost(new.graph) == graph_cost(own.graph)
    assert new.settings("train") == own.settings("train")
    assert new.training.objectives == own.training.objectives


@pytest.mark.parametrize("kind", HEADS)
def test_the_head_of_the_authors(kind: str) -> None:
    new = grown(compile_spec("darts_v2"), f"darts_{kind}")
    head = graph_cost(new.training).parameters - graph_cost(new.graph).parameters
    assert head == HEADS[kind]
    [objective] = new.training.objectives
    assert str(objective) == "auxiliary = auxiliary * 0.4"
    edges = [e for e in new.training.edges() if e.target == "auxiliary"]
    width, size = (576, 8) if kind == "cifar10" else (768, 7)
    assert new.training.node(edges[0].source).shape == (width, size, size)


def found_cell() -> Compiled:
    """A member of the DARTS space, small."""
    return compile_text(
        """\
import "ops/darts.nas"
op mine(kernel) = conv(kernel) >> bn(affine = 0)
motif inner(x; width) -> (out) {
    out = x : mine(3)
}
motif cell(before, last; width, stride = 1, lag = 1) -> (out) {
    a = before : preprocess(width, lag)
    b = last : preprocess(width)
    node h[2]
    {a, b} -> h[0] : pool_max(3, stride)
    a -> h[1] : sep_conv(3, stride)
    c = inner(h[0]; width = width)
    out = concat(h, c)
}
network found(image: [3, 32, 32]; cells = 3, width = 4) -> (logits: [10]) {
    stem = image : conv(3, 3 * width) >> bn
    body = tied chain cell(stem, stem; width = width) times cells reduce at 1
    body -> logits : global_avg_pool >> linear(10)
}
train { epochs = 3 }
"""
    )


def test_it_has_the_operations_and_the_recipe_of_results() -> None:
    new = grown(found_cell(), "darts_cifar10", values={"cells": 6, "width": 8, "classes": 3})
    text = new.loaded.source.text
    assert "op pool_max(kernel, stride = 1) = max_pool(kernel, stride)\n" in text
    assert "op mine(kernel) = conv(kernel) >> bn(affine = 0)\n" in text
    assert "cells = 6, width = 8, classes = 3" in text
    assert 'import "recipes/darts_cifar10.nas"' in text
    assert 'import "ops' not in text
    assert new.settings("train")["epochs"] == 600
    module, _ = build(new.training, "grown.nas", 0)
    outputs = module.eval()(torch.zeros(2, 3, 32, 32))
    assert [tuple(y.shape) for y in outputs] == [(2, 3), (2, 3)]


def test_the_command_takes_the_folder_of_a_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", "darts_cell", "--set", "cells=3", "-o", str(tmp_path / "pruned.nas")]
    assert cli.main(command) == 0
    out = str(tmp_path / "net.nas")
    assert cli.main(["grow", str(tmp_path), "--as", "darts_cifar10", "-o", out]) == 0
    assert cli.main(["check", out]) == 0
    assert compile_spec(out).graph.root.parameters == (
        ("cells", 20),
        ("width", 36),
        ("classes", 10),
    )
    capsys.readouterr()
    assert cli.main(["grow", str(tmp_path), "--as", "darts_cifar10"]) == 0
    assert capsys.readouterr().out == Path(out).read_text("utf-8")


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.nas"
    text = """\
network mine(image: [3, 8, 8]; width = 4) -> (logits: [2]) {
    a = image : conv(3, width)
    b = cell(a, a; width = width)
    b -> logits : global_avg_pool >> linear(2)
}
"""
    path.write_text(text, "utf-8")
    assert grown(found_cell(), str(path)).network.name == "mine"
    path.write_text(text.replace("cell(a, a", "other(a, a"), "utf-8")
    with pytest.raises(DiagnosticError, match="is no network around a cell"):
        grown(found_cell(), str(path))


@pytest.mark.parametrize(
    ("spec", "cell", "message", "remedy"),
    [
        (
            "nasbench201",
            "",
            "`cell` does not fit into the network `darts_cifar10`",
            "it makes cells as `cell(before, last; ",
        ),
        (  # its motif `dense` has one input
            "densenet",
            "",
            "`densenet` has no chain of one cell",
            "name a spec with a motif of the ports that `cell` has in `darts_cifar10`",
        ),
        ("unet", "", "`unet` has no chain of one cell", "name the motif: `--cell decoder`"),
        ("darts_cell", "sell", "`darts` has no motif `sell`", "did you mean `cell`?"),
        ("darts_cell", "x", "`darts` has no motif `x`", "name the motif: `--cell cell`"),
        (
            "table",
            "",
            "`table` has no chain of one cell",
            "name a spec with a motif of the ports that `cell` has in `darts_cifar10`",
        ),
    ],
)
def test_what_has_no_such_cell(spec: str, cell: str, message: str, remedy: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        grown(compile_spec(spec), "darts_cifar10", cell)
    [found] = caught.value.diagnostics
    assert found.code == "D424"
    assert message in found.message
    assert found.help.startswith(remedy)


def test_numbers_and_networks_that_are_none() -> None:
    with pytest.raises(DiagnosticError, match="has no parameter `depth`"):
        grown(found_cell(), "darts_cifar10", values={"depth": 2})
    with pytest.raises(DiagnosticError, match="no network at `darts_cifar`"):
        grown(found_cell(), "darts_cifar")


def test_folders_without_a_finished_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, command in (("train", "train"), ("search", "search"), ("empty", None)):
        Path(name).mkdir()
        if command:
            record = {"command": command, "file": "spec.nas", "versions": {"bayesnas": "0"}}
            Path(name, "settings.json").write_text(json.dumps(record), "utf-8")
    said = {}
    for name in ("train", "search", "empty"):
        assert cli.main(["grow", name, "--as", "darts_cifar10"]) == 2
        said[name] = capsys.readouterr().err.splitlines()
    folder = "name a spec, or the folder that `bayesnas search` wrote"
    assert said["train"] == [
        "error[D415]: no search in `train`, which is the folder of a training",
        f"  = help: {folder}, or the spec that was trained: `train/spec.nas`",
    ]
    assert said["search"] == [
        "error[D415]: the search in `search` has not ended",
        "  = help: finish it: the same command with `--resume`",
    ]
    assert said["empty"] == ["error[D415]: no search in `empty`", f"  = help: {folder}"]


def test_a_value_that_the_network_cannot_have_is_named() -> None:
    with pytest.raises(DiagnosticError) as caught:
        grown(found_cell(), "darts_cifar10", values={"cells": 0})
    [said] = caught.value.diagnostics
    assert said.message == "the network `darts_cifar10` cannot be with `cells = 0`"
    assert said.help == "give another value, or leave `--set` out"


def test_a_file_with_a_cell_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "net.nas"
    path.write_text(found_cell().loaded.source.text, "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        grown(found_cell(), str(path))
    [said] = caught.value.diagnostics
    assert said.message == f"`{path}` has a motif `cell` of its own"
    assert said.help == "take `motif cell` out of it: the found one comes in its place"


AROUND = """import "head.nas"
op pre(width) = conv(1, width) >> bn
network big(image: [3, 8, 8]; width = 8) -> (logits: [2]) {
    stem = image : pre(width)
    y = chain cell(stem; width = width) times 4
    logits = head(y; width = width, classes = 2)
}
train { epochs = 7 }
"""
HEAD = """op last(classes) = global_avg_pool >> linear(classes)
motif head(x; width, classes) -> (out) { out = x : conv(1, width) >> last(classes) }
train { epochs = 5; batch_size = 16 }
learn { logits = classification(smoothing = 0.1) }
"""
CELLS = """motif inside(x; width) -> (out) { out = x : conv(3, width) >> relu }
motif cell(x; width) -> (out) { out = inside(x; width = width) }
network small(image: [3, 8, 8]; width = 4) -> (logits: [2]) {
    stem = image : conv(1, width)
    y = chain cell(stem; width = width) times 2
    y -> logits : global_avg_pool >> linear(2)
}
"""


def test_a_network_of_several_files_comes_whole(tmp_path: Path) -> None:
    """Its own operations, and motifs and settings of files that it imports."""
    (tmp_path / "head.nas").write_text(HEAD, "utf-8")
    (tmp_path / "around.nas").write_text(AROUND, "utf-8")
    big = grown(compile_text(CELLS), str(tmp_path / "around.nas"))
    assert big.settings("train") == {"epochs": 7, "batch_size": 16}
    [objective] = big.program.objectives
    assert (objective.port, objective.name) == ("logits", "classification")
    assert set(big.program.motifs) == {"inside", "cell", "head"}


def test_settings_stand_as_in_the_file_whatever_is_imported(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.nas").write_text(
        "train { batch_size = 7; momentum = 0.5 }", "utf-8"
    )
    head = HEAD.replace("train { epochs = 5; batch_size = 16 }", "")
    (tmp_path / "head.nas").write_text(head, "utf-8")
    imports = 'import "recipes/mine.nas"\nimport "recipes/darts_cifar10.nas"\n'
    around = tmp_path / "around.nas"
    around.write_text(imports + AROUND.replace("train { epochs = 7 }", ""), "utf-8")
    train = grown(compile_text(CELLS), str(around)).settings("train")
    recipe = recipe_settings("darts_cifar10")
    assert train == {"batch_size": 7, "momentum": 0.5} | recipe


SCANNED = """motif step(x, before; width) -> (after) {
    both = concat(x, before)
    both -> after : linear(width) >> tanh
}
motif layer(x; width) -> (out) {
    start = x : zeros(width)
    out = scan step(x; width = width) from start
}
network reader(series: [3, 6]; width = 8) -> (logits: [2]) {
    y = chain layer(series; width = width) times 2
    y -> logits : pick(5) >> linear(2)
}
"""


def test_a_motif_that_a_scan_runs_comes_with_its_cell(tmp_path: Path) -> None:
    text = """network big(series: [3, 6]; width = 16) -> (logits: [2]) {
    y = chain cell(series; width = width) times 4
    y -> logits : pick(5) >> linear(2)
}
"""
    (tmp_path / "around.nas").write_text(text, "utf-8")
    big = grown(compile_text(SCANNED), str(tmp_path / "around.nas"))
    assert set(big.program.motifs) == {"step", "layer"}
