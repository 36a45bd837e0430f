"""How a run was made, so that it can be made again: commands, seed, data, versions, machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import KINDS, make_settings
from bayesnas.dsl.amounts import duration_text
from bayesnas.runtime.data.registry import LEVELS
from bayesnas.runtime.report.blocks import Code, Numbers, Section, Table
from bayesnas.runtime.report.colours import coloured
from bayesnas.runtime.report.files import ComparisonFiles, RunFiles
from bayesnas.runtime.runs.ownership import LATENCIES, RESULT, STEPS, TRAINED
from bayesnas.runtime.weights.priors.registry import trainings

_LINE: Final = 90  # characters of a command that stand on one


def command_of(run: RunFiles) -> str:
    """The command that makes the run again, from the copy of its spec, in a new folder."""
    settings, kind = run.settings, "search" if run.made == "search" else "train"
    spec = run.folder / settings["file"]
    first = run.folder / STEPS / TRAINED  # the training of a spec that was compressed
    given = str(first) if (first / RESULT).is_file() else "RUN"
    words = ["bayesnas", run.made, str(spec) if run.made != "compress" else given]
    words += ["--data", _data(settings), "-o", "NEW", "--seed", str(settings.get("seed", 0))]
    if run.made == "compress":
        words += _compression(settings["compression"])
    words += _told(run)
    if settings.get("weights"):  # a hash is known, not where they were
        words += ["--weights", "RUN"]
    if not _untrained(settings.get("compression")):
        words += _options(run.compiled, kind, settings.get("settings", {}), "--option")
    return shlex.join(words)


def comparison_command(files: ComparisonFiles, run: RunFiles) -> str:
    """The command that makes a comparison again, of which ``run`` is one search."""
    record, entries = files.record, files.entries
    strategies, seeds = (
        ",".join(dict.fromkeys(str(entry[name]) for entry in entries))
        for name in ("strategy", "seed")
    )
    words = ["bayesnas", "compare", str(run.folder / run.settings["file"])]
    words += ["--data", _data(run.settings), "-o", "NEW"]
    words += ["--strategies", strategies, "--seeds", seeds]
    words += _told(run)
    for name in files.swept:
        values = dict.fromkeys(str(e[name]) for e in entries if e.get(name, "") != "")
        words += ["--sweep", f"{name}={','.join(values)}"]
    settled = {n: v for n, v in record["search"].items() if v is not None}
    words += _options(run.compiled, "search", settled, "--option")
    words += _options(run.compiled, "train", record["train"], "--train-option")
    return shlex.join(words)


def _told(run: RunFiles) -> Iterator[str]:
    """What a run is told besides its data, seed and settings."""
    settings = run.settings
    if run.made != "compress":
        if settings["network"]:
            yield from ("--network", settings["network"])
        for name, value in settings["values"].items():
            yield from ("--set", f"{name}={value}")
        for port, term in settings.get("objectives", {}).items():
            yield from ("--objective", f"{port}={term}")
        if settings.get("standardise", "auto") != "auto":
            yield from ("--standardise", settings["standardise"])
    if settings["resize"]:
        yield from ("--fit", settings["fit"])
    for column in settings.get("target", ()):
        yield from ("--target", str(column))
    if settings.get("level", LEVELS[0]) != LEVELS[0]:
        yield from ("--level", str(settings["level"]))
    if settings.get("compile"):
        yield "--compile"
    yield from _search_words(settings)
    if settings.get("latencies_hash"):
        yield from ("--latencies", str(run.folder / LATENCIES))
    for plugin in settings["plugins"]:
        yield from ("--plugin", plugin)


def _options(
    compiled: Compiled, kind: str, settings: Mapping[str, Any], option: str
) -> Iterator[str]:
    """Settings that are not those of the spec."""
    cls: Any = KINDS[kind]
    default: Any = make_settings(cls, compiled.settings(kind))
    for name, value in settings.items():
        if getattr(default, name, value) != value:
            yield option
            yield f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def broken(command: str) -> str:
    """A long command over several lines, an option each, as a shell takes it."""
    if len(command) <= _LINE:
        return command
    lines: list[list[str]] = []
    for word in shlex.split(command):
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(map(shlex.join, lines))


def _data(settings: Mapping[str, Any]) -> str:
    """The data by its name, with its path from the root of the file system."""
    name, paths = str(settings["data"]), settings["data_paths"]
    return f"{name.partition(':')[0]}:{paths[0]}" if paths else name


def _search_words(settings: Mapping[str, Any]) -> Iterator[str]:
    """What a search is told of its space, of what `Space.record` keeps."""
    proxy, budgets = settings.get("proxy"), settings.get("budgets")
    if isinstance(budgets, dict):
        for name, limit in budgets.items():
            yield from ("--budget", _budget(name, limit))
    if isinstance(proxy, dict):
        for name, value in proxy.items():
            yield from ("--proxy", f"{name}={value}")


def _compression(record: Any) -> Iterator[str]:
    """What a compression was told."""
    if not isinstance(record, dict):
        return
    for budget in record.get("budgets", ()):
        yield from ("--budget", _budget(budget["cost"], budget["limit"]))
    yield from ("--importance", str(record.get("importance", "magnitude")))
    if families := record.get("families"):
        yield from ("--family", ",".join(families))
    limits = record.get("limits", {})
    counts = {"steps": record.get("steps", 1), "least": 1, "round_to": 1, **limits}
    for name in ("draws", "lambda_w", "curvature", "result"):
        if name in record:
            yield from ("--option", f"{name}={record[name]}")
    for name in ("steps", "least", "round_to"):
        if counts[name] != 1:
            yield from (f"--{name.replace('_', '-')}", str(counts[name]))
    for layer in limits.get("layers", ()):
        yield from ("--keep", layer)


def _untrained(record: Any) -> bool:
    """Whether a compression trained nothing, so that settings of trainings are refused."""
    if not isinstance(record, dict):
        return False
    told = (record.get("importance", ""), record.get("steps", 1), record.get("result", "trained"))
    return not trainings(*told)


def _budget(cost: str, limit: int) -> str:
    return f"{cost}={duration_text(limit) if cost == 'latency' else limit}"


def facts_of(run: RunFiles) -> list[tuple[str, str]]:
    """What it learned from, by which versions, on which machine."""
    settings, result = run.settings, run.result
    examples = settings.get("examples", {})
    parts = [
        f"{n:,} {name.replace('_', ' ')}" for name, n in examples.items() if isinstance(n, int)
    ]
    return [
        ("data", settings["data"] + (f" ({', '.join(parts)} examples)" if parts else "")),
        *((f"version of {name}", text) for name, text in settings.get("versions", {}).items()),
        *((name, str(value)) for name, value in result.get("machine", {}).items()),
        *([("device", result["device"])] if "device" in result else []),
    ]


def making(run: RunFiles) -> Section:
    """The section of a page."""
    settings, result = run.settings, run.result
    facts = [*facts_of(run), ("seed", str(settings.get("seed", 0)))]
    if result:
        facts.append(("time", _duration(result["seconds"])))
    rows = [(name, value) for name, value in settings.get("settings", {}).items()]
    text = run.text(settings["file"])
    hashes = [
        (name.replace("_hash", ""), str(value))
        for record in (settings, result)
        for name, value in record.items()
        if name.endswith("_hash") and value and (name != "plugin_hash" or settings["plugins"])
    ]
    return Section(
        "How it was made",
        tuple(facts),
        (
            Code("The command again, into the folder NEW", broken(command_of(run))),
            Numbers(
                "Settings",
                "Those of the run, in full.",
                Table.of("settings", ("setting", "value"), rows),
            ),
            Code("The spec", text, coloured(text), folded=text.count("\n") > 60),
            Numbers(
                "Hashes",
                "SHA-256, of what went in and of what came out.",
                Table.of("hashes", ("of", "hash"), hashes),
            ),
        ),
    )


def _duration(seconds: float) -> str:
    """Seconds, or hours and minutes where there are many."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
