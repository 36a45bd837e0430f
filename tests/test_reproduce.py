"""The page on published numbers: its commands followed at a small size, its tables computed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from bayesnas.cli import main
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.grown import grown
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.recipes import recipe_settings
from bayesnas.compiler.settings import SearchSettings, make_settings

PAGE = (Path(__file__).parents[1] / "docs/reproduce.md").read_text("utf-8")
IMAGES = {"cifar10": 50_000, "imagenet": 1_281_167}

# What makes a command small; the rest of it is as the page has it.
SMALL = {
    "search": (
        "--set cells=2 --set width=4",
        "batch_size=16 rounds=1 warmup_epochs=0.5 epochs=0.5",
    ),
    "grow": ("--set cells=3 --set width=4 --set classes=10", ""),
    "train": ("", "epochs=1 batch_size=8"),
    "compress": ("", "epochs=1 draws=2"),
}
SPECS = {
    "treecell_pyramidnet": "--set blocks=1 --set widening=6",
    "treecell_a": "--set blocks=1 --set widening=6 --set classes=10",
    "bayesnas_cells": "--set cells=3 --set width=4",
    "pgnas_densenet121": "--set growth=4 --set p=1 --set q=1 --set r=1 --set s=1 --set classes=10",
    "shake_shake": "--set width=4 --set blocks=1",
}
SECTIONS = ("BayesNAS, table 1", "BayesNAS, table 2", "DARTS", "Posterior-guided NAS")


def rows() -> list[list[str]]:
    found = re.findall(r"^\| (?:DARTS|BayesNAS).*\|$", PAGE, re.M)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found]


def number(text: str) -> float:
    """The number that the page has in such a place."""
    [found] = re.findall(text, PAGE)
    return float(found)


def spec_of(row: str) -> Compiled:
    """What a row is about: a packaged network, or its cell in another one."""
    name, network, around = re.fullmatch(  # type: ignore[union-attr]
        r"`(\w+)(?: --network (\w+))?(?: --as (\w+))?`", row
    ).groups()
    compiled = compile_spec(name, network=network)
    return grown(compiled, around) if around else compiled


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_rows_are_what_their_specs_cost(row: list[str]) -> None:
    _, published, spec, parameters, flops, training, hours = row
    compiled = spec_of(spec)
    cost = graph_cost(compiled.graph)
    assert (f"{cost.parameters:,}", f"{cost.flops:,}") == (parameters, flops)
    where = "imagenet" if "imagenet" in spec else "cifar10"
    epochs = float(compiled.settings("train")["epochs"])
    assert float(training) == pytest.approx(3 * cost.flops * IMAGES[where] * epochs, rel=0.005)
    rate = number(r"training / \(3600 x ([\d.e]+)\)")
    assert float(hours.removesuffix(" h")) == pytest.approx(float(training) / rate / 3600, rel=0.01)
    assert "%" in published


def test_every_row_of_the_tables_is_there() -> None:
    names = [row[0] for row in rows()]
    lambdas = [f"lambda_w = {value}" for value in ("0.01", "0.007", "0.005")]
    wanted = [f"BayesNAS table {n}, {value}" for n in (1, 2) for value in lambdas]
    for value in lambdas:
        assert f"--option {value.replace(' ', '')} " in PAGE
    wanted += ["BayesNAS table 1, TreeCell-A and PyramidNet"]
    assert sorted(names) == sorted([*wanted, "DARTS, CIFAR-10", "DARTS, ImageNet"])


def test_the_throughput_is_that_of_the_step_that_was_timed() -> None:
    flops = graph_cost(compile_spec("darts_v2").graph).flops
    seconds = number(r"took ([\d.]+) s for a step of `darts_v2` with 96 images")
    assert number(r"training / \(3600 x ([\d.e]+)\)") == pytest.approx(
        3 * flops * 96 / seconds, rel=0.01
    )


def test_what_augmentation_takes_is_what_an_image_takes() -> None:
    rate = number(r"gave (\d+)\s+images a second") / 2  # of a core
    cores, hours = (number(text) for text in (r"(\d+) cores take", r"take (\d+) h for 250"))
    assert recipe_settings("darts_imagenet")["epochs"] == 250
    assert hours == pytest.approx(250 * IMAGES["imagenet"] / (rate * cores) / 3600, rel=0.01)


def test_masks_of_shake_shake_leave_the_papers_shares() -> None:
    found = re.findall(r"--budget parameters=(\d+)%", PAGE)
    assert found == [f"{100 * left / whole:.0f}" for left, whole in ((21.6, 26.2), (33.4, 72.7))]


def test_the_cost_of_searches_is_that_of_their_specs() -> None:
    found = re.findall(
        r"^\| `(\w+)`, by `(\w+)`.*? \| (.*) x 40,000 \| (.*) \| (.*) \|$", PAGE, re.M
    )
    assert [name for name, *_ in found] == ["darts_cell", "darts_cell", "treecell_pyramidnet"]
    for name, strategy, steps, cost, hours in found:
        compiled = compile_spec(name)
        settings = make_settings(SearchSettings, compiled.settings("search"))
        passes = settings.warmup_epochs + settings.rounds * settings.epochs
        passes, each = (50, 6) if strategy == "darts" else (passes, 3)
        flops = graph_cost(compiled.graph).flops
        assert steps == f"{each} x {flops:,} x {passes:g} epochs"
        assert float(cost) == pytest.approx(each * flops * passes * 40_000, rel=0.02)
        if name == "darts_cell":
            count = each / 3 * passes * 40_000 / settings.batch_size
            taken = count * number(r"took the H200 ([\d.]+) s")
            assert float(hours.removesuffix(" h")) == pytest.approx(taken / 3600, abs=0.05)


def test_networks_have_the_recipes_that_the_page_gives() -> None:
    for name in ("darts_cifar10", "darts_imagenet"):
        assert re.search(rf"^\| `{name}` .* \| {name} \|$", PAGE, re.M)
        assert recipe_settings(name)["epochs"] in (600, 250)


def section(title: str) -> list[str]:
    [body] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## )", PAGE, re.M | re.DOTALL)
    return re.findall(r"^ {4}bayesnas (.*)$", body, re.M)


def small(command: str) -> list[str]:
    """The words of a command at a small size, on images of noise."""
    words = shlex.split(command.replace("--device cuda", "").replace("--fit crop", ""))
    text = " ".join(words).replace("cifar10 ", "npz:small.npz ", 1) if words[0] != "grow" else ""
    words = shlex.split(text) if text else words
    words = ["npz:large.npz" if word == "folder:imagenet" else word for word in words]
    more, options = SMALL.get(words[0], ("", ""))
    given = {word.partition("=")[0] for word in words}
    spec = more if words[0] == "grow" else SPECS.get(words[1], more)
    long = ("epochs", "draws")
    chosen = [
        o for o in options.split() if o.partition("=")[0] not in given or any(w in o for w in long)
    ]
    if "bayesnas" in words:
        chosen += ["curvature_examples=2", "curvature=fisher_empirical"]
    if "pgnas_densenet121" in words:
        chosen.append("draws=2")
    return [*words, *spec.split(), *(w for o in chosen for w in ("--option", o))]


def test_the_page_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    random = np.random.default_rng(0)
    for name, side, count in (("small", 32, 40), ("large", 224, 20)):
        arrays = {}
        for part, number in (("", count), ("_test", 10)):
            shape = (number, side, side, 3)
            arrays[f"x{part}"] = random.integers(0, 256, shape, dtype=np.uint8)
            arrays[f"y{part}"] = np.arange(number) % 10
        np.savez(tmp_path / f"{name}.npz", **arrays)
    commands = [command for title in SECTIONS for command in section(title)]
    for command in dict.fromkeys(commands):  # two tables begin with one search
        assert main(small(command)) == 0, command
    trainings = [c for c in commands if c.startswith(("train", "compress")) or "shared" in c]
    results = [command.partition(" -o ")[2].split()[0] for command in trainings]
    assert len(results) == len({*results}) == 20
    assert all(Path(folder, "weights.pt").is_file() for folder in results)
