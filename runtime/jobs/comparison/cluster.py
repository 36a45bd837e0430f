"""Cells of a comparison on Ray: a task each, on whichever machine has room for it.

Ray starts a task again whose worker was lost; as everything of a cell lies in its folder, it goes
on there from the last checkpoint. All machines see the folder under one path.
"""

from __future__ import annotations

import os
import pickle
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bayesnas.compiler.operations.plugins import load_plugin, loaded_plugins
from bayesnas.dsl.diagnostics import (
    Diagnostic,
    DiagnosticError,
    check_packages,
    memory_ran_out,
    quote,
)
from bayesnas.runtime.jobs.comparison.cells import Cell, Work
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.seals import text_hash

LOCAL: Final = "local"
LOST: Final = 3  # times that a cell whose worker was lost is begun again
_ANSWER: Final = 5.0  # seconds in which an address answers
_STATUS: Final = 30.0  # seconds in which Ray answers there; by itself it tries for minutes
_ENDED: Final = 60.0  # seconds in which interrupted cells are saved
_REMEDY: Final = (
    "start it there with `ray start --head`, name it as `HOST:PORT`, or write `--cluster local`"
)
_OTHER: Final = "something else listens there"
_TOKEN: Final = "authentication token"  # in all that Ray says of one
_AUTH: Final = "RAY_AUTH_MODE"
_SHOW_TOKEN: Final = (
    "set `RAY_AUTH_MODE=token` and `RAY_AUTH_TOKEN` to what `ray get-auth-token` prints there, or "
    "start it there with `RAY_AUTH_MODE=disabled ray start --head`"
)


@frozen
class Place:
    """Where the command was given, as a task finds it again."""

    folder: Path  # paths of the command line are meant from here
    plugins: tuple[str, ...]
    threads: int
    record: Path  # a file of the comparison
    record_hash: str

    def enter(self) -> None:
        """Go there.

        Raises:
            DiagnosticError: D448 (this machine does not see the comparison's files); what plugins
                raise.
        """
        import torch

        try:
            os.chdir(self.folder)
            same = text_hash(self.record.read_text("utf-8")) == self.record_hash
        except OSError:
            same = False
        if not same:
            message = f"the machine `{platform.node()}` does not see `{self.record}`"
            remedy = "let `-o`, the spec and the data lie where all machines see the same files"
            raise DiagnosticError(Diagnostic("D448", message, help=remedy))
        for name in self.plugins:
            load_plugin(name)
        torch.set_num_threads(self.threads)


def _complete(place: Place, work: bytes, cell: bytes) -> tuple[Diagnostic, ...]:
    """A task: what was wrong. It comes as bytes, which may need plugins to be read."""
    try:
        place.enter()
        shared: Work = pickle.loads(work)
        shared.complete(pickle.loads(cell))
    except DiagnosticError as error:
        return error.diagnostics
    except Exception as error:
        return (_fault(error),)
    return ()


def _fault(error: Exception) -> Diagnostic:
    """What else a cell may end in."""
    code = "D603" if memory_ran_out(error) else "D448"
    message = "out of memory" if code == "D603" else f"it ended in {type(error).__name__}"
    notes = (*str(error).strip().splitlines()[:1], f"on the machine `{platform.node()}`")
    remedy = "the same command without `--cluster` goes on with it, and says all"
    return Diagnostic(code, message, notes=notes, help=remedy)


