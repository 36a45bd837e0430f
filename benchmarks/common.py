"""What the benchmarks share: where real data lies, machines in words, the last line of JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from bayesnas.dsl.files import write_bytes

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "benchmarks"
SHARED = ROOT.parent / "shared" / "data"
CIFAR10 = SHARED / "cifar10-jpeg.tar.xz"  # train/CLASS/*.jpg and test/CLASS/*.jpg
MACRO_TABLE = SHARED / "nas-bench-macro.csv"


def finish(benchmark: str, **figures: Any) -> None:
    """Print the line of JSON that every benchmark ends with."""
    print(json.dumps({"benchmark": benchmark, "machine": machine(), **figures}))


def percent(values: list[float]) -> str:
    """Mean and deviation in percent."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * fmean(values):.2f} ± {100 * deviation:.2f} %"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    found = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def words(text: str) -> list[str]:
    """A list with commas, of a command line."""
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    """A list of whole numbers with commas, of a command line."""
    return [*map(int, words(text))]


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Of one call, to its very end."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(call: Callable[[], Any], device: torch.device) -> int:
    """Bytes of tensors held at once, at most, above those held before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True) as recorded:
        call()
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return highest


def logged(log: Path) -> list[dict[str, Any]]:
    """The lines of a log of JSON; none where there is no such file."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def append(log: Path, row: dict[str, Any]) -> None:
    """One more line."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        print(json.dumps(row), file=file, flush=True)


def need(path: Path) -> Path:
    """The path, or an end in words where real data is absent."""
    if not path.exists():
        sys.exit(f"`{path}` is not there: this benchmark needs it and was not run")
    return path


def cifar_slice(train: int, test: int, size: int) -> Path:
    """The first ``train`` and ``test`` CIFAR-10 images of each class as an .npz file for `npz:`.

    Images are averaged down to ``size`` x ``size``. Made once, in the build folder.
    """
    path = BUILD / f"cifar10-{train}-{test}-{size}.npz"
    if path.exists():
        return path
    arrays: dict[str, Any] = {}
    for part, count, names in (("train", train, ("x", "y")), ("test", test, ("x_test", "y_test"))):
        images, labels = zip(*_images(part, count, size), strict=True)
        arrays |= {names[0]: np.stack(images), names[1]: np.array(labels)}
    whole = BytesIO()
    np.savez(whole, **arrays)
    write_bytes(path, whole.getvalue())
    return path


def cifar_folder(train: int, test: int) -> Path:
    """The first ``train`` and ``test`` CIFAR-10 images of each class, as JPEG files for `folder:`.

    Unpacked once, in the build folder.
    """
    folder = BUILD / f"cifar10-{train}-{test}"
    if folder.exists():
        return folder
    BUILD.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=BUILD) as beside:
        for part, count in (("train", train), ("test", test)):
            for name, files in _files(part).items():
                at = Path(beside, "images", part, name)
                at.mkdir(parents=True)
                for file, data in sorted(files)[:count]:
                    (at / file).write_bytes(data)
        Path(beside, "images").rename(folder)
    return folder


def _files(part: str) -> dict[str, list[tuple[str, bytes]]]:
    """All images of a part as JPEG files with their names, by class."""
    by_class: dict[str, list[tuple[str, bytes]]] = {}
    with tarfile.open(need(CIFAR10)) as archive:
        for entry in archive:
            path = Path(entry.name)
            if entry.isfile() and path.parts[-3] == part:
                file = archive.extractfile(entry)
                assert file is not None
                by_class.setdefault(path.parts[-2], []).append((path.name, file.read()))
    return by_class


def _images(part: str, count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    by_class = _files(part)
    for label, name in enumerate(sorted(by_class)):
        for _, data in sorted(by_class[name])[:count]:
            image = Image.open(BytesIO(data)).convert("RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BOX)
            yield np.array(image).transpose(2, 0, 1), label
