"""Compress trained networks, by this project and by Torch-Pruning, from the same images.

    pip install -e '.[benchmarks]'
    python -m benchmarks.compression --device cuda --workers 14

Networks in benchmarks/networks/: LeNet-300-100 and LeNet-5 in Caffe's widths on digits enlarged to
28 x 28 and on a slice of CIFAR-10, ResNet-20, a network like VGG and cells that DARTS found on
CIFAR-10. Each is trained once a seed, compressed to a half, a quarter and an eighth of its
multiply-accumulates, and trained on. The trained network, the images, the schedule and the seed are
the same for all; those who judge channels in a training of their own have half of the epochs for
it. All of Torch-Pruning is global pruning, at the least ratio of channels that fits (bisection);
what it makes is counted by its own layers, as ours is. Scores are of the test part, of the last
epoch. `faster` is how many times the smaller network is faster on one thread of the CPU, 32 images
at once. What fails is counted. Seeds from 10 on are for development, 0 to 2 for reporting.

What was measured stays in build/benchmarks/compression.jsonl and is not measured again;
`--unfinished` prints what there is. `--slice` is what a CPU can do: the LeNets as they are, the
other three on 4,000 images of 16 x 16 pixels, 5 epochs and 2 of training on, for both tools.
`--quick` compresses ResNet-8 once with one seed by two methods (a minute of 2 cores).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, Final

from benchmarks.common import finish, numbers, percent, words
from benchmarks.compression import torch_pruning
from benchmarks.compression.cells import Cell, Row, measured
from benchmarks.compression.networks import NETWORKS, SLICES, USUAL

OURS: Final = (
    *("evidence", "magnitude", "taylor", "norm_scale"),
    *("bayesnas", "pgnas", "group_lasso", "normal_jeffreys"),
)
NORMALISED: Final = ("norm_scale", "batch norm")  # what they judge by, LeNets have not
RATIOS: Final = (2, 4, 8)

Table = Mapping[str, Mapping[int, Sequence[Row]]]


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="ResNet-8, one seed, two methods")
    parser.add_argument("--slice", action="store_true", help="CIFAR-10 in a size for a CPU")
    parser.add_argument("--networks", type=words, help=", ".join(NETWORKS))
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2])
    parser.add_argument("--ratios", type=numbers, default=[*RATIOS])
    parser.add_argument("--ours", type=words, default=[*OURS])
    parser.add_argument("--theirs", type=words, default=[*torch_pruning.IMPORTANCES])
    parser.add_argument("--device", default="cpu", help="default %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="processes; default %(default)s")
    parser.add_argument("--unfinished", action="store_true", help="measure nothing")
    options = parser.parse_args()
    options.networks = options.networks or [*(SLICES if options.slice else USUAL)]
    if options.quick:
        options.networks, options.seeds, options.ratios = ["resnet8"], [0], [4]
        options.ours, options.theirs = ["taylor"], ["taylor"]
    if torch_pruning.torch_pruning is None and options.theirs and not options.unfinished:
        print("Torch-Pruning is not installed: this project alone is measured")
        options.theirs = []
    return options


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """All that is asked for."""
    return [
        Cell(name, seed, ratio, tool, importance, options.device)
        for seed in options.seeds
        for name in options.networks
        for tool, names in (("bayesnas", options.ours), ("torch-pruning", options.theirs))
        for importance in names
        if not (name.startswith("lenet") and importance in NORMALISED)
        for ratio in options.ratios
    ]


def tables(rows: Sequence[Row]) -> Mapping[str, Table]:
    """By network, method and ratio."""
    result: dict[str, dict[str, dict[int, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        if "error" not in row:
            method = f"{row['tool']} {row['importance']}"
            result[row["network"]][method][row["ratio"]].append(row)
    return result


def show(name: str, table: Table, ratios: Sequence[int]) -> None:
    """One network, for people: accuracies, speeds, accuracies right after the removal, seconds."""
    before = {row["seed"]: row["before"] for m in table.values() for c in m.values() for row in c}
    print(f"\n{name}, before: {percent([*before.values()])}")
    print(f"| | {' | '.join(f'1/{ratio}' for ratio in ratios)} | faster | right after | seconds |")
    print(f"|---|{'---|' * (len(ratios) + 3)}")
    for method, by_ratio in table.items():
        groups = [by_ratio.get(ratio, ()) for ratio in ratios]
        trained = [percent([row["trained"] for row in rows]) if rows else "-" for rows in groups]
        faster = [f"{median(row['faster'] for row in rows):.1f}" for rows in groups if rows]
        removed = [f"{100 * fmean(row['removed'] for row in rows):.0f}" for rows in groups if rows]
        seconds = fmean(row["seconds"] for rows in groups for row in rows)
        said = (*trained, ", ".join(faster), ", ".join(removed), f"{seconds:.0f}")
        print(f"| {method} | {' | '.join(said)} |")


def main() -> None:
    """Measure, and print a table a network."""
    options = parsed()
    rows = measured(cells_of(options), 0 if options.unfinished else options.workers)
    failed = [row for row in rows if "error" in row]
    by_network = tables(rows)
    for name, table in by_network.items():
        show(name, table, options.ratios)
    for row in failed:
        print(f"failed: {row['network']}, {row['tool']} {row['importance']}: {row['error']}")
    scores: list[list[Any]] = [
        [name, method, ratio, fmean(row["trained"] for row in group), len(group)]
        for name, table in by_network.items()
        for method, by_ratio in table.items()
        for ratio, group in by_ratio.items()
    ]
    finish("compression", quick=options.quick, scores=scores, failed=len(failed))


if __name__ == "__main__":
    main()
