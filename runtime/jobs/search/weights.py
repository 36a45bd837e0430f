"""The weights of a search, which go on to the network that it found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.counts import Kept
from bayesnas.compiler.slices.groups import Slices
from bayesnas.runtime.jobs.trained import (
    deployed_state,
    input_record,
    statistics_name,
)
from bayesnas.runtime.network.kernels import layout
from bayesnas.runtime.network.memory import TEST, AtOnce, Footprint
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.network.training import evaluate
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import WEIGHTS
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.seals import file_hash
from bayesnas.runtime.supernet.shared import shared_state
from bayesnas.runtime.supernet.supernet import Supernet
from bayesnas.runtime.tasks.bundle import tensors


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
    run.save(WEIGHTS, deployed_state(module.state_dict(), data))
    kinds = (x.dtype for x in tensors(data.train.example))
    plain = emit_torch(graph, origin, statistics=statistics_name(kinds))
    run.write_text("network.py", plain.source)
    count = len(data.test)
    say_note(f"with the weights of the search: test {data.task.told(score)} of {count:,} examples")
    return {
        **graph_cost(graph).record(),
        **data.task.record(),
        "metric": data.task.metric,
        **data.task.entries("test", score),
        "test_examples": count,
        "class_name": plain.class_name,
        **input_record(data),
        **({"weights_hash": file_hash(run.out / WEIGHTS)} if run.writes else {}),
    }
