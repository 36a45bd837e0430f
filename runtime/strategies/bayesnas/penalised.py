r"""(16) in the architecture weights: a quadratic with a penalty on the norm of each group.

With H = R^T R the objective is

    F(w) = ||R w||^2 / 2 - b^T w + sum_g omega_g ||w_g||_2,    b = H w0 - g.

The method is the semismooth Newton augmented Lagrangian (Li, Sun, Toh, SIAM J. Optim. 2018; Zhang
et al., Math. Program. 2020, for groups). Proximal points

    w' = argmin F(v) + ||v - w||^2 / (2 sigma) = prox(w + sigma (b - R^T y)),    y = R w',

where prox is the penalty's proximal step, which lands on zero exactly, are found in y: it is the
zero of the gradient y - R prox(w + sigma (b - R^T y)) of a convex function whose Hessian
1 + sigma R P R^T, P the derivative of prox, is positive definite whatever H is. A handful of
proximal points suffices, since sigma may be large.
"""

from __future__ import annotations

from typing import Final

import torch
from attrs import define, frozen
from torch import Tensor

from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.strategies.bayesnas.updates import group_norm
from bayesnas.runtime.strategies.linear_algebra import cholesky, eigh

TOLERANCE: Final = 1e-8  # of the terms that balance in a group's optimality condition
MAX_POINTS: Final = 100  # proximal points; usually some ten are taken
MAX_NEWTON: Final = 50  # steps to each of them; some five are taken
FIRST_SIGMA: Final = 1e3  # over the curvature of a group
LAST_SIGMA: Final = 1e6  # what is larger costs digits
REACH: Final = 1e7  # times as far as w0 lies from 0: no minimum is looked for beyond
INDEFINITE: Final = 1e-9  # of the largest eigenvalue: what is more negative is not rounding
_TINY: Final = torch.finfo(torch.float64).tiny


@define
class PenalisedQuadratic:
    """(16) in w for fixed weights W, on the quadratic model of the loss round a start w0.

    Each group is measured in its own unit, in which its curvature is 1, so that badly scaled H cost
    nothing. Where the tolerance was not met, ``residual`` says how far the optimality conditions
    are off. A model without a minimum is such a case: the loss falls along a direction in which H
    is flat. Then w is the first proximal point, held near w0 by a thousandth of the curvature.
    """

    unit: Tensor  # of each group
    start: Tensor  # w0 in units, [G]
    target: Tensor  # b in units, [G]
    root: Tensor  # R in units, [rank, G]
    groups: Tensor
    y: Tensor  # R w of the last call, [rank]
    residual: float = 0.0  # the largest so far that is above the tolerance

    @classmethod
    def of(
        cls, gradient: Tensor, curvature: Tensor, start: Tensor, groups: Tensor
    ) -> PenalisedQuadratic:
        """The model of g [G] and H [G, G] round w0 [G]; ``groups`` [G] numbers groups.

        Raises:
            NumericalError: H is not finite.
        """
        zeros = start.new_zeros(int(groups.max()) + 1)
        trace = zeros.index_add(0, groups, curvature.diagonal())
        widest = trace.max() if bool(trace.max() > 0) else trace.new_tensor(1.0)
        unit = torch.where(trace > 0, trace, widest).sqrt()
        own = unit[groups]
        values, vectors = eigh(curvature / own[:, None] / own, "the curvature of the gates")
        if float(values[0]) < -INDEFINITE * float(values[-1].abs()):
            share = float(values[0] / values[-1].abs().clamp_min(_TINY))
            say_note(
                f"the curvature of the gates has negative eigenvalues, down to {share:.1e} of the "
                "largest: they count as 0"
            )
        kept = values > 1e-15 * values[-1].clamp_min(_TINY)
        root = (vectors[:, kept] * values[kept].sqrt()).T.contiguous()
        target = (curvature @ start - gradient) / own
        return cls(unit, start * own, target, root, groups, root @ (start * own))

    def minimise(self, omega: Tensor) -> Tensor:
        """The minimiser w [G] for penalties omega [groups]."""
        penalty = omega / self.unit
        sigma, w = FIRST_SIGMA, self.start
        first, residual = w, 0.0
        for number in range(MAX_POINTS):
            before, w = w, self._proximal_point(w, sigma, penalty)
            first = w if number == 0 else first
            if (residual := self._residual(w, penalty)) < TOLERANCE:
                return w / self.unit[self.groups]
            if self._falls(w, w - before, penalty):
                w = first
                break
            sigma = min(10 * sigma, LAST_SIGMA)
        self.residual = max(self.residual, residual)
        return w / self.unit[self.groups]

    def _proximal_point(self, w: Tensor, sigma: float, penalty: Tensor) -> Tensor:
        """The next one after w, by Newton's method in y, which starts where it ended last."""
        dual = _Dual(self.root, self.groups, w + sigma * self.target, sigma, sigma * penalty)
        y, least = self.y, torch.inf
        for _ in range(MAX_NEWTON):
            slope = y - self.root @ dual.primal(y)
            size = float(slope.norm()) / (1 + float(y.norm()))
            # The second is rounding: so near, a step of Newton's method does more than halve.
            if size <= 1e-13 or (size < 1e-6 and size > least / 2):
                break
            least = min(least, size)
            y = dual.search(y, dual.direction(y, slope), slope)
        self.y = y
        return dual.primal(y)

    def _falls(self, w: Tensor, step: Tensor, penalty: Tensor) -> bool:
        """Whether the objective falls from w along a step for `REACH` and more."""
        norm = group_norm(step, self.groups, len(penalty))
        # The penalty of a group that is off, times its norm of 0, may be no number.
        cost = float(torch.where(norm > 0, penalty * norm, 0).sum())
        moved = self.root @ step
        fall = float(self.target @ step - (self.root @ w) @ moved) - cost
        far = REACH * (1 + float(self.start.norm())) / float(step.norm().clamp_min(_TINY))
        return fall > far * float(moved @ moved)

    def _residual(self, w: Tensor, penalty: Tensor) -> float:
        """By how much a group's optimality condition is missed, over the terms in it; the largest.

        The slope of the quadratic balances that of the penalty, or is no larger at zero.
        """
        count = len(penalty)
        slope = self.root.T @ (self.root @ w) - self.target
        norm = group_norm(w, self.groups, count)
        pull = torch.where(norm > 0, penalty, 0) / norm.clamp_min(_TINY)
        balance = group_norm(slope + pull[self.groups] * w, self.groups, count)
        excess = (group_norm(slope, self.groups, count) - penalty).clamp_min(0)
        terms = (self.root.abs().T @ (self.root.abs() @ w.abs())) + self.target.abs()
        size = group_norm(terms, self.groups, count).clamp_min(_TINY)
        return float((torch.where(norm > 0, balance, excess) / size).max())


