"""``bayesnas demo``: the main job on the embedded data, with a table at the end."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from bayesnas.commands.arguments import Command, add_device, add_out_folder, add_seed
from bayesnas.commands.beside.reporting import say_report
from bayesnas.commands.runs import set_threads
from bayesnas.commands.tables import columns, cost_texts, heading, say_advice, summary
from bayesnas.commands.values import check_seed
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.files import check_empty
from bayesnas.dsl.terminal import say

EPOCHS: Final = 12  # that the compressed network is trained on

if TYPE_CHECKING:
    from bayesnas.compiler.pipeline import Compiled
    from bayesnas.runtime.runs.record import RunOptions


_NEXT: Final = (
    "",
    "now with data of your own, images in a folder a class or arrays in a file:",
    "    bayesnas init start --data folder:photos     # a spec that fits, and the next commands",
    "    bayesnas init start --data npz:measured.npz",
)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    add_out_folder(parser, False, "folder to write; default build/demo")
    add_seed(parser)
    add_device(parser, threads=1)  # so small a network is no faster with more


def _demo(options: argparse.Namespace) -> int:
    try:
        return _show(options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # its runs say how to go on with them; it does not


def _show(options: argparse.Namespace) -> int:
    set_threads(options.threads)
    check_seed(options.seed)
    from bayesnas.compiler.pipeline import compile_spec
    from bayesnas.runtime.jobs.search.search import search
    from bayesnas.runtime.runs.record import RunOptions

    out = options.out or Path("build/demo")
    check_empty(out, options.force)
    start = time.perf_counter()
    space = compile_spec("digits_cell")
    compile_seconds = time.perf_counter() - start
    say(*summary(space.graph, heading(space)))
    run = RunOptions("digits", out / "search", options.seed, options.device, force=options.force)
    result = search(space, make_settings(SearchSettings, space.settings("search")), run)
    spec = out / "search" / "pruned.nas"
    schedule = make_settings(TrainSettings, space.settings("train"))
    found_row = _trained_row("found network", compile_spec(spec), schedule, run, out / "train")
    half_row = _compressed_row("at half its FLOPs", run, out)
    supernet_row = _trained_row("supernet", space, schedule, run, out / "supernet")
    head = ("", "parameters", "FLOPs", f"test {result.task.metric}", "trained in")
    say("", *columns(head, [supernet_row, found_row, half_row]))
    share = result.found.parameters / result.supernet.parameters
    say(
        f"compiled in {compile_seconds:.1f} s, searched in {result.seconds:.0f} s, "
        f"seed {options.seed}"
    )
    say(f"the found network has {share:.0%} of the supernet's parameters")
    say(f"spec: {spec}")
    say(f"figure: {result.figure}")
    say_advice(result.advice)
    say_report([out / name for name in ("search", "train", "half", "supernet")], out)
    say(*_NEXT)
    return 0


def _trained_row(
    name: str, compiled: Compiled, settings: TrainSettings, run: RunOptions, out: Path
) -> tuple[str, ...]:
    """Train a network from scratch into ``out``; its row of the table."""
    from bayesnas.compiler.graph.cost import graph_cost
    from bayesnas.runtime.jobs.train import train

    result = train(compiled, settings, evolve(run, out=out))
    cost = cost_texts(graph_cost(compiled.graph))
    return (name, *cost, result.task.quality_text(result.test.quality), f"{result.seconds:.0f} s")


def _compressed_row(name: str, run: RunOptions, out: Path) -> tuple[str, ...]:
    """Compress what was trained in ``out/train`` to half of its FLOPs; its row of the table."""
    from bayesnas.runtime.jobs.compression.compress import compress
    from bayesnas.runtime.jobs.compression.wanted import Compression
    from bayesnas.runtime.weights.choice import Share

    half = Compression((Share("flops", 50),))
    result = compress(out / "train", half, {"epochs": EPOCHS}, evolve(run, out=out / "half"))
    trained = result.trained
    quality = trained.task.quality_text(trained.test.quality)
    return (name, *cost_texts(result.after), quality, f"{trained.seconds:.0f} s")


DEMO = Command("demo", "Search, retrain and compare on the embedded digits.", _add_demo, _demo)
