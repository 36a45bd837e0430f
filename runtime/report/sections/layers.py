"""What a network costs, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bayesnas.compiler.graph.cost import network_costs
from bayesnas.compiler.graph.model import Edge, Graph
from bayesnas.runtime.report.blocks import Cell, Chart, Table
from bayesnas.runtime.report.charts import bars

_MOST: Final = 28  # bars that a figure shows one by one

COSTS: Final = (("parameters", "parameters"), ("flops", "FLOPs (multiply-accumulates)"))


def layer_costs(networks: Mapping[str, Graph]) -> Chart:
    """Parameters and FLOPs of one network, or of several side by side, by parts of them.

    A part is a motif instance of the network itself or a connection beside these; where there are
    few layers, each of them.
    """
    rows: list[tuple[Cell, ...]] = []
    for network, graph in networks.items():
        prices = network_costs(graph)
        for edge in graph.edges():
            price = prices[edge.id]
            if price.parameters or price.flops:
                place = (_part(edge), _layer(edge), edge.operation.label)
                rows.append((network, *place, price.parameters, price.flops))
    layers = Table.of(
        "layers", ("network", "part", "layer", "operation", "parameters", "flops"), rows
    )
    few = len(networks) == 1 and len(rows) <= _MOST
    by = 2 if few else 1
    specs = []
    for position, (cost, title) in enumerate(COSTS, start=4):
        sums: dict[tuple[str, str], int] = {}
        for row in rows:
            key = str(row[0]), str(row[2]) if few else str(row[by])
            value = row[position]
            assert isinstance(value, int)
            sums[key] = sums.get(key, 0) + value
        records: list[dict[str, Cell]] = [
            {"network": n, "part": p, cost: v} for (n, p), v in sums.items()
        ]
        several = "network" if len(networks) > 1 else None
        specs.append(
            bars(
                _shortened(records, cost), "part", cost, title=title, by=several, domain=[*networks]
            )
        )
    what = "each layer" if few else "each part of the network, a cell or what stands beside cells"
    about = f"Parameters and FLOPs of {what}, from the input on."
    return Chart("Cost by layer", about, tuple(specs), layers, wide=False)


def _shortened(records: list[dict[str, Cell]], cost: str) -> list[dict[str, Cell]]:
    """The parts in their order; of very many, the dearest."""
    parts = list(dict.fromkeys(str(record["part"]) for record in records))
    if len(parts) <= 2 * _MOST:
        return records
    sums = dict.fromkeys(parts, 0)
    for record in records:
        sums[str(record["part"])] += int(record[cost] or 0)
    chosen = {*sorted(parts, key=lambda part: -sums[part])[: 2 * _MOST]}
    return [record for record in records if record["part"] in chosen]


def _part(edge: Edge) -> str:
    """The instance of the network that an edge is in, or the node that it leads to."""
    path = edge.scope or edge.target
    return path.partition(".")[0]


def _layer(edge: Edge) -> str:
    """The connection, its source by the last part of its name."""
    return f"{edge.source.rpartition('.')[2]} -> {edge.target}"
