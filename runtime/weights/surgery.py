"""What channels leave behind once others take over: optimal brain surgery on layers' inputs.

A layer of weights W [out, C] reads channels whose mean products are A [C, C]; P = (A + ridge)^-1.
If channel c goes and the others' weights are the least squares of what the layer computed, its
outputs miss the mean square

    |w_c|^2 / P_cc,  of |w_c|^2 A_cc that they miss if nothing takes over,

W becomes W - w_c P_c / P_cc and P becomes P - P_c P_c^T / P_cc (Hassibi and Stork 1993), for which
the products Q = W^T W [C, C] are enough. So the squares of channels that go one after another add
up to that of all of them at once. A channel that a layer reads at several places, as behind a
concatenation of what is summed elsewhere, goes at all of them: tr(Q_cc P_cc^-1) is missed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import accumulate

import torch
from attrs import define
from torch import Tensor

from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.tasks.bundle import Inputs
from bayesnas.runtime.weights.readers import RIDGE, Reader, moments_of, readers_of, ridged
from bayesnas.runtime.weights.subject import Subject


@define
class _Layer:
    """A layer, and at which places [n, m] it reads the n channels of each strand.

    Args:
        precision: P [C, C].
        products: Q [C, C].
        places: of the strands whose channels may go.
    """

    precision: Tensor
    products: Tensor
    places: dict[Strand, Tensor]

    @classmethod
    def of(
        cls, reader: Reader, strands: Iterable[Strand], square: Tensor, weight: Tensor
    ) -> _Layer:
        """A reader of some strands with its weight, by the mean products of its inputs."""
        starts = accumulate((run.strand.size for run in reader.runs), initial=0)
        places: dict[Strand, list[Tensor]] = {strand: [] for strand in strands}
        for start, run in zip(starts, reader.runs, strict=False):
            if run.strand in places:
                places[run.strand].append(torch.arange(start, start + run.strand.size))
        slopes = reader.slopes(weight)
        products = torch.einsum("ocp,odp->cd", slopes, slopes)
        read = {strand: torch.stack(rows, dim=1) for strand, rows in places.items() if rows}
        return cls(torch.linalg.inv(square), products, read)

    def missed(self, strand: Strand) -> Tensor:
        """The mean squares that its outputs miss without each channel of a strand [n]."""
        precision, products = (self._blocks(m, strand) for m in (self.precision, self.products))
        solution: Tensor = torch.linalg.solve(precision, products)
        return solution.diagonal(dim1=1, dim2=2).sum(1)

    def missed_alone(self, strand: Strand, square: Tensor) -> Tensor:
        """The same if nothing takes over, by the mean products of its inputs [n]."""
        return (self._blocks(self.products, strand) * self._blocks(square, strand)).sum((1, 2))

    def remove(self, strand: Strand, channel: int) -> None:
        """Go on without a channel; what is left takes over."""
        places = self.places[strand][channel]
        inside = self.precision[places][:, places]
        change = torch.linalg.solve(inside, self.precision[places]).T  # of W, without its sign
        self.precision.addmm_(change, self.precision[places], alpha=-1)
        self.precision[places[:, None], places] = torch.eye(len(places), dtype=inside.dtype)
        self.products.addmm_(change, self.products[places], alpha=-1)
        self.products.addmm_(self.products[:, places], change.T, alpha=-1)

    def _blocks(self, matrix: Tensor, strand: Strand) -> Tensor:
        """What a matrix has at the places of each channel [n, m, m]."""
        places = self.places[strand]
        return matrix[places[:, :, None], places[:, None, :]]


class Surgery:
    """Channels of a network that go one after another, while what stays takes over.

    Args:
        subject: the network, in evaluation mode, and its channels.
        batches: of its inputs, taken once.
        ridge: above 0, in units of the mean square of each channel.
    """

    def __init__(self, subject: Subject, batches: Iterable[Inputs], ridge: float = RIDGE) -> None:
        self.channels = [(strand, k) for strand in subject.strands for k in range(strand.size)]
        self.alone, self.missed = torch.zeros(2, len(self.channels), dtype=torch.float64)
        self.rows = subject.split(self.missed)  # views
        self.readers: dict[Strand, list[_Layer]] = {strand: [] for strand in subject.strands}

        readers = {reader.weight: reader for reader in readers_of(subject.module, subject.sliced)}
        state, alone = subject.module.state_dict(), subject.split(self.alone)
        for name, moments in moments_of(subject.module, readers, batches).items():
            square = ridged(readers[name].square(moments), ridge)
            layer = _Layer.of(readers[name], self.readers, square, state[name])
            for strand in layer.places:
                self.readers[strand].append(layer)
                alone[strand] += layer.missed_alone(strand, square)
        for strand in _otherwise_read(subject, readers):
            alone[strand].zero_()
        self._count(subject.strands)

    def shares(self) -> Tensor:
        """Of what outputs miss if nothing takes over, what they miss if all others do [C].

        At first between 0 and 1, more where a channel has taken over much. It is 1 of channels that
        a layer reads where others cannot take over.
        """
        shares = self.missed / self.alone.clamp_min(torch.finfo(torch.float64).tiny)
        return torch.where(self.alone > 0, shares, 1.0)

    def remove(self, channel: int) -> None:
        """Go on without a channel, by its number among those of all strands."""
        strand, row = self.channels[channel]
        touched = set[Strand]()
        for layer in self.readers[strand]:
            layer.remove(strand, row)
            touched.update(layer.places)
        self._count(touched)

    def _count(self, strands: Iterable[Strand]) -> None:
        for strand in strands:
            self.rows[strand].zero_()
            for layer in self.readers[strand]:
                self.rows[strand] += layer.missed(strand)


def _otherwise_read(subject: Subject, readers: Collection[str]) -> set[Strand]:
    """The strands that something else reads as well."""
    others = {
        run.strand
        for tensor in subject.sliced
        if tensor.name not in readers
        for k, axis in enumerate(tensor.axes)
        if k != tensor.maker
        for run in axis
    }
    return others.intersection(subject.strands)
