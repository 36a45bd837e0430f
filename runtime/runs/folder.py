"""The folder of a run: settings, history, checkpoint and results, each file whole or absent."""

from __future__ import annotations

import io
import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from attrs import asdict, field, frozen

from bayesnas.compiler.emit.source import imported_modules
from bayesnas.compiler.operations.plugins import loaded_plugins
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.dsl import __version__
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.files import write_bytes, write_text
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.registry import DataOptions

# Of what a run's folder holds; another one names weights otherwise. 1 was that of version 0.1.0
# until networks built their chains in loops.
FORMAT: Final = 2


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

    @property
    def data_name(self) -> str:
        """What files call the data."""
        return self.data if isinstance(self.data, str) else self.data.name


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is one.

    Raises:
        DiagnosticError: D412 (unknown, or not on this machine).
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).item()  # the device `meta` holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DiagnosticError(
            Diagnostic(
                "D412",
                f"no device `{name}` on this machine",
                notes=(str(error).splitlines()[0],),
                help="choose `auto`, `cpu`, or `cuda` where PyTorch sees a GPU",
            )
        ) from None
    return device


def check_out(out: Path, resume: bool, force: bool, marker: str = "settings.json") -> None:
    """Refuse to write over what is there.

    Raises:
        DiagnosticError: D413 (something is there), D414 (nothing to resume).
    """
    if resume:
        if not (out / "checkpoint.pt").is_file():
            raise DiagnosticError(
                Diagnostic(
                    "D414",
                    f"nothing to resume in `{out}`",
                    help="leave `--resume` out to begin the run there",
                )
            )
        return
    if out.exists() and not out.is_dir():
        raise DiagnosticError(
            Diagnostic("D413", f"`{out}` is a file", help="name a folder with `-o`")
        )
    if not out.exists() or not any(out.iterdir()):
        return
    if not force:
        remedy = "choose another folder, or pass `--force` to replace it"
        if (out / "checkpoint.pt").is_file():
            remedy += ", or `--resume` to go on with it"
        raise DiagnosticError(Diagnostic("D413", f"`{out}` is not empty", help=remedy))
    if not (out / marker).is_file():
        raise DiagnosticError(
            Diagnostic(
                "D413",
                f"`{out}` is not the folder of a run and will not be replaced",
                help="choose another folder, or empty this one yourself",
            )
        )


