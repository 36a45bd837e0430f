"""A network in training mode on a share of a batch, as if it had the whole.

What mixes examples or draws for each of them is done for the batch of all ranks: batch
normalisation by the statistics of all of it, dropout by numbers drawn for all of it. The functions
of PyTorch themselves are caught, so that it holds for whatever calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bayesnas.runtime.network.together.ranks import Share, world

_present: Share | None = None


@contextmanager
def parted(count: int) -> Iterator[Share]:
    """Forward and backward passes in here see this rank's share of a batch of so many examples."""
    global _present
    share = world().share(count)
    if share.rows is None:
        yield share
        return
    _present = share
    try:
        with _Synchronised(share):
            yield share
    finally:
        _present = None


@contextmanager
def again() -> Iterator[None]:
    """A backward pass, which PyTorch runs without what was caught, runs a forward pass in here."""
    if _present is None:
        yield
    else:
        with _Synchronised(_present):
            yield


def present(count: int) -> Share:
    """Of which batch the ``count`` examples are that a network sees now."""
    return Share(count) if _present is None else _present


class _Synchronised(TorchFunctionMode):
    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called for every function of PyTorch."""
        if func is functional.batch_norm:
            return _normalised(self.share, *args, **(kwargs or {}))
        if func in _DROPOUTS:
            return _dropped(self.share, _DROPOUTS[func], *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


# ----------------------------------------------------------------------------------- normalisation


def _normalised(
    share: Share,
    z: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` whose batch is that of all ranks; z: [N, C, ...]."""
    if not training:
        return functional.batch_norm(
            z, running_mean, running_var, weight, bias, training, momentum, eps
        )
    count = z.numel() / z.shape[1] * share.count / share.size
    mean, variance = _moments(z.detach(), count)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean), momentum)
        unbiased = variance * (count / max(count - 1, 1))
        running_var.lerp_(unbiased.to(running_var), momentum)
    result: Tensor = _Normalised.apply(z, weight, bias, mean, variance, count, eps)
    return result


def _moments(z: Tensor, count: float) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] of each channel over all ranks' numbers, float64."""
    z = _wide(z)
    own, axes = z.numel() / z.shape[1], [0, *range(2, z.dim())]
    mean = z.sum(axes) / own  # by hand: `torch.var_mean` is slow channels last
    variance = (z - _placed(mean, z)).square_().sum(axes) / own
    mean, variance = mean.to(torch.float64), variance.to(torch.float64)
    sums = world().sum(torch.cat([own * mean, own * (variance + mean.square())])) / count
    mean, square = sums.chunk(2)
    return mean, (square - mean.square()).clamp_min(0)


def _wide(z: Tensor) -> Tensor:
    """In 32 bits at least."""
    return z.float() if z.dtype in (torch.bfloat16, torch.float16) else z


def _placed(channels: Tensor, z: Tensor) -> Tensor:
    """[C] as it meets z: [N, C, ...]."""
    return channels.to(z.dtype).view(1, -1, *[1] * (z.dim() - 2))


class _Normalised(torch.autograd.Function):
    """Normalisation by moments that the batches of all ranks have together."""

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: float,
        eps: float,
    ) -> Tensor:
        """z: [N, C, ...]; the rest [C]."""
        kind = torch.float64 if z.dtype == torch.float64 else torch.float32
        weight = None if weight is None else weight.to(kind)
        bias = None if bias is None else bias.to(kind)
        mean, variance = mean.to(kind), variance.to(kind)
        ctx.save_for_backward(z, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        return functional.batch_norm(z, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of z, and of weight and bias as far as this rank's rows go.

        PyTorch's for fixed moments, and what the moments themselves move by.
        """
        [g], (z, weight, mean, variance) = gradients, ctx.saved_tensors
        wide, weight = _wide(z), torch.ones_like(mean) if weight is None else weight
        scale = (variance + ctx.eps).rsqrt()
        fixed = (mean, variance, mean, scale, False, ctx.eps, [True] * 3)
        of_z, tilt, shift = torch.ops.aten.native_batch_norm_backward(
            g.to(wide.dtype), wide, weight, *fixed
        )
        own = tilt if ctx.needs_input_grad[1] else None, shift if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, *own, None, None, None, None
        sums = world().sum(torch.cat([shift, tilt]).to(torch.float64)) / ctx.count
        shift, tilt = sums.chunk(2)
        slope = weight * scale**2 * tilt
        moved = weight * scale * shift - slope * mean
        of_z.sub_(_placed(moved, wide)).addcmul_(wide, _placed(slope, wide), value=-1)
        return of_z.to(z.dtype), *own, None, None, None, None


# ----------------------------------------------------------------------------------------- dropout

# How many of the axes of an input a mask has; along the others it is the same.
_DROPOUTS: Final[dict[Callable[..., Any], int | None]] = {
    functional.dropout: None,
    functional.dropout1d: 2,
    functional.dropout2d: 2,
    functional.dropout3d: 2,
}


def _dropped(
    share: Share,
    axes: int | None,
    z: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """Dropout by the numbers of the whole batch; z: [N, ...]."""
    if not training or p == 0:
        return z
    shape = [*z.shape[:axes], *[1] * (z.dim() - len(z.shape[:axes]))]
    kept = share.of(drawn(share, z, shape[1:]).bernoulli_(1 - p)) / max(1 - p, 1e-12)
    return z.mul_(kept) if inplace else z * kept


def drawn(share: Share, z: Tensor, shape: list[int]) -> Tensor:
    """Room for numbers of the whole batch [N, *shape], laid out in memory as z is."""
    if list(z.shape[1:]) == shape and z.stride(0) == max(z.stride()):
        return z.new_empty_strided((share.count, *shape), z.stride())
    return z.new_empty(share.count, *shape)
