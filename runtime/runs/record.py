"""What makes a run: what it is told, and the record of it that ``settings.json`` is."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from attrs import asdict, field, frozen

from bayesnas.compiler.emit.source import imported_modules
from bayesnas.compiler.operations.plugins import plugin_source
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl import __version__
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.registry import DataOptions, plugins_of
from bayesnas.runtime.runs.events import Listener
from bayesnas.runtime.runs.places import data_places
from bayesnas.runtime.runs.seals import text_hash

# Of what a run's folder holds; another one names weights otherwise. 1 was that of version 0.1.0
# until networks built their chains in loops, 2 had the normalisation beside the weights.
FORMAT: Final = 3
PLACES: Final = ("data", "data_paths", "data_root")  # what lies there is compared by its hash


@frozen
class AutoBatch:
    """The largest batch that fits is asked for; ``most`` examples, or as many as is usual."""

    most: int | None = None


@frozen
class RunOptions:
    """What a run is told besides its settings; ``data`` is a data set, or the name of one."""

    data: str | Data
    out: Path
    seed: int = 0
    device: str = "auto"
    resume: bool = False
    force: bool = False
    data_options: DataOptions = field(factory=DataOptions)
    listeners: tuple[Listener, ...] = ()  # what is told of the run while it works
    batch: AutoBatch | None = None  # in the place of the settings' batch size
    compiling: bool = False  # whether steps of a training are compiled

    @property
    def data_name(self) -> str:
        """What files call the data."""
        return self.data if isinstance(self.data, str) else self.data.name

    def inputs(self, compiled: Compiled) -> list[Path]:
        """Files and folders that the run reads."""
        folder = Path(compiled.loaded.source.name).parent
        files = [folder / name for name in compiled.loaded.local]
        _, colon, data = self.data_name.partition(":")
        return [Path(compiled.loaded.source.name), *files, *([Path(data)] if colon else [])]


def _texts(compiled: Compiled) -> dict[str, str]:
    """The spec first, and the files of its own that it imports."""
    name = "spec.nas"
    while name in compiled.loaded.local:
        name = f"_{name}"
    return {name: compiled.loaded.source.text, **compiled.loaded.local}


def copies_of(compiled: Compiled) -> dict[str, str]:
    """What a run keeps to read, and to go back to: its spec, imports and plugins."""
    plugins = {f"plugins/{n}.py": plugin_source(n) for n in imported_modules(compiled.graph)}
    return {**_texts(compiled), **plugins}


def run_record(
    command: str,
    compiled: Compiled,
    settings: SearchSettings | TrainSettings,
    options: RunOptions,
    data_hash: str,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that makes a run, for ``settings.json``: see `Run.begin`."""
    copies = list(copies_of(compiled))
    plugins = sorted({*imported_modules(compiled.graph), *plugins_of(options.data_name)})
    return {
        "format": FORMAT,
        "command": command,
        "file": copies[0],
        "copies": copies,
        "spec": str(Path(compiled.loaded.source.name).absolute()),
        "spec_hash": spec_hash(compiled),
        "network": compiled.network.name,
        "values": dict(compiled.values),
        "objectives": {o.port: o.term for o in compiled.training.objectives},
        "data": options.data_name,
        **data_places(options.data_name, options.data_options, options.out),
        "data_hash": data_hash,
        **options.data_options.record(),
        "seed": options.seed,
        "device": options.device,
        "compile": options.compiling,
        "settings": asdict(settings),
        "plugins": plugins,
        "plugin_hash": plugin_hash(plugins),
        "versions": {
            "bayesnas": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        **(extra or {}),
    }


def plugin_hash(plugins: Sequence[str]) -> str:
    """Of the source of plugins, by their names."""
    return text_hash("".join(map(plugin_source, plugins)))


def spec_hash(compiled: Compiled) -> str:
    """Of a spec and the files of its own that it imports."""
    return text_hash("".join(_texts(compiled).values()))
