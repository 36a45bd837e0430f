"""What channels that go have told, told by those that stay: what reads them is solved anew.

Near trained weights W [out, in] of a layer the loss is quadratic with Hessian G (x) A, where A is
the mean of x x^T over the layer's inputs (Martens and Grosse 2015). In that Gaussian posterior the
weights of the channels K that stay have, given that those of the others R are 0, the mean

    W_K + W_R A_RK (A_KK + ridge)^-1

whatever G is: the least squares of the layer's outputs (He, Zhang and Sun 2017). A has a row for
each channel: places of a kernel, and positions that were flattened, share it. Where a layer has a
bias, A is of deviations from the mean, and what R had on average goes into the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch
from attrs import define, frozen
from torch import Tensor, nn

from bayesnas.compiler.slices.counts import Kept, kept_places
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.removal import Sliced, State

RIDGE: Final = 0.01  # in units of the mean square of the channels that stay
TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d)
CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, *TRANSPOSED)


def reconstructed(
    module: nn.Module,
    sliced: Iterable[Sliced],
    kept: Kept,
    batches: Callable[[], Iterable[Inputs]],
    ridge: float = RIDGE,
) -> dict[str, Tensor]:
    """The state of a network whose layers read channels that stay alone, and lose little by it.

    Linear layers and convolutions of one group are solved anew; what reads channels otherwise, or
    flattened at different lengths side by side, is left as it is.

    Args:
        module: the network, in evaluation mode; left as it is.
        sliced: its tensors that hold something of a channel.
        kept: channels that stay.
        batches: of the network's inputs; a new pass each time that it is called.
        ridge: 0 or more; without any, channels that stay have to be independent.
    """
    state = dict(module.state_dict())
    readers = {reader.weight: reader for reader in _readers(module, sliced, kept)}
    for name, moments in _moments(module, readers, batches).items():
        state |= readers[name].solved(state, moments, ridge)
    return state


def unread(state: State, sliced: Iterable[Sliced], kept: Kept) -> bool:
    """Whether all weights that read channels that go are zero: without those nothing changes."""
    return not any(
        state[tensor.name].cpu().index_select(k, _others(kept_places(axis, kept), size)).any()
        for tensor in sliced
        for k, (axis, size) in enumerate(zip(tensor.axes, state[tensor.name].shape, strict=False))
        if axis and k != tensor.maker
    )


@define
class _Moments:
    """Of vectors of some channels: how many there were, their sum [C], that of products [C, C]."""

    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def of(cls, channels: int) -> _Moments:
        """None yet."""
        zeros = partial(torch.zeros, dtype=torch.float64)
        return cls(0, zeros(channels), zeros(channels, channels))

    def add(self, rows: Tensor) -> None:
        """Vectors [M, C]."""
        self.count += len(rows)
        self.total += rows.sum(0).double().cpu()
        self.products += (rows.T @ rows).double().cpu()


@frozen
class _Reader:
    """A layer that reads channels of which some go.

    Args:
        layer: a convolution or a linear layer.
        weight: its name in the state of the network.
        axis: of the weight, along which the channels lie.
        stretch: places in a row that each covers.
        stays: the channels that stay.
        goes: the others.
    """

    layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.Linear
    weight: str
    axis: int
    stretch: int
    stays: Tensor
    goes: Tensor

    @property
    def channels(self) -> int:
        """How many it reads."""
        return len(self.stays) + len(self.goes)

    def rows(self, inputs: Tensor) -> Tensor:
        """What comes in at each place [M, C]."""
        if not isinstance(self.layer, nn.Linear):
            return inputs.flatten(2).movedim(1, -1).reshape(-1, self.channels)
        split = inputs.reshape(-1, self.channels, self.stretch)
        return split.movedim(1, -1).reshape(-1, self.channels)

    def solved(self, state: State, moments: _Moments, ridge: float) -> dict[str, Tensor]:
        """The weight, and the bias if there is one, by the moments of what comes in."""
        old, bias = state[self.weight], self.layer.bias
        # What R had on average is in every output of a convolution, not of a transposed one.
        centred = bias is not None and not isinstance(self.layer, TRANSPOSED)
        mean = moments.total / moments.count * (1.0 if centred else 0.0)
        square = moments.products / moments.count - mean[:, None] * mean
        shares = _shares(square, self.stays, self.goes, ridge)
        weight = old.detach().double().cpu().movedim(self.axis, 1)
        slopes = weight.reshape(len(weight), self.channels, -1).clone()  # [out, C, places]
        gone = slopes[:, self.goes]
        slopes[:, self.stays] += torch.einsum("orp,kr->okp", gone, shares)
        slopes[:, self.goes] = 0
        result = {self.weight: slopes.view(weight.shape).movedim(1, self.axis).to(old)}
        if centred and bias is not None:
            rest = mean[self.goes] - mean[self.stays] @ shares
            name = self.weight.removesuffix("weight") + "bias"
            result[name] = bias.detach() + (gone.sum(-1) @ rest).to(bias)
        return result


def _shares(square: Tensor, stays: Tensor, goes: Tensor, ridge: float) -> Tensor:
    """What of each channel that stays foretells those that go, by least squares [K, R]."""
    inside, across = square[stays][:, stays], square[stays][:, goes]
    size = float(inside.diagonal().mean())
    if not size > 0:  # all of them are still
        return torch.zeros_like(across)
    inside.diagonal().add_(ridge * size)
    solution: Tensor = torch.linalg.solve(inside, across)
    return solution


def _readers(module: nn.Module, sliced: Iterable[Sliced], kept: Kept) -> Iterator[_Reader]:
    layers = dict(module.named_modules())
    for tensor in sliced:
        path, _, name = tensor.name.rpartition(".")
        layer, axis = layers[path], 1 - tensor.maker
        if name != "weight" or not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
            continue
        if not isinstance(layer, nn.Linear) and layer.groups > 1:
            continue
        runs = tensor.axes[axis] if axis < len(tensor.axes) else ()
        if len({run.stretch for run in runs}) != 1:
            continue
        stretch, count = runs[0].stretch, sum(run.strand.size for run in runs)
        stays = [place // stretch for place in kept_places(runs, kept)[::stretch]]
        goes = _others(stays, count)
        if len(stays) and len(goes):
            yield _Reader(layer, tensor.name, axis, stretch, torch.tensor(stays), goes)


def _others(places: Sequence[int], count: int) -> Tensor:
    """Those of so many places that are not among some."""
    some = torch.tensor(places, dtype=torch.int64)
    return torch.ones(count, dtype=torch.bool).index_fill(0, some, value=False).nonzero()[:, 0]


@torch.no_grad()
def _moments(
    module: nn.Module,
    readers: Mapping[str, _Reader],
    batches: Callable[[], Iterable[Inputs]],
) -> dict[str, _Moments]:
    """Of what comes into each reader that is called, by its name."""
    result: dict[str, _Moments] = {}
    if not readers:
        return result

    def note(name: str, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        moments = result.setdefault(name, _Moments.of(readers[name].channels))
        moments.add(readers[name].rows(inputs[0]))

    hooks = [
        reader.layer.register_forward_pre_hook(partial(note, name))
        for name, reader in readers.items()
    ]
    try:
        for inputs in batches():
            predict(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return result
