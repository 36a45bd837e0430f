"""Tiny runs by the command line, each in a process of its own, and what they leave."""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import torch
from attrs import frozen
from filelock import FileLock
from living import TINY, striped
from PIL import Image
from torch import Tensor

from bayesnas.cli import main
from bayesnas.compiler.pipeline import compile_loaded
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text
from bayesnas.runtime.runs.seals import SEAL
from campaign.traps import Trap, after_checkpoints

SECONDS: Final = 120  # after which a run hangs
_LOADED: Final = (
    *("torch._dynamo", "matplotlib.backends.backend_svg", "matplotlib.figure"),
    *("bayesnas.commands.parser", "bayesnas.runtime.jobs.comparison.compare"),
    *("bayesnas.runtime.jobs.export", "bayesnas.runtime.strategies.registry"),
)

DATA: Final = ("--data", "folder:data", "--device", "cpu", "--threads", "1")
_SEARCH: Final = ("search", "tiny.nas", *DATA, "--option", "rounds=2", "--option", "epochs=1")
STRATEGIES: Final = ("evidence", "bayesnas", "posterior", "random", "darts", "magnitude")
# What is run, by name; the folder comes behind it.
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train", "tiny.nas", *DATA, "--option", "epochs=3"),
    **{name: (*_SEARCH, "--strategy", name) for name in STRATEGIES},
    "compare": (
        *("compare", "tiny.nas", *DATA, "--strategies", "magnitude,random", "--seeds", "0"),
        *("--option", "rounds=1"),
    ),
}


def load_all() -> None:
    """Load what commands load, once for all processes; without it each takes seconds."""
    for name in _LOADED:
        import_module(name)
    Image.init()
    compile_loaded(load_text(Source("tiny.nas", TINY), Path()), {})


@frozen
class Ended:
    """What a process of the command line leaves behind; ``status`` is below 0 for a signal."""

    status: int
    out: str
    err: str

    @property
    def codes(self) -> set[str]:
        """Of its diagnostics."""
        return set(re.findall(r"^error\[(\w+)\]", self.err, re.MULTILINE))

    @property
    def refuses(self) -> bool:
        """Whether it says in a diagnostic what is wrong, and nothing but that."""
        return self.status in (1, 2) and bool(self.codes) and not self.fault

    @property
    def fault(self) -> str:
        """What no process may end with; empty where there is nothing of the kind."""
        if "Traceback" in self.err or "Exception ignored" in self.err:
            return f"a traceback: {self.err.strip().splitlines()[-1][:200]}"
        if self.status == -signal.SIGALRM:
            return "hangs"
        return "" if self.status <= 2 else f"status {self.status}"


@frozen
class Workshop:
    """The folder in which all runs are made, with the spec and the data of all of them."""

    root: Path

    def furnish(self) -> None:
        """The spec and the data, unless they are there."""
        if not self.root.joinpath("data").is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            (self.root / "tiny.nas").write_text(TINY, encoding="utf-8")
            striped(self.root / "data", train=8, test=3)
        load_all()

    def bench(self) -> Path:
        """A new folder; its name is as long as any other's."""
        folder = self.root / f"bench-{secrets.token_hex(6)}"
        folder.mkdir()
        return folder

    def run(self, words: tuple[str, ...], trap: Trap | None = None) -> Ended:
        """Run a command from here in a process of its own."""
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of threads that do nothing
                child = os.fork()
            if child == 0:
                _be_command(self.root, words, out, err, trap)
            _, status = os.waitpid(child, 0)
            out.seek(0), err.seek(0)
            return Ended(os.waitstatus_to_exitcode(status), out.read(), err.read())

    def finished(self, name: str, *more: str) -> Path:
        """The folder of that command, run undisturbed, once for all; not to be touched.

        Raises:
            AssertionError: it failed.
        """
        return self._made("-".join((name, *more)), (*COMMANDS[name], *more), 0)

    def killed(self, name: str) -> Path:
        """The same, killed when it had saved two checkpoints."""
        trap = after_checkpoints(2)
        return self._made(f"{name}-killed", COMMANDS[name], -signal.SIGKILL, trap)

    def _made(
        self, name: str, words: tuple[str, ...], status: int, trap: Trap | None = None
    ) -> Path:
        folder = self.root / f"made-{name}"
        with FileLock(self.root / f"{name}.lock"):
            if not folder.is_dir():
                ended = self.run((*words, "-o", f"{folder.name}/run"), trap)
                assert ended.status == status, ended.err
        return folder

    def copy(self, folder: Path) -> Path:
        """A folder of its own with what is in that one."""
        bench = self.bench()
        shutil.copytree(folder, bench, dirs_exist_ok=True)
        return bench


def _be_command(
    root: Path, words: tuple[str, ...], out: IO[str], err: IO[str], trap: Trap | None
) -> None:
    """The process of a command; it never returns."""
    status = 70
    try:
        signal.alarm(SECONDS)
        os.chdir(root)
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.default_int_handler if one == signal.SIGINT else 0)
        if trap is not None:
            trap()
        status = main(list(words))
        sys.stdout.flush()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


# ------------------------------------------------------------------------------ what is compared


