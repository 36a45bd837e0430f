"""A network as a run leaves it: its weights and its source, which standardises inputs itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from bayesnas.compiler.emit.pytorch import Emitted, emit_torch
from bayesnas.compiler.pipeline import Compiled
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import statistics_type
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import WEIGHTS
from bayesnas.runtime.runs.seals import file_hash
from bayesnas.runtime.tasks.bundle import by_port, tensors

MEAN, STD = "input_mean", "input_std"  # the network's buffers, as `emit_torch` names them
AS_IT_IS: Final = "that of the training data"
BYTES: Final = "0 to 255 as uint8, 0 to 1 as floating point"
_LAYOUTS: Final = {1: "NC", 2: "NCL", 3: "NCHW"}  # by the dimensions of an example


def readable(compiled: Compiled, data: Data) -> Emitted:
    """The source for readers: without a schedule, of a network trained on these data."""
    kinds = (x.dtype for x in tensors(data.train.example))
    origin = compiled.loaded.source.name
    return emit_torch(compiled.graph, origin, statistics=statistics_name(kinds))


def write_network(
    run: Run, network: Emitted, weights: Mapping[str, Tensor], data: Data
) -> dict[str, Any]:
    """Write the weights and the source of a network.

    Args:
        run: the folder that they lie in.
        network: what `readable` gave.
        weights: of the same, trained on standardised inputs.
        data: what it was trained on.

    Returns:
        What ``result.json`` says of it.
    """
    run.save(WEIGHTS, deployed_state(weights, data))
    run.write_text("network.py", network.source)
    about = {"class_name": network.class_name, **input_record(data)}
    return about | ({"weights_hash": file_hash(run.out / WEIGHTS)} if run.writes else {})


def input_record(data: Data) -> dict[str, Any]:
    """What the network of a training takes, for its ``result.json``.

    It is ``input`` of a network of one input, else ``inputs`` by port.
    """
    records = {port: _input_record(inputs) for port, inputs in by_port(data.train.example).items()}
    for port, columns in data.columns.items():
        records[port]["columns"] = list(columns)
    return {"input": records[""]} if "" in records else {"inputs": records}


def _input_record(inputs: Tensor) -> dict[str, Any]:
    return {
        "shape": list(inputs.shape[1:]),
        "layout": _LAYOUTS[inputs.dim() - 1],
        "dtype": _name(inputs.dtype),
        "scale": BYTES if inputs.dtype == torch.uint8 else AS_IT_IS,
    }


def recorded_inputs(record: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What `input_record` said, by port."""
    return record["inputs"] if "inputs" in record else {"": record["input"]}


def statistics_name(inputs: Iterable[torch.dtype]) -> str:
    """The type of the buffers of a network whose inputs are of these types, for `emit_torch`."""
    kinds = [statistics_type(kind) for kind in inputs]
    return _name(torch.float64 if torch.float64 in kinds else kinds[0])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def buffer_names(port: str) -> tuple[str, str]:
    """A network's buffers of the mean and deviation of an input, as `emit_torch` names them."""
    end = f"_{port}" if port else ""
    return f"{MEAN}{end}", f"{STD}{end}"


def deployed_state(weights: Mapping[str, Tensor], data: Data) -> dict[str, Tensor]:
    """The weights of a network that standardises its inputs itself, on the CPU.

    Args:
        weights: of the same, trained on standardised inputs.
        data: what it was trained on.
    """
    inputs, means, stds = (by_port(x) for x in (data.train.example, data.mean, data.std))
    kind = getattr(torch, statistics_name(x.dtype for x in inputs.values()))
    state = {}
    for port, tensor in inputs.items():
        around = [1] * (tensor.dim() - 2)
        for name, statistic in zip(buffer_names(port), (means[port], stds[port]), strict=True):
            state[name] = statistic.to(kind).view(-1, *around)
    state |= weights
    return {name: tensor.cpu().contiguous() for name, tensor in state.items()}
