"""Batches of ImageNet's augmentation, streamed, against a plain loop of torchvision's parts.

    python -m benchmarks.augmentation

Takes about 2 minutes on 2 cores: 1,000 CIFAR-10 images enlarged to JPEG files of 500 x 375 pixels,
batches of 32 for a network of 224 x 224. `--quick` takes 40 seconds (200 images). No network runs.

Random resized crops, mirrors and changes of colour as the recipe `darts_imagenet` has them: ours by
`--stream`, and `ImageFolder` with `RandomResizedCrop`, `RandomHorizontalFlip`, `ColorJitter`,
`ToDtype` and `Normalize` behind a `DataLoader` of as many processes. The median of the rounds'
ratios is reported. Beside it stands what an image takes of the run's own process, with that
augmentation and with mirrors alone: what is done there keeps a GPU waiting, however many processes
decode.

Bar: the run's own part is at most 1.5 times that with mirrors alone. Exit status 1 where it is
missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.dataset import Batches, Data
from bayesnas.runtime.data.folders.decoding import default_workers
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from benchmarks.common import cifar_folder, finish

SIZE, FILES = 224, (500, 375)
BATCH = 32
CROP, JITTER = 0.08, 0.4
BAR = 1.5
OURS, PLAIN, BARE = "streamed", "plain loop", "streamed, only mirrored"
SPEC = f"""\
network net(image: [3, {SIZE}, {SIZE}]) -> (logits: [10]) {{
    image -> logits : global_avg_pool >> linear(10)
}}
"""


def enlarge(images: Path, root: Path) -> None:
    """Files of ImageNet's usual size."""
    for file in images.glob("*/*/*.jpg"):
        out = root / file.relative_to(images)
        out.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            image.convert("RGB").resize(FILES, Image.Resampling.BICUBIC).save(out, quality=90)


def plain(root: Path, workers: int) -> DataLoader[Any]:
    """torchvision's parts, as its users put them together."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(CROP, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(JITTER, JITTER, JITTER, JITTER / 2),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
        ]
    )
    folder = ImageFolder(str(root / "train"), transform)
    return DataLoader(
        folder, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


def passed(batches: Iterable[tuple[Any, Tensor]]) -> tuple[float, float]:
    """Images a second of one pass, and milliseconds of this process an image."""
    start, busy, count = time.perf_counter(), time.process_time(), 0
    for _, targets in batches:
        count += len(targets)
    return count / (time.perf_counter() - start), 1e3 * (time.process_time() - busy) / count


def measure(
    data: Data, root: Path, workers: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Of each way, what `passed` gives in each round, after one that does not count."""

    def ours(extra: Extra) -> Batches:
        generator = torch.Generator().manual_seed(0)
        return Batches(data, data.train, BATCH, "flip", generator, extra)

    loader = plain(root, workers)
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        OURS: lambda: ours(Extra(crop=CROP, color_jitter=JITTER)),
        PLAIN: lambda: loader,
        BARE: lambda: ours(Extra()),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            found[name].append(passed(way()))
    return {name: rows[1:] for name, rows in found.items()}


def main() -> None:
    """Measure, print, compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="200 images")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--workers", type=int, default=default_workers(), help="a core each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        enlarge(cifar_folder(20 if options.quick else 100, 1), root)
        read = DataOptions(stream=True, workers=options.workers, fit="crop")
        (root / "network.nas").write_text(SPEC, encoding="utf-8")
        graph = compile_spec(root / "network.nas").graph
        data = load_data(f"folder:{root}", graph, read)
        found = measure(data, root, options.workers, options.rounds)
    speeds = {name: median(speed for speed, _ in rows) for name, rows in found.items()}
    own = {name: median(spent for _, spent in rows) for name, rows in found.items()}
    pairs = zip(found[OURS], found[PLAIN], strict=True)
    ratio = median(ours / theirs for (ours, _), (theirs, _) in pairs)
    for name, speed in speeds.items():
        print(f"{name:28}{speed:>8,.0f} images/s, {own[name]:.2f} ms of the run's own process")
    print(f"{OURS} over {PLAIN}: {ratio:.2f}")
    share = own[OURS] / own[BARE]
    missed = [f"{share:.2f} times its own part"] if share > BAR else []
    finish(
        "augmentation",
        quick=options.quick,
        workers=options.workers,
        images_a_second={name: round(speed, 1) for name, speed in speeds.items()},
        ratio=round(ratio, 2),
        own_milliseconds={name: round(spent, 2) for name, spent in own.items()},
        own_ratio=round(share, 2),
        missed=missed,
    )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
