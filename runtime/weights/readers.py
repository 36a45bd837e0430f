"""Layers that read channels, and the moments of what comes into them.

Linear layers and convolutions of one group, in which each channel takes as many places as any
other. The places of a kernel, and positions that were flattened, count as examples of a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import torch
from attrs import define, frozen
from torch import Tensor, nn

from bayesnas.compiler.slices.ties import Channels
from bayesnas.runtime.network.modules import evaluating, predict
from bayesnas.runtime.network.training import diverged
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.removal import Sliced
from bayesnas.runtime.weights.subject import channels_last

RIDGE: Final = 0.01  # in units of the mean square of each channel
SILENT: Final = 1e-9  # of the mean of all: what a channel that says nothing counts as
TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d)
CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, *TRANSPOSED)


@define
class Moments:
    """Of vectors of some channels: how many there were, and sums [C] and of products [C, C].

    Sums are of deviations from ``origin`` [C], so that a large mean costs no digits.
    """

    origin: Tensor
    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def around(cls, origin: Tensor) -> Moments:
        """None yet."""
        zeros = partial(torch.zeros, dtype=torch.float64)
        return cls(origin, 0, zeros(len(origin)), zeros(len(origin), len(origin)))

    def add(self, rows: Tensor) -> None:
        """Vectors [M, C]."""
        off = rows - self.origin
        self.count += len(off)
        self.total += off.sum(0).cpu().double()
        self.products += (off.T @ off).cpu().double()

    def mean(self) -> Tensor:
        """Of the vectors [C]."""
        return self.origin.cpu().double() + self.total / self.count

    def covariance(self) -> Tensor:
        """Of the vectors [C, C]."""
        off = self.total / self.count
        return self.products / self.count - off[:, None] * off


@frozen
class Reader:
    """A layer that reads channels.

    Args:
        layer: a convolution or a linear layer.
        weight: its name in the state of the network.
        axis: of the weight, along which the channels lie.
        runs: what lies there.
    """

    layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Linear
    weight: str
    axis: int
    runs: Channels

    @property
    def stretch(self) -> int:
        """Places in a row that each channel takes."""
        return self.runs[0].stretch

    @property
    def channels(self) -> int:
        """How many it reads."""
        return sum(run.strand.size for run in self.runs)

    @property
    def centred(self) -> bool:
        """Whether its bias takes up what channels have on average.

        But at borders, a mean is in every output of a layer; not of a transposed convolution.
        """
        return self.layer.bias is not None and not isinstance(self.layer, TRANSPOSED)

    def rows(self, inputs: Tensor) -> Tensor:
        """What comes in at each place [M, C]."""
        last = inputs if channels_last(self.layer) else inputs.movedim(1, -1)
        split = last.reshape(-1, self.channels, self.stretch)
        return split.movedim(1, -1).reshape(-1, self.channels)

    def square(self, moments: Moments) -> Tensor:
        """The mean products of what comes in [C, C], of deviations where a bias takes the rest."""
        covariance, mean = moments.covariance(), moments.mean()
        return covariance if self.centred else covariance + mean[:, None] * mean

    def slopes(self, weight: Tensor) -> Tensor:
        """A weight as [out, C, places], float64, on the CPU."""
        last = weight.detach().cpu().double().movedim(self.axis, 1)
        return last.reshape(len(last), self.channels, -1)


def readers_of(module: nn.Module, sliced: Iterable[Sliced]) -> dict[str, Reader]:
    """The layers of a network that read channels, by the names of their weights.

    Args:
        module: the network.
        sliced: its tensors that hold something of a channel.
    """
    layers, result = dict(module.named_modules()), dict[str, Reader]()
    for tensor in sliced:
        path, _, name = tensor.name.rpartition(".")
        layer, axis = layers[path], 1 - tensor.maker
        if name != "weight" or not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
            continue
        if not isinstance(layer, nn.Linear) and layer.groups > 1:
            continue
        runs = tensor.axes[axis] if axis < len(tensor.axes) else ()
        if len({run.stretch for run in runs}) == 1:
            result[tensor.name] = Reader(layer, tensor.name, axis, runs)
    return result


@torch.no_grad()
def moments_of(
    module: nn.Module,
    readers: Mapping[str, Reader],
    batches: Iterable[Inputs],
    gates: Tensor | None = None,
) -> dict[str, Moments]:
    """Of what comes into each reader that is called, by its name.

    Args:
        module: the network; in evaluation mode meanwhile.
        readers: by the names of their weights.
        batches: of its inputs; none are taken where there are no readers.
        gates: of its operations [G], if it is a supernet.

    Raises:
        DiagnosticError: D602 (status 1): some are too large for their squares.
    """
    result: dict[str, Moments] = {}
    if not readers:
        return result

    def note(name: str, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        rows = readers[name].rows(inputs[0])
        if name not in result:
            result[name] = Moments.around(rows.mean(0))
        result[name].add(rows)

    hooks = [
        reader.layer.register_forward_pre_hook(partial(note, name))
        for name, reader in readers.items()
    ]
    try:
        with evaluating(module):
            for inputs in batches:
                predict(module, inputs, gates)
    finally:
        for hook in hooks:
            hook.remove()
    for name, moments in result.items():
        if not torch.isfinite(moments.products).all():
            raise diverged(
                f"the squares of what comes into `{name.removesuffix('.weight')}` are not finite",
                remedy="train the network anew, with a lower `learning_rate`",
            )
    return result


def ridged(square: Tensor, ridge: float) -> Tensor:
    """Mean products [C, C] with a ridge in units of each channel's own, as if all had one scale.

    Of silent ones it is a little of the mean.
    """
    result, size = square.clone(), float(square.diagonal().mean())
    result.diagonal().mul_(1 + ridge).add_(ridge * SILENT * size if size > 0 else SILENT)
    return result
