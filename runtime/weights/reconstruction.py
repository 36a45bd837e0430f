"""What channels that go have told, told by those that stay: what reads them is solved anew.

Near trained weights W [out, in] of a layer the loss is quadratic with Hessian G (x) A, where A is
the mean of x x^T over the layer's inputs (Martens and Grosse 2015). In that Gaussian posterior the
weights of the channels K that stay have, given that those of the others R are 0, the mean

    W_K + W_R A_RK (A_KK + ridge)^-1

whatever G is: the least squares of the layer's outputs (He, Zhang and Sun 2017). A has a row for
each channel: places of a kernel, and positions that were flattened, share it, as if each place were
a layer. Where a layer has a bias, A is of deviations from the mean, and what R had on average goes
into the bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import torch
from attrs import define, frozen
from torch import Tensor, nn

from bayesnas.compiler.slices.counts import Kept
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.removal import Sliced, State, gone_along
from bayesnas.runtime.weights.subject import channels_last

RIDGE: Final = 0.01  # in units of the mean square of each channel that stays
SILENT: Final = 1e-9  # of the mean of all: what a channel that says nothing counts as
STILL: Final = 1e-12  # in units of the square of a mean: what deviations are by rounding alone
TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d)
CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, *TRANSPOSED)


def reconstructed(
    module: nn.Module,
    sliced: Iterable[Sliced],
    kept: Kept,
    batches: Iterable[Inputs],
    ridge: float = RIDGE,
) -> dict[str, Tensor]:
    """The state of a network whose layers read channels that stay alone, and lose little by it.

    Linear layers and convolutions of one group are solved anew; what reads channels otherwise, or
    flattened at different lengths side by side, is left as it is.

    Args:
        module: the network, in evaluation mode; left as it is.
        sliced: its tensors that hold something of a channel.
        kept: channels that stay.
        batches: of the network's inputs, taken once if anything is solved anew.
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
        state[tensor.name].movedim(k, 0).cpu()[gone_along(axis, kept)].any()
        for tensor in sliced
        for k, axis in enumerate(tensor.axes)
        if axis and k != tensor.maker
    )


@define
class _Moments:
    """Of vectors of some channels: how many there were, and sums [C] and of products [C, C].

    Sums are of deviations from ``origin`` [C], so that a large mean costs no digits.
    """

    origin: Tensor
    count: int
    total: Tensor
    products: Tensor

    @classmethod
    def around(cls, origin: Tensor) -> _Moments:
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
        last = inputs if channels_last(self.layer) else inputs.movedim(1, -1)
        split = last.reshape(-1, self.channels, self.stretch)
        return split.movedim(1, -1).reshape(-1, self.channels)

    def solved(self, state: State, moments: _Moments, ridge: float) -> dict[str, Tensor]:
        """The weight, and the bias if there is one, by the moments of what comes in."""
        old, bias = state[self.weight], self.layer.bias
        # But at borders, what R had on average is in every output; not of a transposed convolution.
        centred = bias is not None and not isinstance(self.layer, TRANSPOSED)
        mean, square = moments.mean(), moments.covariance()
        least = STILL * float(mean[self.stays].square().mean())
        if not centred:
            square += mean[:, None] * mean
        shares = _shares(square, self.stays, self.goes, ridge, least)
        weight = old.detach().cpu().double().movedim(self.axis, 1)
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


def _shares(square: Tensor, stays: Tensor, goes: Tensor, ridge: float, least: float) -> Tensor:
    """What of each channel that stays foretells those that go, by least squares [K, R].

    Nothing does where the mean square of what stays is not above ``least``.
    """
    inside, across = square[stays][:, stays], square[stays][:, goes]
    size = float(inside.diagonal().mean())
    if not size > least:
        return torch.zeros_like(across)
    # In units of each channel's own, as if all had one scale; of silent ones, a little of the mean.
    inside.diagonal().mul_(1 + ridge).add_(ridge * SILENT * size)
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
        stretch = runs[0].stretch
        gone = gone_along(runs, kept)[::stretch]
        if gone.any() and not gone.all():
            stays, goes = (~gone).nonzero()[:, 0], gone.nonzero()[:, 0]
            yield _Reader(layer, tensor.name, axis, stretch, stays, goes)


@torch.no_grad()
def _moments(
    module: nn.Module,
    readers: Mapping[str, _Reader],
    batches: Iterable[Inputs],
) -> dict[str, _Moments]:
    """Of what comes into each reader that is called, by its name."""
    result: dict[str, _Moments] = {}
    if not readers:
        return result

    def note(name: str, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        rows = readers[name].rows(inputs[0])
        if name not in result:
            result[name] = _Moments.around(rows.mean(0))
        result[name].add(rows)

    hooks = [
        reader.layer.register_forward_pre_hook(partial(note, name))
        for name, reader in readers.items()
    ]
    try:
        for inputs in batches:
            predict(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return result
