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

from collections.abc import Iterable
from typing import Final

import torch
from attrs import field, frozen
from torch import Tensor, nn

from bayesnas.compiler.slices.counts import Kept
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.readers import (
    RIDGE,
    Moments,
    Reader,
    moments_of,
    readers_of,
    ridged,
)
from bayesnas.runtime.weights.removal import Sliced, State, gone_along

STILL: Final = 1e-12  # in units of the square of a mean: what deviations are by rounding alone


@frozen
class Reconstruction:
    """A network, and what comes into its layers while all channels are there.

    Linear layers and convolutions of one group are solved anew; what reads channels otherwise, or
    flattened at different lengths side by side, is left as it is.
    """

    state: State = field(repr=False)
    readers: dict[str, Reader] = field(repr=False)
    moments: dict[str, Moments] = field(repr=False)

    @classmethod
    def of(
        cls,
        module: nn.Module,
        sliced: Iterable[Sliced],
        batches: Iterable[Inputs],
        gates: Tensor | None = None,
    ) -> Reconstruction:
        """Of a network, as it is in evaluation mode.

        Args:
            module: the network; left as it is, and not needed later.
            sliced: its tensors that hold something of a channel.
            batches: of its inputs, taken once.
            gates: of its operations [G], if it is a supernet.

        Raises:
            DiagnosticError: D602 (status 1): inputs of a layer are too large for their squares.
        """
        readers = readers_of(module, sliced)
        state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        return cls(state, readers, moments_of(module, readers, batches, gates))

    def without(self, kept: Kept, ridge: float = RIDGE) -> dict[str, Tensor]:
        """The state of the network when its layers read channels that stay alone.

        Args:
            kept: channels that stay.
            ridge: 0 or more; without any, channels that stay have to be independent.
        """
        state = dict(self.state)
        for name, moments in self.moments.items():
            reader = self.readers[name]
            gone = gone_along(reader.runs, kept)[:: reader.stretch]
            if gone.any() and not gone.all():
                stays, goes = (~gone).nonzero()[:, 0], gone.nonzero()[:, 0]
                state |= _solved(reader, self.state, moments, stays, goes, ridge)
        return state


def unread(state: State, sliced: Iterable[Sliced], kept: Kept) -> bool:
    """Whether all weights that read channels that go are zero: without those nothing changes."""
    return not any(
        state[tensor.name].movedim(k, 0).cpu()[gone_along(axis, kept)].any()
        for tensor in sliced
        for k, axis in enumerate(tensor.axes)
        if axis and k != tensor.maker
    )


def _solved(
    reader: Reader, state: State, moments: Moments, stays: Tensor, goes: Tensor, ridge: float
) -> dict[str, Tensor]:
    """The weight, and the bias if there is one, by the moments of what comes in."""
    old, bias = state[reader.weight], reader.weight.removesuffix("weight") + "bias"
    mean = moments.mean()
    least = STILL * float(mean[stays].square().mean())
    shares = _shares(reader.square(moments), stays, goes, ridge, least)
    slopes = reader.slopes(old).clone()
    gone = slopes[:, goes]
    slopes[:, stays] += torch.einsum("orp,kr->okp", gone, shares)
    slopes[:, goes] = 0
    shape = old.movedim(reader.axis, 1).shape
    result = {reader.weight: slopes.view(shape).movedim(1, reader.axis).to(old)}
    if reader.centred:
        rest = mean[goes] - mean[stays] @ shares
        result[bias] = state[bias] + (gone.sum(-1) @ rest).to(state[bias])
    return result


def _shares(square: Tensor, stays: Tensor, goes: Tensor, ridge: float, least: float) -> Tensor:
    """What of each channel that stays foretells those that go, by least squares [K, R].

    Nothing does where the mean square of what stays is not above ``least``.
    """
    inside, across = square[stays][:, stays], square[stays][:, goes]
    if not float(inside.diagonal().mean()) > least:
        return torch.zeros_like(across)
    solution: Tensor = torch.linalg.solve(ridged(inside, ridge), across)
    return solution
