"""The machine that a run was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

import torch

from bayesnas.runtime.network.together.ranks import world

_CPU_FILE: Final = Path("/proc/cpuinfo")


def machine_record(device: torch.device) -> dict[str, str | int]:
    """Its system and processor, and the device: what a time or a last digit may hang on.

    Of processes that work together, it is that of the first.
    """
    about: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(device)
    if (together := world().size) > 1:
        about["processes"] = together
    return about


def _processor() -> str:
    """What it calls itself, where the system says."""
    try:
        rows = _CPU_FILE.read_text("utf-8").splitlines()
    except OSError:
        rows = []
    names = (row.partition(":")[2].strip() for row in rows if row.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
