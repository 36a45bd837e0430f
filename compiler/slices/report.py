"""The coupled slices of a network as text: which channels go together, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.slices.groups import Place, Slices
from bayesnas.compiler.slices.ties import Channels, Strand


def slices_text(graph: Graph, slices: Slices, paths: Mapping[Place, str]) -> str:
    """Each strand with the nodes whose channels it is, and the slices along it.

    Args:
        graph: the network.
        slices: of it.
        paths: of its primitives' modules.
    """
    nodes: dict[Strand, list[str]] = {strand: [] for strand in slices.strands}
    lines: dict[Strand, list[str]] = {strand: [] for strand in slices.strands}
    for node, channels in slices.nodes.items():
        if graph.node(node).role != "relay":
            for strand, ranges in _ranges(channels).items():
                nodes[strand].append(f"{node}{ranges}")
    for tensor in slices.tensors:
        for k, axis in enumerate(tensor.axes):
            for strand, ranges in _ranges(axis).items():
                lines[strand].append(f"    {paths[tensor.place]}.{tensor.name}  axis {k}{ranges}")
    count, rows = sum(strand.size for strand in slices.removable), len(slices.removable)
    blocks = [
        f"slices of `{graph.name}`: {count:,} channels may go, in {rows:,} strands\n"
        "channel k of a strand stays or goes with all that lies at k along it\n"
    ]
    for number, strand in enumerate(slices.strands):
        stays = f"; they stay: {strand.fixed}" if strand.fixed else ""
        head = f"strand {number}: {strand.size} channels{stays}"
        where = [f"    of {', '.join(nodes[strand])}"] if nodes[strand] else []
        blocks.append("\n".join([head, *where, *lines[strand], ""]))
    return "\n".join(blocks)


def _ranges(channels: Channels) -> Mapping[Strand, str]:
    """Where along an axis each strand lies: nothing where it is the whole axis."""
    result: dict[Strand, list[str]] = {}
    whole = len(channels) == 1
    for strand, start, stop, stretch in _places(channels):
        places = "" if whole else f"{start}..{stop}"
        by = f"by {stretch}" if stretch > 1 else ""
        result.setdefault(strand, []).append(" ".join(filter(None, (places, by))))
    return {
        strand: f" [{', '.join(places)}]" if any(places) else ""
        for strand, places in result.items()
    }


def _places(channels: Channels) -> Iterator[tuple[Strand, int, int, int]]:
    start = 0
    for run in channels:
        yield run.strand, start, start + len(run), run.stretch
        start += len(run)