@frozen
class Cluster:
    """Machines that Ray joins.

    Args:
        address: `LOCAL` starts Ray on this machine; else where it runs, as ``HOST:PORT``.
        gpus: of a cell, from 0; two cells share one with 0.5.
        threads: of a cell, and the CPU cores that it is given, from 1.
    """

    address: str
    gpus: float = 0.0
    threads: int = 1

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Ray, as long as it is needed; one that this process has joined already is used.

        Raises:
            DiagnosticError: D436 (the package is missing), D447 (it does not answer, or has no room
                for a cell).
        """
        if self.address not in (LOCAL, "auto"):
            _check_answer(self.address)
        check_packages(["ray"], "a cluster needs", "pip install 'bayesnas[cluster]'")
        known = sys.modules.get("ray")
        ours = known is None or not known.is_initialized()
        if ours and self.address not in (LOCAL, "auto") and "ray://" not in self.address:
            _check_ray(self.address)  # before Ray is imported, which reads what it shows
        import ray

        try:
            if ours:
                self._join()
            self._check_room()
            yield
        finally:
            if ours:
                ray.shutdown()

    def _join(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
        os.environ.setdefault(
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1"
        )  # no GPU that none asked for
        more: dict[str, Any] = {}
        if self.address == LOCAL:
            more = {"include_dashboard": False, "num_cpus": max(self.threads, os.cpu_count() or 1)}
        main = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(self.address, log_to_driver=False, logging_level="ERROR", **more)
        except (OSError, RuntimeError, ValueError, SystemExit) as error:
            raise _no_ray(self.address, str(error)) from None
        finally:
            if main:  # Ray puts its own in the place
                signal.signal(signal.SIGTERM, handler)

    def _check_room(self) -> None:
        """Refuse cells that no machine here has room for; one that joins later may have it."""
        import ray

        wanted = {"CPU": self.threads, "GPU": self.gpus}
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if any(all(m.get(k, 0) >= n for k, n in wanted.items()) for m in machines):
            return
        room = f"{self.threads} CPU cores and {self.gpus:g} GPUs"
        if self.address != LOCAL:
            say_note(f"no machine of the cluster has {room}: cells wait until one joins")
            return
        message = f"this machine does not have {room} for a cell"
        remedy = "lower `--gpus-per-cell` or `--threads`, or join a cluster that has them"
        raise DiagnosticError(Diagnostic("D447", message, help=remedy))

    def complete(
        self, work: Work, cells: Sequence[Cell], record: Path
    ) -> Generator[tuple[int, tuple[Diagnostic, ...]], None, None]:
        """Complete all cells; the index of each as it ends, with what was wrong.

        Args:
            work: what they have in common.
            cells: what is to be done.
            record: a file of the comparison, which every machine should see.

        Raises:
            KeyboardInterrupt: one came; cells at work have been saved.
        """
        import ray
        from ray.exceptions import RayError

        text = record.read_text("utf-8")
        place = Place(Path.cwd(), (*loaded_plugins(),), self.threads, record, text_hash(text))
        task: Any = ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_retries=LOST)
        shared = ray.put(pickle.dumps(work))
        begin = task(_complete).remote
        tasks = {begin(place, shared, pickle.dumps(cell)): k for k, cell in enumerate(cells)}
        waiting = [*tasks]
        try:
            while waiting:
                [ended], waiting = ray.wait(waiting, num_returns=1)
                try:
                    diagnostics = ray.get(ended)
                except RayError as error:
                    diagnostics = (_lost(error),)
                yield tasks[ended], diagnostics
        finally:
            for one in waiting:
                ray.cancel(one)  # as Ctrl-C: cells at work are saved
            if waiting:
                ray.wait(waiting, num_returns=len(waiting), timeout=_ENDED)


def _check_answer(address: str) -> None:
    """Refuse an address where nothing listens.

    Raises:
        DiagnosticError: D447.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _no_ray(address, "an address is a host and a port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except OSError as error:
        raise _no_ray(address, error.strerror or str(error)) from None


def _check_ray(address: str) -> None:
    """Refuse an address where something else listens, or a Ray that will not let us in.

    Where Ray asks for a token, as newer ones of `ray start --head` do, this machine's is shown.

    Raises:
        DiagnosticError: D447.
    """
    said = _refusal(address, {})
    if _TOKEN in said.lower() and _AUTH not in os.environ:
        shown = {_AUTH: "token"}
        said = _refusal(address, shown)
        if not said:
            os.environ.update(shown)
    if _TOKEN in said.lower():
        message = f"the Ray at {quote([address])} asks for a token that this machine does not have"
        raise DiagnosticError(Diagnostic("D447", message, help=_SHOW_TOKEN))
    if said:
        raise _no_ray(address, said.splitlines()[-1])


def _refusal(address: str, shown: Mapping[str, str]) -> str:
    """Why no Ray answers there, asked with ``shown`` in the environment; empty where one does."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_STATUS, check=False, env=os.environ | shown
        )
    except subprocess.TimeoutExpired:
        return _OTHER
    said = done.stderr.decode("utf-8", "replace").strip()
    return (said or _OTHER) if done.returncode else ""


def _no_ray(address: str, reason: str) -> DiagnosticError:
    notes = tuple(reason.strip().splitlines()[:1])
    message = f"no Ray answers at {quote([address])}"
    return DiagnosticError(Diagnostic("D447", message, notes=notes, help=_REMEDY))


def _lost(error: Exception) -> Diagnostic:
    """What Ray says of a task that it could not complete."""
    notes = tuple(line for line in str(error).strip().splitlines()[:1] if line)
    message = f"its worker was lost {LOST + 1} times, or could not begin"
    remedy = "look at that machine's memory and at Ray's logs there; the same command goes on"
    return Diagnostic("D448", message, notes=notes, help=remedy)