def check_format(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a run whose weights another bayesnas has named.

    Raises:
        DiagnosticError: D438.
    """
    if (number := settings.get("format", 1)) != FORMAT:
        raise DiagnosticError(
            Diagnostic(
                "D438",
                f"the run in `{out}` was written by another bayesnas",
                notes=(f"its format is {number}, and this bayesnas reads {FORMAT}",),
                help=f"run it again from its spec, `{out / str(settings['file'])}`; "
                "a `pruned.nas` is a spec and stays good",
            )
        )


class Run:
    """A run's folder; made only once everything given has been found right."""

    def __init__(self, out: Path) -> None:
        self.out = out

    @classmethod
    def begin(
        cls,
        command: str,
        compiled: Compiled,
        settings: SearchSettings | TrainSettings,
        options: RunOptions,
        extra: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make the folder with the spec and the settings, or return to it.

        ``extra`` is what else made the run; a run is resumed only with the same.
        """
        run = cls(options.out)
        record: dict[str, Any] = {
            "format": FORMAT,
            "command": command,
            "file": "spec.nas",
            "spec": compiled.loaded.source.name,
            "network": compiled.network.name,
            "values": dict(compiled.values),
            "data": options.data_name,
            "resize": options.data_options.resize,
            "seed": options.seed,
            "device": options.device,
            "settings": asdict(settings),
            **(extra or {}),
            "plugins": imported_modules(compiled.graph),
            "versions": {
                "bayesnas": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
        }
        if options.resume:
            run.check_same(record, compiled.loaded.source.text)
            return run
        if options.force and options.out.is_dir():
            shutil.rmtree(options.out)
        for name, text in compiled.loaded.local.items():
            write_text(options.out / name, text)
        while record["file"] in compiled.loaded.local:
            record["file"] = f"_{record['file']}"
        write_text(options.out / str(record["file"]), compiled.loaded.source.text)
        run.write_json("settings.json", record)
        return run

    def check_same(self, record: Mapping[str, Any], spec: str) -> None:
        """Refuse to resume a run that was begun otherwise.

        Raises:
            DiagnosticError: D414, naming what differs.
        """
        _, begun, compiled = Run.open(self.out)
        free = ("file", "spec", "device", "plugins", "versions")  # may differ
        begun, record = (  # what changes no result may differ as well
            {**one, "settings": {**one["settings"], "recompute": ""}} for one in (begun, record)
        )
        differ = [name for name in record if name not in free and begun.get(name) != record[name]]
        if compiled.loaded.source.text != spec:
            differ.insert(0, "spec")
        if differ:
            raise DiagnosticError(
                Diagnostic(
                    "D414",
                    f"the run in `{self.out}` was begun with another {differ[0]}",
                    notes=(f"different: {', '.join(differ)}",),
                    help="resume with what `settings.json` there says, or begin in a new folder",
                )
            )

    @classmethod
    def open(cls, out: Path) -> tuple[Run, dict[str, Any], Compiled]:
        """An existing run, its settings, and its spec compiled again.

        Raises:
            DiagnosticError: D415 (no run there), D434 (a plugin of it is not loaded), D438 (a run
                of another format).
        """
        try:
            settings: dict[str, Any] = json.loads((out / "settings.json").read_text("utf-8"))
            values, network = settings["values"], settings["network"]
            file = out / settings["file"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DiagnosticError(
                Diagnostic(
                    "D415",
                    f"no run in `{out}`",
                    help="name the folder that `bayesnas train` or `bayesnas search` wrote",
                )
            ) from None
        check_format(out, settings)
        for plugin in settings.get("plugins", ()):
            if plugin not in loaded_plugins():
                message = f"the run in `{out}` uses the plugin `{plugin}`"
                raise DiagnosticError(Diagnostic("D434", message, help=f"add `--plugin {plugin}`"))
        return cls(out), settings, compile_spec(file, values, network)

    def write_text(self, name: str, text: str) -> None:
        """One text file."""
        write_text(self.out / name, text)

    def write_json(self, name: str, data: Any) -> None:
        """One JSON file."""
        self.write_text(name, json.dumps(data, indent=1) + "\n")

    def write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A file of JSON lines, readable by ``pandas.read_json(..., lines=True)``."""
        self.write_text(name, "".join(json.dumps(row) + "\n" for row in rows))

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Tensors and plain values, for `load`."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_bytes(self.out / name, buffer.getvalue())

    def load(self, name: str, device: torch.device | str = "cpu") -> dict[str, Any]:
        """What `save` wrote; runs no code that a file may hold.

        Raises:
            DiagnosticError: D416 (missing or broken).
        """
        path = self.out / name
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:  # torch raises many kinds for a broken file
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DiagnosticError(
                Diagnostic(
                    "D416",
                    f"cannot load `{path}`",
                    notes=(reason,),
                    help="run `bayesnas train` to its end, or name another folder",
                )
            ) from None
        return state


def read_result(out: Path) -> dict[str, Any]:
    """What a finished run says in its ``result.json``.

    Raises:
        DiagnosticError: D415 (none there, or not ours).
    """
    try:
        result: dict[str, Any] = json.loads((out / "result.json").read_text("utf-8"))
    except (OSError, ValueError):
        remedy = "remove the folder, and run the command again"
        raise DiagnosticError(
            Diagnostic("D415", f"no finished run in `{out}`", help=remedy)
        ) from None
    return result
