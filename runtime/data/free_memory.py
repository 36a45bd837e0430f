"""How much memory is free, where the system says, and how to give some back to it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from attrs import define

SHARE: Final = 0.25  # of free memory, that data may take: networks need some as well
_ROOT: Final = Path("/")


def free_memory(device: torch.device, root: Path = _ROOT) -> int | None:
    """Bytes that work on a device may still take; None where nothing says so.

    On Linux what is available (`MemAvailable`), or less where a control group has a limit; files
    that are cached count as free. ``root`` is where the system's files lie.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    if device.type != "cpu":
        return None
    known = [*_available(root), *_in_groups(root)]
    return max(0, min(known)) if known else None


def fits(size: int, *devices: torch.device) -> bool:
    """Whether data of so many bytes is `SHARE` at most of what is free here and on each device.

    What nobody knows is taken to be enough.
    """
    known = [free_memory(device) for device in (torch.device("cpu"), *devices)]
    return all(free is None or size <= SHARE * free for free in known)


def used_memory(device: torch.device) -> int | None:
    """Bytes that this process has taken of a device at most; None where nothing says so."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        from resource import RUSAGE_SELF, getrusage
    except ModuleNotFoundError:  # on Windows
        return None
    most = getrusage(RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


@define
class Peak:
    """What a block takes of a device at most, bytes; None where nothing says so.

    On Linux the system counts the whole process, in pages.
    """

    device: torch.device
    taken: int | None = None
    _before: int | None = None

    def __enter__(self) -> Peak:
        release_memory(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        else:
            self._before = _resident("VmRSS") if _forget_peak() else None
        return self

    def __exit__(self, *_: object) -> None:
        cuda = self.device.type == "cuda"
        most = used_memory(self.device) if cuda else _resident("VmHWM")
        if self._before is not None and most is not None:
            self.taken = max(0, most - self._before)


def _forget_peak() -> bool:
    """Let the system count the peak of this process anew, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    except OSError:
        return False
    return True


def _resident(name: str) -> int | None:
    """A line of this process' status: memory that it has, or had at most."""
    for line in _lines(_ROOT / "proc/self/status"):
        key, _, amount = line.partition(":")
        if key == name:
            return 1024 * int(amount.split()[0])
    return None


def release_memory(device: torch.device) -> None:
    """Give back to the system what was freed, where the C library keeps it.

    glibc keeps blocks of up to 32 MiB. A pass whose tensors are larger than those of the work
    before cannot use them, and would take its memory besides.
    """
    if device.type == "cpu" and sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def _available(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            yield 1024 * int(amount.split()[0])


def _in_groups(root: Path) -> Iterator[int]:
    """What each control group round this process leaves, of version 2 or 1."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, limit, used = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            top, limit = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            used = "memory.usage_in_bytes"
        else:
            continue
        inner = root / top / path.lstrip("/")
        for group in (inner, *inner.parents):
            yield from _left(group / limit, group / used, group / "memory.stat")
            if group == root / top:
                break


def _left(limit: Path, used: Path, about: Path) -> Iterator[int]:
    limits, uses = _numbers(limit), _numbers(used)
    if limits and uses:
        cached = (line.split() for line in _lines(about))
        files = next((int(n) for name, n in cached if name.endswith("inactive_file")), 0)
        yield limits[0] - uses[0] + files


def _numbers(path: Path) -> list[int]:
    """The number in a file; none where it is absent or says `max`."""
    return [int(line) for line in _lines(path) if line.isdigit()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []
