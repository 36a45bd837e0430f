"""What channels leave behind once others take over: optimal brain surgery on layers' inputs.

A layer of weights W [out, C] reads channels whose mean products are A [C, C]; P = (A + ridge)^-1.
If channel c goes and the others' weights are the least squares of what the layer computed, its
outputs miss the mean square

    |w_c|^2 / P_cc,  of |w_c|^2 A_cc that they miss if nothing takes over,

(with the square of its mean, where a bias takes that over and A is of deviations from it),
W becomes W - w_c P_c / P_cc and P becomes P - P_c P_c^T / P_cc (Hassibi and Stork 1993), for which
the products Q = W^T W [C, C] are enough. So the squares of channels that go one after another add
up to that of all of them at once. A channel that a layer reads at several places, as behind a
concatenation of what is summed elsewhere, goes at all of them: tr(Q_cc P_cc^-1) is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from itertools import accumulate

import torch
from attrs import define, evolve
from torch import Tensor

from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.weights.readers import RIDGE, ridged
from bayesnas.runtime.weights.reconstruction import Reconstruction
from bayesnas.runtime.weights.subject import Subject


@define
class _Layer:
    """A layer, and at which places [n, m] it reads the n channels of each strand.

    Args:
        precision: P [C, C].
        products: Q [C, C].
        places: of the strands whose channels may go.
        scale: what a mean square that is missed counts as, of each channel [n].
    """

    precision: Tensor
    products: Tensor
    places: dict[Strand, Tensor]
    scale: dict[Strand, Tensor]

    @classmethod
    def of(
        cls,
        reconstruction: Reconstruction,
        name: str,
        curvature: Mapping[Strand, Tensor],
        ridge: float,
    ) -> _Layer:
        """The reader whose weight has a name.

        Args:
            curvature: of the loss in gates on what it reads, by strands whose channels may go [n].
        """
        reader, moments = reconstruction.readers[name], reconstruction.moments[name]
        starts = accumulate((run.strand.size for run in reader.runs), initial=0)
        rows: dict[Strand, list[Tensor]] = {strand: [] for strand in curvature}
        for start, run in zip(starts, reader.runs, strict=False):
            if run.strand in rows:
                rows[run.strand].append(torch.arange(start, start + run.strand.size))
        places = {strand: torch.stack(starting, dim=1) for strand, starting in rows.items()}
        slopes, square = (
            reader.slopes(reconstruction.state[name]),
            ridged(reader.square(moments), ridge),
        )
        products = torch.einsum("ocp,odp->cd", slopes, slopes)
        whole = square + torch.outer(moments.mean(), moments.mean()) * reader.centred
        scale = {}
        for strand, at in places.items():
            alone = (_blocks(products, at) * _blocks(whole, at)).sum((1, 2))
            scale[strand] = torch.where(alone > 0, curvature[strand] / alone, 0.0)
        return cls(torch.linalg.inv(square), products, places, scale)

    def copy(self) -> _Layer:
        """One that goes on by itself."""
        return evolve(self, precision=self.precision.clone(), products=self.products.clone())

    def missed(self, strand: Strand) -> Tensor:
        """The curvature in a gate on each channel of a strand, by the share that is missed [n]."""
        at = self.places[strand]
        solution: Tensor = torch.linalg.solve(
            _blocks(self.precision, at), _blocks(self.products, at)
        )
        return solution.diagonal(dim1=1, dim2=2).sum(1) * self.scale[strand]

    def remove(self, strand: Strand, channel: int) -> None:
        """Go on without a channel; what is left takes over."""
        places = self.places[strand][channel]
        inside = self.precision[places][:, places]
        change = torch.linalg.solve(inside, self.precision[places]).T  # of W, without its sign
        self.precision.addmm_(change, self.precision[places], alpha=-1)
        self.precision[places[:, None], places] = torch.eye(len(places), dtype=inside.dtype)
        self.products.addmm_(change, self.products[places], alpha=-1)
        self.products.addmm_(self.products[:, places], change.T, alpha=-1)


def _blocks(matrix: Tensor, places: Tensor) -> Tensor:
    """What a matrix has at the places [n, m] of each channel [n, m, m]."""
    return matrix[places[:, :, None], places[:, None, :]]


class Surgery:
    """Channels of a network that go one after another, while what stays takes over.

    Args:
        subject: the network and its channels.
        curvature: of the loss in gates on what each tensor reads, by its name: of its strands [n].
        reconstruction: of the same network, from which weights and moments are taken.
        ridge: above 0, in units of the mean square of each channel.
    """

    def __init__(
        self,
        subject: Subject,
        curvature: Mapping[str, Mapping[Strand, Tensor]],
        reconstruction: Reconstruction,
        ridge: float = RIDGE,
    ) -> None:
        self.subject = subject
        self.channels = [(strand, k) for strand in subject.strands for k in range(strand.size)]
        zeros = torch.zeros(3, len(self.channels), dtype=torch.float64)
        self.whole, self.missed, otherwise = zeros
        self.rows, self.otherwise = subject.split(self.missed), subject.split(otherwise)  # views
        self.layers: dict[Strand, list[_Layer]] = {strand: [] for strand in subject.strands}

        whole, moments = subject.split(self.whole), reconstruction.moments
        for name, rows in curvature.items():
            for strand, row in rows.items():
                whole[strand] += row
                if name not in moments:
                    self.otherwise[strand] += row
            if name in moments:
                layer = _Layer.of(reconstruction, name, rows, ridge)
                for strand in layer.places:
                    self.layers[strand].append(layer)
        self._count(subject.strands)

    def copy(self) -> Surgery:
        """One that goes on by itself: what is removed from it stays in this one."""
        other = copy(self)
        other.missed = self.missed.clone()
        other.rows = self.subject.split(other.missed)
        copies = {id(one): one.copy() for layers in self.layers.values() for one in layers}
        other.layers = {s: [copies[id(one)] for one in own] for s, own in self.layers.items()}
        return other

    def shares(self) -> Tensor:
        """Of what is missed if nothing takes over, what is missed if all others do [C].

        At first between 0 and 1, more where a channel has taken over much. Readers count by their
        curvature, those where others cannot take over whole.
        """
        shares = self.missed / self.whole.clamp_min(torch.finfo(torch.float64).tiny)
        return torch.where(self.whole > 0, shares, 1.0)

    def remove(self, channels: Iterable[int]) -> None:
        """Go on without some channels, by their numbers among those of all strands."""
        touched = set[Strand]()
        for strand, row in (self.channels[channel] for channel in channels):
            for layer in self.layers[strand]:
                layer.remove(strand, row)
                touched.update(layer.places)
        self._count(touched)

    def _count(self, strands: Iterable[Strand]) -> None:
        for strand in strands:
            self.rows[strand].copy_(self.otherwise[strand])
            for layer in self.layers[strand]:
                self.rows[strand] += layer.missed(strand)
