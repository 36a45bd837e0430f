"""What a primitive operation is to the compiler: parameters, shape, cost, source and traits.

Costs follow the field's convention: FLOPs are multiply-accumulates of convolutions and linear
layers; normalisation, pooling and activations count as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Final

from attrs import field, frozen

from bayesnas.compiler.operations.coupling import Coupling
from bayesnas.compiler.operations.layers import Choice, Layer
from bayesnas.compiler.operations.shapes import Arguments, Shape, ShapeError

SAME: Final = -1  # a default that stands for another number: see `Primitive.follows`


@frozen
class Domain:
    """The whole numbers that a parameter takes: from ``least`` to ``most``, None for no end."""

    least: int | None = 1
    most: int | None = None

    def remedy(self, value: int) -> str:
        """What to write in place of the value; empty where it lies in the domain."""
        if self.least is not None and value < self.least:
            return f"write {self.least} or more"
        if self.most is not None and value > self.most:
            return f"write {self.most} or less"
        return ""


POSITIVE: Final = Domain()


@frozen
class Primitive:
    """One primitive operation.

    Args:
        name: as written in specs.
        parameters: names with defaults; None where a value is required, `SAME` for a number
            that ``follows`` names.
        shape: the output's shape, or `ShapeError`.
        layer: PyTorch source of the module.
        weights: how many trainable numbers it has.
        flops: multiply-accumulates for one example.
        module: name of the Python module that the source imports; empty for our own.
        summary: one line for the reference.
        domains: of the parameters that take other numbers than `POSITIVE`.
        follows: what `SAME` stands for: a parameter before, or the ``channels`` or ``positions``
            that come in.
        expands: its ``expand`` multiplies its ``width``.
        special: the layer that takes the place of ``layer`` for certain numbers.
        pure: same tensor in, same tensor out: no parameters, no chance, nothing remembered. It may
            run once for several readers.
        normalises: batch normalisation, whose scale can take up a gate.
        overwritable: keeps nothing of its output for the backward pass, so that what follows may
            write over it.
        in_place: the layer that writes over its input.
        fast: the layer that takes the place of ``layer`` in scheduled networks.
        indices: whether it looks up what it is given, so that numbers must reach it as they are.
        coupling: how its channels hang together; None where it does not say, so that none may go.
    """

    name: str
    parameters: Mapping[str, int | None]
    shape: Callable[[Shape, Arguments], Shape]
    layer: Layer
    weights: Callable[[Shape, Arguments], int] = lambda _shape, _arguments: 0
    flops: Callable[[Shape, Shape, Arguments], int] = lambda _source, _target, _arguments: 0
    module: str = ""
    summary: str = field(default="", kw_only=True)
    domains: Mapping[str, Domain] = field(factory=dict, kw_only=True)
    follows: Mapping[str, str] = field(default={"width": "channels"}, kw_only=True)
    expands: bool = field(default=False, kw_only=True)
    special: Choice = field(default=lambda _numbers, _rank: None, kw_only=True)
    pure: bool = field(default=False, kw_only=True)
    normalises: bool = field(default=False, kw_only=True)
    overwritable: bool = field(default=False, kw_only=True)
    in_place: Layer | None = field(default=None, kw_only=True)
    fast: Choice = field(default=lambda _numbers, _rank: None, kw_only=True)
    indices: Callable[[Shape, Arguments], bool] = field(
        default=lambda _shape, _arguments: False, kw_only=True
    )
    coupling: Callable[[Shape, Arguments], Coupling] | None = field(default=None, kw_only=True)

    def plain_layer(self, numbers: Arguments, rank: int) -> Layer:
        """What writes the source for these numbers; where it differs, no source is shared."""
        return self.special(numbers, rank) or self.layer

    def is_default(self, name: str, numbers: Arguments) -> bool:
        """Whether a complete argument is what it is where nothing is said."""
        default, other = self.parameters[name], self.follows.get(name, "")
        if default == SAME and other in self.parameters:
            return numbers[name] == numbers[other]
        return numbers[name] == default


def complete(primitive: Primitive, shape: Shape, arguments: Arguments) -> dict[str, int]:
    """All arguments in the primitive's order, `SAME` replaced by the input's channels.

    An `expand` is multiplied into the width and is 1 from then on.

    Raises:
        ShapeError: an argument lies outside its domain.
    """
    result: dict[str, int] = {}
    for name, default in primitive.parameters.items():
        value = arguments.get(name, default)
        assert value is not None, f"{primitive.name} without {name}: resolve lets none pass"
        if value == SAME and name in primitive.follows:
            given = {"channels": shape[0], "positions": prod(shape[1:])}
            value = (given | result)[primitive.follows[name]]
        result[name] = value
    for name, value in result.items():
        if remedy := primitive.domains.get(name, POSITIVE).remedy(value):
            raise ShapeError(f"`{name}` of `{primitive.name}` is {value}", remedy)
    if primitive.expands:
        result["width"] *= result["expand"]
        result["expand"] = 1
    return result
