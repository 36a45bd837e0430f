r"""Curvature of the mean loss in the gates: the exact generalised Gauss-Newton matrix.

Convention, for everything in this package: the loss is the *mean* negative log-likelihood over
examples, and so is its curvature,

    GGN = 1/N sum_n J_n^T (diag p_n - p_n p_n^T) J_n    [G, G], dimensionless

with J_n [classes, G] the Jacobian of example n's logits in the gates and p_n its softmax. Each
example gets its own copy of the gate vector, so that one backward pass per class gives the
Jacobians of all examples of a batch at once; no feature map is kept beyond what backward holds.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bayesnas.runtime.modules import logits


def jacobians(module: nn.Module, inputs: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
    """Per-example Jacobians of the logits in the gates, and the logits.

    Args:
        module: a supernet in evaluation mode: batch normalisation in training mode mixes examples.
        inputs: [N, ...].
        gates: [G].

    Returns:
        J [N, classes, G] and logits [N, classes].
    """
    if module.training:
        raise ValueError("per-example Jacobians need the module in evaluation mode")
    copies = gates.detach().expand(len(inputs), -1).clone().requires_grad_()
    outputs = logits(module, inputs, copies)
    rows = []
    for k in range(outputs.shape[1]):
        last = k == outputs.shape[1] - 1
        [row] = torch.autograd.grad(outputs[:, k].sum(), copies, retain_graph=not last)
        rows.append(row)
    return torch.stack(rows, dim=1), outputs.detach()


def ggn(module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], gates: Tensor) -> Tensor:
    """The exact GGN [G, G] of the mean loss over all examples of the batches, in float64.

    The labels are not used: the GGN of the cross-entropy does not depend on them.
    """
    was_training = module.training
    module.eval()
    total = torch.zeros(len(gates), len(gates), dtype=torch.float64, device=gates.device)
    count = 0
    for inputs, _ in batches:
        jacobian, outputs = jacobians(module, inputs, gates)
        p = outputs.to(torch.float64).softmax(dim=1)[:, :, None]
        jacobian = jacobian.to(torch.float64)
        # diag p - p p^T = S^T S with S = diag(sqrt p) (1 - 1 p^T), so the sum is one product.
        centred = p.sqrt() * (jacobian - (p * jacobian).sum(dim=1, keepdim=True))
        flat = centred.flatten(0, 1)
        total += flat.T @ flat
        count += len(inputs)
    module.train(was_training)
    return total / max(count, 1)
