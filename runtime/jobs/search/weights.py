"""The weights of a search, which go on to the network that it found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices
from bayesnas.runtime.jobs.deployed import readable, write_network
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.memory import TEST, AtOnce, Footprint
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.supernet.shared import shared_state
from bayesnas.runtime.supernet.supernet import Supernet


def write_shared(
    run: Run,
    net: Supernet,
    member: Collection[str],
    network: Compiled,
    channels: tuple[Slices, Kept] | None = None,
) -> Mapping[str, Any]:
    """Write the network's weights and source, and say how good it is on the test part.

    Args:
        run: of the search.
        net: its supernet, as the last round left it.
        member: the groups of gates that stay.
        network: the spec that was found.
        channels: the slices of the member, and those that the network has, if not all.

    Returns:
        What ``result.json`` says of it.
    """
    graph, origin, data = network.graph, network.loaded.source.name, net.data
    module, emitted = build(graph, origin, 0, layout=layout(graph, net.device))
    state = shared_state(net, member, graph, emitted, [*module.state_dict()], channels)
    module.load_state_dict(state)
    net.calibrate(module.to(net.device))
    at_once = AtOnce(Footprint.of(graph), net.settings.batch_size).forward(TEST)
    score = evaluate(module, data, data.test, at_once)
    written = write_network(run, readable(network, data), module.state_dict(), data)
    count = len(data.test)
    say_note(f"with the weights of the search: test {data.task.told(score)} of {count:,} examples")
    return {
        **graph_cost(graph).record(),
        **data.task.record(),
        "metric": data.task.metric,
        **data.task.entries("test", score),
        "test_examples": count,
        **written,
    }
