"""The folder of a run: settings, history, checkpoint and results, each file whole or absent."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import torch
from attrs import asdict
from filelock import FileLock

from bayesnas.compiler.objectives import Objective, read_objective
from bayesnas.compiler.operations.plugins import loaded_plugins
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.settings import OPTIONS, SearchSettings, TrainSettings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote
from bayesnas.dsl.files import write_bytes, write_text
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.network.together.ranks import world
from bayesnas.runtime.runs.ownership import (
    CHECKPOINT,
    PREVIOUS,
    SETTINGS,
    WEIGHTS,
    clear,
    clear_litter,
    has_checkpoint,
    lock,
    set_aside,
    settings_of,
    unlock,
)
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.reading import Schema, check_entries, load_tensors
from bayesnas.runtime.runs.record import (
    FORMAT,
    PLACES,
    RunOptions,
    copies_of,
    plugin_hash,
    run_record,
    spec_hash,
)
from bayesnas.runtime.runs.schemas import settings_schema
from bayesnas.runtime.runs.seals import (
    RESTORE,
    check_hash,
    check_seal,
    sealed,
)

_MAY_DIFFER: Final = (
    *("file", "copies", "spec", "device", "compile", "plugins", "versions", "examples"),
    *PLACES,
)
_HERE: Final = "__main__"  # the module of what a notebook or a script defines
_STARTS: Final = ("weights", "compression")  # what a run began with that not all have
_WORDS: Final = {
    "spec_hash": "spec",
    "data_hash": "data",
    "test_hash": "test part",
    "latencies_hash": "table of latencies",
    "plugin_hash": "plugin",
}


def check_format(out: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a run whose weights another bayesnas has named.

    Raises:
        DiagnosticError: D438.
    """
    if (number := settings.get("format", 1)) != FORMAT:
        file = out / str(settings.get("file", "spec.nas"))
        raise DiagnosticError(
            Diagnostic(
                "D438",
                f"the run in `{out}` was written by another bayesnas",
                notes=(f"its format is {number}, and this bayesnas reads {FORMAT}",),
                help=f"run it again from its spec, `{file}`; "
                "a `pruned.nas` is a spec and stays good",
            )
        )


