"""The inputs of networks of several ports: one tensor per port, handled as if it were one tensor.

A network of one input is fed a plain tensor; `tensors` and `mapped` take both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from attrs import field, frozen
from torch import Tensor


def _kept(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return MappingProxyType(dict(tensors))


@frozen
class Bundle:
    """Tensors by port, in the order in which the network takes them: each [N, ...] of N examples.

    What is taken of it (`bundle[:8]`, `bundle[positions]`) is taken of each tensor.
    """

    ports: Mapping[str, Tensor] = field(converter=_kept, eq=False, repr=False)

    def __len__(self) -> int:
        return len(next(iter(self.ports.values())))

    def __getitem__(self, index: slice | Tensor) -> Bundle:
        return Bundle({port: tensor[index] for port, tensor in self.ports.items()})

    def to(self, device: torch.device) -> Bundle:
        """The same numbers on another device."""
        return Bundle({port: tensor.to(device) for port, tensor in self.ports.items()})

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return next(iter(self.ports.values())).device


Inputs: TypeAlias = Tensor | Bundle


def tensors(inputs: Inputs) -> tuple[Tensor, ...]:
    """One tensor per port, in the network's order."""
    return tuple(inputs.ports.values()) if isinstance(inputs, Bundle) else (inputs,)


def mapped(function: Callable[..., Tensor], inputs: Inputs, *others: Inputs) -> Inputs:
    """What a function makes of each port's tensor, and of the tensors of ``others`` beside it."""
    if not isinstance(inputs, Bundle):
        return function(inputs, *others)
    rows = zip(inputs.ports, *map(tensors, (inputs, *others)), strict=True)
    return Bundle({port: function(*row) for port, *row in rows})


def by_port(inputs: Inputs) -> dict[str, Tensor]:
    """Tensors by port; that of a network of one input has no name."""
    return dict(inputs.ports) if isinstance(inputs, Bundle) else {"": inputs}


def bundled(ports: Mapping[str, Tensor]) -> Inputs:
    """A tensor for a network of one input, else a bundle."""
    return Bundle(ports) if len(ports) > 1 else next(iter(ports.values()))