def contents(bench: Path) -> dict[str, object]:
    """What runs left in a folder, by path, but for what tells of time and of the folder."""
    return {
        str(path.relative_to(bench)): content(path, bench.name)
        for path in sorted(bench.rglob("*"))
        if path.is_file()
    }


def content(path: Path, called: str) -> object:
    """What a file holds; ``called`` is the folder that it may name."""
    data = path.read_bytes().replace(called.encode(), b"HERE")
    readers: dict[str, Callable[[bytes], object]] = {
        ".json": lambda read: _timeless(json.loads(read)),
        ".jsonl": lambda read: [_timeless(json.loads(line)) for line in read.splitlines()],
        ".csv": lambda read: [row[:-1] for row in csv.reader(read.decode().splitlines())],
        ".pt": lambda _: _timeless(torch.load(path, weights_only=True)),
    }
    try:
        return readers[path.suffix](data)
    except Exception:  # of another kind, or damaged
        return data


def _timeless(data: Any) -> Any:
    """Without entries that tell of time; seals are of these as well."""
    if isinstance(data, Tensor):
        plain = data.detach().contiguous().flatten().view(torch.uint8)
        return str(data.dtype), tuple(data.shape), sha256(plain.numpy().tobytes()).hexdigest()
    if isinstance(data, Mapping):
        return {
            key: _timeless(value)
            for key, value in data.items()
            if key not in ("seconds", "seconds_training", SEAL)
        }
    if isinstance(data, list | tuple):
        return [_timeless(entry) for entry in data]
    return repr(data) if isinstance(data, float) else data  # NaN is not itself


def said(ended: Ended, bench: Path) -> str:
    """What a command says on stdout, but for times and the name of the folder."""
    return re.sub(r"\d+( s\b| *$)", "TIME", ended.out, flags=re.M).replace(bench.name, "HERE")


# ------------------------------------------------------------------------------ scenes


@frozen
class Scene:
    """A folder with runs, and a command that uses them; ``BENCH`` stands for the folder.

    Args:
        name: of the scene.
        words: the command.
        run: what was run before.
        killed: whether it was killed then.
        without: files that are taken away, as though the run had not come so far.
    """

    name: str
    words: tuple[str, ...]
    run: str
    killed: bool = False
    without: tuple[str, ...] = ()

    def set_up(self, workshop: Workshop) -> Path:
        """A folder that is ready for the command."""
        of = workshop.killed if self.killed else workshop.finished
        bench = workshop.copy(of(self.run))
        for pattern in self.without:
            for path in bench.glob(f"run/{pattern}"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return bench

    def play(self, workshop: Workshop, bench: Path) -> Ended:
        """The command, on that folder."""
        words = tuple(word.replace("BENCH", bench.name) for word in self.words)
        return workshop.run(words)


_RESUME: Final = ("-o", "BENCH/run", "--resume")
_NEW: Final = ("-o", "BENCH/new", "--option", "epochs=1")
SCENES: Final = (
    Scene("eval", ("eval", "BENCH/run", "--device", "cpu", "--threads", "1"), "train"),
    Scene("train --resume", (*COMMANDS["train"], *_RESUME), "train", killed=True),
    Scene("train --resume, ended", (*COMMANDS["train"], *_RESUME), "train"),
    *(
        Scene(f"search --resume, {name}", (*COMMANDS[name], *_RESUME), name, killed=True)
        for name in STRATEGIES
    ),
    Scene("train what was found", ("train", "BENCH/run/pruned.nas", *DATA, *_NEW), "evidence"),
    Scene("compare again", (*COMMANDS["compare"], "-o", "BENCH/run"), "compare"),
    Scene(
        "compare, searched",
        (*COMMANDS["compare"], "-o", "BENCH/run"),
        "compare",
        False,
        ("*/train", "compare.csv", "compare.svg"),
    ),
)


@cache
def truth(workshop: Workshop, scene: Scene) -> tuple[str, dict[str, object]]:
    """What the command says and leaves where nothing is wrong."""
    bench = scene.set_up(workshop)
    ended = scene.play(workshop, bench)
    assert ended.status == 0, ended.err
    found = said(ended, bench), contents(bench)
    shutil.rmtree(bench)
    return found


def verdict(workshop: Workshop, scene: Scene, bench: Path, name: str) -> str:
    """Play a scene in which one file is wrong: ``refused``, ``same``, ``told``, or what is amiss.

    A wrong file that is not read may stay as it is. A spec that was found belongs to the user: that
    it is another one is told, and it is taken.
    """
    wrong = content(bench / name, bench.name) if (bench / name).is_file() else None
    ended = scene.play(workshop, bench)
    if ended.fault:
        return ended.fault
    if ended.status:
        return "refused" if ended.refuses else f"status {ended.status} without a diagnostic"
    if "is not as the search wrote it" in ended.err:
        return "told"
    words, files = truth(workshop, scene)
    found = contents(bench)
    if name in found and found[name] == wrong:
        found[name] = files.get(name)
    differ = sorted(n for n in {*files, *found} if files.get(n) != found.get(n))
    if differ:
        return f"another {', '.join(differ)} without a word"
    return "same" if said(ended, bench) == words else "another answer without a word"
