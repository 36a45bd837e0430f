"""What each command does, once its arguments are read."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import fields_dict

from bayesnas.cli import parse_values
from bayesnas.compiler.artifacts.figure import draw, write_figure
from bayesnas.compiler.artifacts.gamma_report import gamma_report
from bayesnas.compiler.artifacts.graph_file import graph_to_json
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.emit.schedule import schedule, schedule_text
from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled, compile_resolved, compile_spec
from bayesnas.compiler.program.resolve import resolve
from bayesnas.compiler.settings import (
    KINDS,
    STRATEGIES,
    SearchSettings,
    TrainSettings,
    check_setting,
    make_settings,
    users,
)
from bayesnas.counting import budget_rows, heading, table
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, render_all
from bayesnas.dsl.files import write_text
from bayesnas.dsl.loader import load
from bayesnas.dsl.tree_json import tree_to_json
from bayesnas.inputs import read_input

if TYPE_CHECKING:
    from bayesnas.runtime.runs.folder import RunOptions

# Searched operations beyond which source, gamma's formulas and a figure would take minutes to write
# and be read by nobody.
READABLE = 20_000


def compile_command(
    spec: str,
    values: Mapping[str, int],
    network: str | None,
    out: Path,
    emits: Sequence[str],
    force: bool,
) -> int:
    """``bayesnas compile``: write what is asked for, print a summary."""
    given = read_input(spec, values, network, emits)
    check_empty(out, force)
    graph = given.graph
    emits = _readable(graph, emits)
    texts = {}
    if "ast" in emits and given.spec is not None:
        texts["ast.json"] = tree_to_json(given.spec)
    texts |= _sources(graph, given.origin, emits)
    if "graph" in emits:
        texts["graph.json"] = graph_to_json(graph, given.found)
    if "gamma" in emits and graph.searched():
        report = gamma_report(graph)
        texts["gamma.json"], texts["gamma.md"] = report.json, report.markdown
    for name, text in texts.items():
        write_text(out / name, text)
    written = list(texts)
    advice = None
    if "dot" in emits:
        advice = write_figure(draw(graph, given.found), out / "graph.svg")
        written += ["graph.dot"] if advice else ["graph.dot", "graph.svg"]
    print(summary(graph, given.heading))
    print(f"written to {out}: {', '.join(written)}")
    say_advice(advice)
    return 0


def _readable(graph: Graph, emits: Sequence[str]) -> list[str]:
    """What is asked for, less what is of no use for a space of this size; it is said."""
    count = len(graph.searched())
    left_out = [e for e in emits if e in ("gamma", "torch", "plain", "dot")]
    if count <= READABLE or not left_out:
        return list(emits)
    say_advice(
        f"{count:,} searched operations: {', '.join(left_out)} left out, which "
        f"{'are' if len(left_out) > 1 else 'is'} written up to {READABLE:,}"
    )
    return [e for e in emits if e not in left_out]


def _sources(graph: Graph, origin: str, emits: Sequence[str]) -> dict[str, str]:
    """Python source by file name, and the schedule of what is searched."""
    texts = {}
    plan = schedule(graph) if graph.searched() else None
    if "schedule" in emits and plan is not None:
        texts["schedule.txt"] = schedule_text(graph, plan)
    if "torch" in emits:
        name = "supernet.py" if plan else "network.py"
        texts[name] = emit_torch(graph, origin, plan).source
    if "plain" in emits:
        texts["plain.py"] = emit_torch(graph, origin).source
    return texts


def check_empty(out: Path, force: bool) -> None:
    """Refuse a folder that holds something, unless forced.

    Raises:
        DiagnosticError: D413.
    """
    if out.exists() and not out.is_dir():
        remedy = "name a folder with `-o`"
        raise DiagnosticError(Diagnostic("D413", f"`{out}` is a file", help=remedy))
    if not force and out.is_dir() and any(out.iterdir()):
        remedy = "choose another folder with `-o`, or pass `--force` to replace its files"
        raise DiagnosticError(Diagnostic("D413", f"`{out}` is not empty", help=remedy))


def check_free(file: Path, force: bool) -> None:
    """Refuse the name of a file that exists, unless forced.

    Raises:
        DiagnosticError: D413.
    """
    if file.exists() and not force:
        remedy = "choose another name with `-o`, or pass `--force` to replace it"
        raise DiagnosticError(Diagnostic("D413", f"`{file}` exists", help=remedy))


def summary(graph: Graph, head: str) -> str:
    """What a network consists of, in a few lines."""
    roles = [node.role for node in graph.nodes()]
    cost = graph_cost(graph)
    rows = {
        "nodes": f"{len(roles) - roles.count('relay'):,}",
        "i' nodes": f"{roles.count('relay'):,}",
        "searched operations": f"{len(graph.searched()):,}",
        "tied groups": f"{len(graph.groups()):,}",
        "parameters": f"{cost.parameters:,}",
        "FLOPs per example": f"{cost.flops:,} (multiply-accumulates)",
    } | budget_rows(graph)
    return table(head, rows)


def say_advice(advice: str | None) -> None:
    """A remark on stderr, where there is one."""
    if advice is not None:
        print(f"note: {advice}", file=sys.stderr)


def check_command(specs: Sequence[str]) -> int:
    """``bayesnas check``: every diagnostic of every spec and network; 2 if there is any."""
    status = 0
    for spec in specs:
        found = _check(spec)
        if found:
            print(render_all(found), file=sys.stderr)
            status = 2
        else:
            print(f"{spec}: ok")
    return status


def _check(spec: str) -> list[Diagnostic]:
    """What is wrong with any network of a spec, each thing once."""
    try:
        loaded = load(spec)
        program = resolve(loaded)
        networks = list(program.networks) or [program.network().name]
    except DiagnosticError as error:
        return list(error.diagnostics)
    found: dict[tuple[str, str, Span | None], Diagnostic] = {}
    for network in networks:
        try:
            compile_resolved(loaded, program, network=network)
        except DiagnosticError as error:
            found.update({(d.code, d.message, d.span): d for d in error.diagnostics})
            if any(d.code == "D224" for d in error.diagnostics):
                break  # to say so took long, and may again for every network
    return list(found.values())


def render_command(
    spec: str, values: Mapping[str, int], network: str | None, out: Path | None, force: bool
) -> int:
    """``bayesnas render``: one figure of a spec or of a graph.json."""
    given = read_input(spec, values, network)
    out = out or Path(f"{Path(spec).stem}.svg")
    for file in (out, out.with_suffix(".dot")):
        check_free(file, force)
    advice = write_figure(draw(given.graph, given.found), out)
    print(f"written to {out if advice is None else out.with_suffix('.dot')}")
    say_advice(advice)
    return 0


# ------------------------------------------------------------------------------------------- work


def train_command(options: argparse.Namespace) -> int:
    """``bayesnas train``."""
    from bayesnas.runtime.jobs.train import train

    compiled = compile_spec(options.spec, parse_values(options.set), options.network)
    settings = make_settings(TrainSettings, chosen_settings(compiled, "train", options.option))
    if compiled.graph.searched():
        print("note: a supernet is trained with every gate at 1", file=sys.stderr)
    result = train(compiled, settings, run_options(options))
    print(
        f"test {result.task.told(result.test)} of {result.test_examples:,} examples, "
        f"{result.parameters:,} parameters, {result.flops:,} FLOPs, {result.seconds:.0f} s"
    )
    print(f"weights: {options.out / 'weights.pt'}")
    return 0


def eval_command(options: argparse.Namespace) -> int:
    """``bayesnas eval``."""
    from bayesnas.runtime.jobs.train import evaluate_run

    options.out, options.seed, options.resume, options.force = options.run, 0, False, False
    score, data = evaluate_run(run_options(options))
    print(f"test {data.task.told(score)} of {len(data.test):,} examples of {data.name}")
    return 0


def export_command(options: argparse.Namespace) -> int:
    """``bayesnas export``."""
    from bayesnas.runtime.jobs.export import export

    check_free(options.out, options.force)
    found = export(options.run, options.out)
    how = "ONNX Runtime" if found.out.suffix == ".onnx" else "the file, loaded anew,"
    print(
        f"written to {found.out}; {how} gives the network's logits "
        + (f"to {found.difference:.0e} of the largest" if found.difference else "exactly")
    )
    return 0


def set_threads(count: int | None) -> None:
    """How many CPU threads PyTorch uses, if that was asked for.

    Raises:
        DiagnosticError: D418 (fewer than one).
    """
    if count is None:
        return
    if count < 1:
        remedy = "write 1 or more, or leave `--threads` out"
        raise DiagnosticError(Diagnostic("D418", f"cannot use {count} threads", help=remedy))
    import torch

    torch.set_num_threads(count)


def check_seed(seed: int) -> None:
    """Refuse a seed that PyTorch cannot take.

    Raises:
        DiagnosticError: D418.
    """
    if not 0 <= seed < 2**32:
        remedy = f"write a whole number from 0 to {2**32 - 1}"
        raise DiagnosticError(Diagnostic("D418", f"cannot use the seed {seed}", help=remedy))


def run_options(options: argparse.Namespace) -> RunOptions:
    """What the command line says of a run besides its settings."""
    from bayesnas.runtime.data.registry import DataOptions
    from bayesnas.runtime.runs.folder import RunOptions

    set_threads(options.threads)
    check_seed(options.seed)
    data = DataOptions(options.resize, options.download, options.data_root)
    return RunOptions(
        options.data or "",
        options.out,
        options.seed,
        options.device,
        options.resume,
        options.force,
        data,
    )


def chosen_settings(compiled: Compiled, kind: str, given: Sequence[str]) -> dict[str, Any]:
    """The spec's settings with those of ``--option`` over them.

    Raises:
        DiagnosticError: D418 (not ``name=value``), D230, D231.
    """
    result: dict[str, Any] = compiled.settings(kind)
    for text in given:
        name, equals, word = (part.strip() for part in text.partition("="))
        if not equals or not word or not name:
            remedy = f"write `--option NAME=VALUE`; `bayesnas {kind} SPEC --option help` lists them"
            raise DiagnosticError(Diagnostic("D418", f"cannot read `--option {text}`", help=remedy))
        value = _value(word)
        check_setting(kind, name, value, None)
        result[name] = value
    return result


def _value(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def settings_table(kind: str) -> str:
    """What ``--option help`` prints."""
    rows = [
        (name, str(known.default), _domain(known.metadata), known.metadata["about"])
        for name, known in fields_dict(KINDS[kind]).items()
    ]
    heads = (f"{kind} setting", "default", "values", "")
    if kind == "train":
        return columns(heads, rows, left=4)
    used = [(*row[:3], _used_by(row[0]), row[3]) for row in rows]
    return columns((*heads[:3], "used by", ""), used, left=5)


def _used_by(name: str) -> str:
    """The strategies that use a setting, or those that do not where they are fewer."""
    using = users(name)
    others = [strategy for strategy in STRATEGIES if strategy not in using]
    if len(others) < len(using):
        return f"all but {', '.join(others)}" if others else "all"
    return ", ".join(using)


def _domain(metadata: Mapping[str, Any]) -> str:
    if "words" in metadata:
        return ", ".join(metadata["words"])
    return f"{metadata['least']:g} to {metadata['most']:g}"


# ------------------------------------------------------------------------------------------- demo


def demo_command(options: argparse.Namespace) -> int:
    """``bayesnas demo``: the main job on the embedded data, with a table at the end."""
    out, seed = options.out, options.seed
    set_threads(options.threads)
    check_seed(seed)
    from attrs import evolve

    from bayesnas.runtime.jobs.search import search
    from bayesnas.runtime.jobs.train import train
    from bayesnas.runtime.runs.folder import RunOptions

    check_empty(out, options.force)
    start = time.perf_counter()
    space = compile_spec("digits_cell")
    compile_seconds = time.perf_counter() - start
    print(summary(space.graph, heading(space)))
    run = RunOptions("digits", out / "search", seed, options.device, force=options.force)
    settings = make_settings(SearchSettings, space.settings("search"))
    found = search(space, settings, run)
    pruned = compile_spec(out / "search" / "pruned.nas")
    schedule = make_settings(TrainSettings, space.settings("train"))
    results = [
        (name, train(compiled, schedule, evolve(run, out=out / folder)), compiled)
        for name, compiled, folder in (
            ("found network", pruned, "train"),
            ("supernet", space, "supernet"),
        )
    ]
    print()
    print(columns(
        ("", "parameters", "FLOPs", "test accuracy", "trained in"),
        [
            (
                name,
                *cost_texts(graph_cost(c.graph)),
                r.task.quality_text(r.test.quality),
                f"{r.seconds:.0f} s",
            )
            for name, r, c in reversed(results)
        ],
    ))  # fmt: skip
    share = found.found.parameters / found.supernet.parameters
    print(f"compiled in {compile_seconds:.1f} s, searched in {found.seconds:.0f} s, seed {seed}")
    print(f"the found network has {share:.0%} of the supernet's parameters")
    print(f"spec: {out / 'search' / 'pruned.nas'}")
    print(f"figure: {found.figure}")
    say_advice(found.advice)
    return 0


def cost_texts(cost: Cost) -> tuple[str, str]:
    """Parameters and FLOPs for a table."""
    return f"{cost.parameters:,}", f"{cost.flops:,}"


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns side by side; the first ``left`` are flush left, the others flush right."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