@frozen(eq=False)
class _Dual:
    """The convex function of y [rank] whose gradient is 0 at a proximal point, and its steps."""

    root: Tensor
    groups: Tensor
    centre: Tensor  # w + sigma b
    sigma: float
    threshold: Tensor  # sigma omega

    def primal(self, y: Tensor) -> Tensor:
        """The w that y stands for."""
        point = self.centre - self.sigma * (self.root.T @ y)
        return proximal_step(point, self.groups, self.threshold)

    def value(self, y: Tensor) -> float:
        """The function itself: ||y||^2 / 2 + ||w||^2 / (2 sigma)."""
        w = self.primal(y)
        return float(y @ y + w @ w / self.sigma) / 2

    def direction(self, y: Tensor, slope: Tensor) -> Tensor:
        """Of Newton's method.

        Of a group that is not off, P = (1 - t) 1 + t e e^T, e its direction and t the share that
        the step has taken off.
        """
        point = self.centre - self.sigma * (self.root.T @ y)
        norm = group_norm(point, self.groups, len(self.threshold))
        on = (norm > self.threshold)[self.groups].nonzero()[:, 0]
        groups, columns = self.groups[on], self.root[:, on]
        share = self.threshold / norm.clamp_min(_TINY)
        radial = columns.new_zeros(len(columns), len(norm))
        radial.index_add_(1, groups, columns * (point / norm.clamp_min(_TINY)[self.groups])[on])
        share = torch.where(norm > self.threshold, share, 0)
        hessian = (columns * (1 - share[groups])) @ columns.T + (radial * share) @ radial.T
        hessian = torch.eye(len(y), dtype=y.dtype, device=y.device) + self.sigma * hessian
        lower = cholesky(hessian, "the curvature of the gates")
        return -torch.cholesky_solve(slope[:, None], lower)[:, 0]

    def search(self, y: Tensor, direction: Tensor, slope: Tensor) -> Tensor:
        """Where a step ends that is halved until the function falls enough (Armijo's rule)."""
        value, fall = self.value(y), float(slope @ direction)
        length = 1.0
        while length > 1e-8:
            after = y + length * direction
            if self.value(after) <= value + 1e-4 * length * fall + 1e-14 * abs(value):
                return after
            length /= 2
        return y


def proximal_step(w: Tensor, groups: Tensor, threshold: Tensor) -> Tensor:
    """Each group of w [G] shrunk towards zero by its threshold [groups], or onto it."""
    norm = group_norm(w, groups, len(threshold))
    scale = (1 - threshold / norm.clamp_min(_TINY)).clamp_min(0)
    return w * scale[groups]
