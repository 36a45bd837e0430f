"""A million image files listed, as `folder:` does before a run.

    python -m benchmarks.listing

Takes about 3 minutes on 2 cores, most of it to make a million empty files in 1,000 folders of a
temporary one and to remove them. `--quick` takes 15 seconds (50,000 files).

Bars: 20 seconds of the processor's time a million, so that other work on the machine counts for
nothing, and 100 bytes of memory a file at most. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from bayesnas.runtime.data.folders.listing import Findings, images_below
from bayesnas.runtime.data.free_memory import used_memory
from benchmarks.common import finish

MANY, FEW, FOLDERS = 1_000_000, 50_000, 1_000
SECONDS_BAR, BYTES_BAR = 20 / 1_000_000, 100  # of a file


def _peak() -> int:
    """Bytes that this process has taken at most."""
    return used_memory(torch.device("cpu")) or 0


def make(root: Path, count: int) -> None:
    """Empty files with names as those of ImageNet."""
    for folder in range(FOLDERS):
        at = root / f"n{folder:08}"
        at.mkdir()
        for n in range(count // FOLDERS):
            os.close(os.open(at / f"{at.name}_{n:05}.JPEG", os.O_CREAT | os.O_WRONLY))


def main() -> None:
    """Make, list, compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="50,000 files")
    parser.add_argument("--files", type=int, help="how many, of 1,000 folders")
    options = parser.parse_args()
    count = options.files or (FEW if options.quick else MANY)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), count)
        before, start, busy = _peak(), time.perf_counter(), time.process_time()
        files = images_below(Path(folder), Findings())
        spent, worked = time.perf_counter() - start, time.process_time() - busy
        held = (_peak() - before) / len(files)
    print(
        f"{len(files):,} files in {spent:.1f} s, {worked:.1f} s of the processor, "
        f"{held:.0f} bytes each at most"
    )
    missed = [f"{worked:.1f} s"] if worked > SECONDS_BAR * len(files) else []
    missed += [f"{held:.0f} bytes a file"] if held > BYTES_BAR else []
    finish(
        "listing",
        quick=options.quick,
        files=len(files),
        seconds=round(spent, 2),
        processor_seconds=round(worked, 2),
        bytes=round(held, 1),
        missed=missed,
    )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