class Run:
    """A run's folder, locked while the run is at work; made once everything given is right."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.writes = world().writes
        self._lock: FileLock | None = None

    @classmethod
    def begin(
        cls,
        command: str,
        compiled: Compiled,
        settings: SearchSettings | TrainSettings,
        options: RunOptions,
        data_hash: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Run:
        """Make the folder with the spec and the settings, or return to it; a context manager.

        ``data_hash`` is of the examples that it learns from, ``extra`` what else made it; a run is
        resumed only with the same. Of several processes the first alone touches the folder.

        Raises:
            DiagnosticError: D413 (another run is at work there), D414 (begun otherwise), D445
                (processes were started with different work).
        """
        run, copies = cls(options.out), copies_of(compiled)
        record = run_record(command, compiled, settings, options, data_hash, extra)
        elsewhere = {"spec", "device", *PLACES}  # may be another on each machine
        world().check_same({n: value for n, value in record.items() if n not in elsewhere})
        if not run.writes:
            return run
        if _HERE in record["plugins"]:
            say_note(
                "primitives or data of a notebook or script are in no file of their own: where "
                "those have not run, this run cannot be opened"
            )
        options.out.mkdir(parents=True, exist_ok=True)
        run._lock = lock(options.out)
        try:
            clear_litter(options.out)
            if options.resume:
                run._complete(run.check_same(record), record, copies)
                return run
            set_aside(options.out)
            run.write_json(SETTINGS, record)  # first: it tells whose the rest is
            for name, text in copies.items():
                run.write_text(name, text)
        except BaseException:
            run._unlock()
            raise
        return run

    def _complete(
        self, begun: Mapping[str, Any], record: Mapping[str, Any], copies: Mapping[str, str]
    ) -> None:
        """Say where the data lies now, and write copies that were lost: they are the same."""
        settled = {**begun, **{name: record[name] for name in PLACES}}
        if settled != begun:
            self.write_json(SETTINGS, settled)
        for name in copies.keys() & set(begun.get("copies", ())):
            if not (self.out / name).is_file():
                self.write_text(name, copies[name])

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the folder; where the run ended well, the one before it goes.

        Raises:
            KeyboardInterrupt: one came, and there is a checkpoint; it says how to go on.
        """
        if self.writes:
            if kind is None:
                clear(self.out)
            self._unlock()
        if kind is KeyboardInterrupt and has_checkpoint(self.out):
            raise KeyboardInterrupt(f"`--resume` goes on with the run in `{self.out}`") from None

    def _unlock(self) -> None:
        assert self._lock is not None
        unlock(self.out, self._lock)

    def check_same(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse to resume a run that was begun otherwise; the settings that it was begun with.

        Raises:
            DiagnosticError: D414, naming what differs.
        """
        settings = _settings(self.out)
        begun, record = _comparable(settings), _comparable(record)
        names = [*record, *(n for n in _STARTS if n in begun.keys() - record.keys())]
        differ = [n for n in names if n not in _MAY_DIFFER and begun.get(n) != record.get(n)]
        if differ:
            changed = _changed(begun["settings"], record["settings"])
            more = _changed(begun.get("compression") or {}, record.get("compression") or {})
            words = [_WORDS.get(n, n) for n in differ]
            raise _begun_otherwise(self.out, words, *changed, *more)
        return settings

    @classmethod
    def open(cls, out: Path) -> tuple[Run, dict[str, Any], Compiled]:
        """An existing run, its settings, and its spec compiled again.

        Raises:
            DiagnosticError: D414 (begun with another plugin), D415 (no run there), D416 (settings
                that no run has, or another spec than it was made of), D434 (a plugin of it is not
                loaded), D438 (another format).
        """
        settings = _settings(out)
        path = out / settings["file"]
        spec = compile_spec(path, settings["values"], settings["network"])
        spec = spec.learning(_objectives(settings))
        found = spec_hash(spec)
        check_hash(found, settings.get("spec_hash", found), path, SETTINGS)
        return cls(out), settings, spec

    def write_text(self, name: str, text: str) -> None:
        """One text file."""
        if self.writes:
            write_text(self.out / name, text)

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """One JSON file, a table that is sealed."""
        self.write_text(name, json.dumps(sealed(data), indent=1) + "\n")

    def write_lines(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A file of JSON lines, readable by ``pandas.read_json(..., lines=True)``."""
        self.write_text(name, "".join(json.dumps(row) + "\n" for row in rows))

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Tensors and plain values, for `load`."""
        if not self.writes:
            return
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_bytes(self.out / name, buffer.getvalue())

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep what a run has reached, and the checkpoint before it."""
        if not self.writes:
            return
        path, previous = self.out / CHECKPOINT, self.out / PREVIOUS
        try:
            if path.is_file():
                path.replace(previous)
            self.save(CHECKPOINT, state)
        except BaseException:
            if previous.is_file() and not path.is_file():
                previous.replace(path)
            raise

    def checkpoint(
        self, schema: Schema, device: torch.device | str = "cpu"
    ) -> dict[str, Any] | None:
        """What was saved last, or before that where it is damaged; None where nothing was.

        Of several processes the first reads it and tells the others.

        Raises:
            DiagnosticError: D416 (all that there is is damaged, or not of the schema).
        """
        ranks = world()
        if not self.writes:
            told = ranks.told(b"")
            if not told:
                return None
            state: dict[str, Any] = torch.load(io.BytesIO(told), device, weights_only=True)
            return state
        path, saved = self._saved(schema, device)
        if ranks.size > 1:
            ranks.told(b"" if path is None else path.read_bytes())
        return saved

    def _saved(
        self, schema: Schema, device: torch.device | str
    ) -> tuple[Path | None, dict[str, Any] | None]:
        """The file of the last good checkpoint, and what is in it."""
        paths = [self.out / name for name in (CHECKPOINT, PREVIOUS)]
        paths = [path for path in paths if path.is_file()]
        for path in paths[:-1]:
            try:
                return path, load_tensors(path, schema, RESTORE, device)
            except DiagnosticError as error:
                say_note(f"{error.diagnostics[0].message}: going on from the checkpoint before it")
        if not paths:
            return None, None
        return paths[-1], load_tensors(paths[-1], schema, RESTORE, device)

    def weights(self, schema: Schema, device: torch.device | str = "cpu") -> dict[str, Any]:
        """What a training has saved at its end.

        Raises:
            DiagnosticError: D416 (missing, broken, or not of the schema).
        """
        remedy = "run `bayesnas train` to its end, or name another folder"
        return load_tensors(self.out / WEIGHTS, schema, remedy, device)


def _settings(out: Path) -> dict[str, Any]:
    """What a run was begun with; its copies are not looked at.

    Raises:
        DiagnosticError: see `Run.open`.
    """
    settings = settings_of(out)
    if settings is None:
        runs = (path.parent for path in sorted(out.glob(f"*/{SETTINGS}")))
        inside = [str(run) for run in runs if not run.name.startswith(".")]
        remedy = "name the folder that `bayesnas train` or `bayesnas search` wrote"
        if inside:
            remedy = f"name a run in it: {quote(inside, 'or')}"
        elif out.suffix == ".nas":
            remedy = f"train it first, `bayesnas train {out} --data DATA -o RUN`, and name `RUN`"
        raise DiagnosticError(Diagnostic("D415", f"no run in `{out}`", help=remedy))
    check_format(out, settings)
    schema = settings_schema(settings["command"])
    check_entries(settings, schema, out / SETTINGS, RESTORE)
    check_seal(settings, out / SETTINGS)
    for plugin in settings["plugins"]:
        if plugin not in loaded_plugins():
            message = f"the run in `{out}` uses the plugin `{plugin}`"
            remedy = f"add `--plugin {plugin}`"
            if plugin == _HERE:
                message = f"the run in `{out}` uses primitives or data of a notebook or script"
                remedy = "run what defines them first, or train with them in a file: `--plugin`"
            raise DiagnosticError(Diagnostic("D434", message, help=remedy))
    plugins = plugin_hash(settings["plugins"])
    if settings.get("plugin_hash", plugins) != plugins:
        raise _begun_otherwise(out, ["plugin"])
    return settings


def _objectives(settings: Mapping[str, Any]) -> list[Objective]:
    """What the outputs of a run learn, by its settings."""
    return [read_objective(f"{port} = {t}") for port, t in settings.get("objectives", {}).items()]


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """All that makes a run, but for what changes no result.

    Settings, and ways to read data, that are newer than the run had their defaults.
    """
    kind = OPTIONS.get(record.get("command", ""))
    defaults = asdict(kind()) if kind else {}
    settings = {**defaults, **record.get("settings", {}), "recompute": ""}
    return {"objectives": {}, **DataOptions().record(), **record, "settings": settings}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The single settings that differ, in words; those that are lists or records are left out."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    values = {name: (old.get(name, "not given"), new.get(name, "not given")) for name in names}
    return [
        f"`{name}`: {before}, now {now}"
        for name, (before, now) in values.items()
        if not isinstance(before, list | dict) and not isinstance(now, list | dict)
    ]


def _begun_otherwise(out: Path, words: Sequence[str], *changed: str) -> DiagnosticError:
    """D414; ``words`` is what differs, ``changed`` the single settings."""
    return DiagnosticError(
        Diagnostic(
            "D414",
            f"the run in `{out}` differs in its {words[0]}",
            notes=(f"different: {', '.join(words)}", *changed),
            help="go on with what it keeps in its folder, or begin in a new one",
        )
    )
