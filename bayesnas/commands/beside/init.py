"""``bayesnas init``: a spec that fits one's own data, and the commands that go on from it."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from bayesnas.commands.arguments import Command, add_data, add_force, add_plugin
from bayesnas.commands.beside.glance import Glance, glance
from bayesnas.commands.beside.several import ports_text, start_text, stem
from bayesnas.commands.runs import run_options
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.files import check_free, write_text
from bayesnas.dsl.terminal import say, visible
from bayesnas.dsl.words import KEYWORDS
from bayesnas.runtime.data.registry import LEVELS

if TYPE_CHECKING:
    from bayesnas.runtime.data.registry import DataOptions

_STARTS: Final = {1: "table", 2: "series", 3: "image"}  # by dimensions of an example
_HELD: Final = 0.8  # of the training part, what a search trains on
_STEPS: Final = {"warmup": 500, "each": 120, "epochs": 2500}  # of training, about
_EPOCHS: Final = {"warmup": (2, 30), "each": (1, 8), "epochs": (5, 120)}  # least and most
_REDUCED: Final = 8  # pixels of the shorter side, from which cells halve it


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where space.nas is written")
    add_data(parser, required=True, arrays=True)
    add_plugin(parser)
    add_force(parser)


def _init(options: argparse.Namespace) -> int:
    outputs: list[str] = []
    if options.data.startswith("npz:"):  # the spec's ports name them later, no option
        outputs, options.target = [*dict.fromkeys(options.target)], []
    run = run_options(options, options.folder)
    spec = options.folder / "space.nas"
    check_free(spec, options.force, "choose another folder")
    seen = glance(options.data, run.data_options, outputs)
    commands = _commands(options, seen)
    text = spec_text(options.data, seen, commands)
    note = _check(text, options.data, run.data_options, seen)
    write_text(spec, text)
    say(
        f"`{options.data}` has {seen.examples:,} examples of {_shape(seen)} "
        f"{'to train on' if seen.divided else 'to train and to test on'} "
        f"({seen.told}), {_classes(seen)}"
    )
    say(f"written to {spec}; now, in this order:", *(f"    {command}" for command in commands))
    if note:
        say(f"note: {note}", file=sys.stderr)
    if seen.lopsided:
        say("note: some classes are rare: they are weighted alike in training", file=sys.stderr)
    return 0


INIT = Command("init", "Look at data and write a spec that fits it.", _add_init, _init)


def spec_text(name: str, seen: Glance, commands: list[str]) -> str:
    """A commented spec for data of that name, in canonical form."""
    from bayesnas.dsl.printing.formatter import format_source

    side = min(seen.shape[1:], default=0)
    reduced = "\n        reduce at cells // 3, 2 * cells // 3" if side >= _REDUCED else ""
    text = Template(start_text(_start(seen))).substitute(
        name=visible(name),
        examples=f"{seen.examples:,}",
        shape=_shape(seen),
        about=visible(seen.told),
        classes=visible(_classes(seen)),
        commands="\n".join(f"#     {command}" for command in commands),
        network=_identifier(name),
        sizes=", ".join(map(str, seen.shape)),
        outputs=seen.outputs,
        answer=", ".join(map(str, (seen.outputs, *seen.shape[1:]))),
        length=seen.shape[-1],
        width=_width(seen),
        stem=stem(side),
        reduce=reduced,
        weights="\n    class_weights = balanced" if seen.lopsided else "",
        **ports_text(seen.inputs, seen.answers),
        **_lengths(seen.examples),
    )
    return format_source(Source("space.nas", text))


def _start(seen: Glance) -> str:
    """The name of the template."""
    if seen.inputs:
        return "ports"
    if seen.tokens:
        return "text"
    return "map" if seen.maps else _STARTS[len(seen.shape)]


def _width(seen: Glance) -> int:
    """Channels or units that such data can be learned with in minutes on a CPU."""
    if seen.tokens:
        return 32
    if len(seen.shape) == 1:
        return 32 if seen.examples < 5000 else 64
    small = seen.examples < 500 or max(seen.shape[1:]) <= 16
    return 8 if small else 16


def _lengths(examples: int) -> dict[str, int]:
    """Epochs and examples a step that make a search of a few minutes, and one that learns."""
    batch = 64 if examples >= 2000 else 32 if examples >= 400 else 16
    steps = {
        name: max(1.0, (_HELD if name != "epochs" else 1.0) * examples / batch) for name in _STEPS
    }
    epochs = {
        name: min(max(round(_STEPS[name] / steps[name]), _EPOCHS[name][0]), _EPOCHS[name][1])
        for name in _STEPS
    }
    return {**epochs, "batch": batch}


def _commands(options: argparse.Namespace, seen: Glance) -> list[str]:
    """The search, the training and the evaluation."""
    folder = options.folder
    words = ["--data", options.data]
    if options.fit is not None:
        words += ["--fit", options.fit]
    elif options.resize or seen.resized:
        words += ["--resize"]
    if options.download:
        words += ["--download"]
    words += [word for column in options.target for word in ("--target", column)]
    if seen.tokens and options.level != LEVELS[0]:
        words += ["--level", options.level]
    lines = (
        ["bayesnas", "search", str(folder / "space.nas"), *words, "-o", str(folder / "search")],
        [
            *("bayesnas", "train", str(folder / "search" / "pruned.nas"), *words),
            *("-o", str(folder / "train")),
        ],
        ["bayesnas", "eval", str(folder / "train")],
    )
    return [visible(shlex.join(line)) for line in lines]


def _shape(seen: Glance) -> str:
    """Of one example, or of what each input takes of it."""
    return ", ".join(map(str, map(list, seen.inputs.values() or [seen.shape])))


def _classes(seen: Glance) -> str:
    if seen.tokens:
        return f"{seen.outputs:,} different tokens"
    if seen.inputs:
        return f"to tell {', '.join(seen.answers)}"
    if seen.maps:
        return f"{len(seen.classes)} classes per pixel" if seen.classes else "numbers per pixel"
    if not seen.classes:
        return "a number to tell" if seen.outputs == 1 else f"{seen.outputs} numbers to tell"
    shown = ", ".join(seen.classes[:5]) + (", ..." if len(seen.classes) > 5 else "")
    return f"{len(seen.classes)} classes ({shown})"


def _identifier(name: str) -> str:
    """A name for the network, of what the data is called."""
    word, _, path = name.partition(":")
    called = Path(path).stem if path else word
    plain = re.sub(r"\W+", "_", called, flags=re.ASCII).strip("_").lower()
    return plain if re.match("[a-z]", plain) and plain not in KEYWORDS else "network_"


def _check(text: str, data: str, options: DataOptions, seen: Glance) -> str:
    """Compile the spec and read the data for it: what fits here fits in the search.

    Returns:
        What was made of the data, in words.

    Raises:
        DiagnosticError: the data is not fit to be learned from.
    """
    from attrs import evolve

    from bayesnas.compiler.pipeline import compile_loaded
    from bayesnas.dsl.loader import load_text
    from bayesnas.runtime.data.loading import load_data

    compiled = compile_loaded(load_text(Source("space.nas", text), Path.cwd()))
    reading = evolve(options, resize=options.resize or seen.resized) if seen.resized else options
    return load_data(data, compiled.graph, reading).note
