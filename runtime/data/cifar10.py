"""The data `cifar10`, by torchvision."""

from __future__ import annotations

import warnings

import torch

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.tasks.classification import Classification


def load(request: Request) -> Data:
    """60,000 images [3, 32, 32] of ten classes.

    Raises:
        DiagnosticError: D507 (it is not there).
    """
    options = request.options
    from torchvision.datasets import CIFAR10

    try:
        with warnings.catch_warnings():
            # torchvision's pickle reader warns about numpy's own spelling of dtypes.
            warnings.simplefilter("ignore")
            train, test = (
                CIFAR10(str(options.root), train=flag, download=options.download)
                for flag in (True, False)
            )
    except (RuntimeError, OSError) as error:
        remedy = "pass `--download`, or `--data-root` where it lies"
        reason = "`cifar-10-batches-py` is missing there, or its files are others"
        if options.download:
            reason = str(error).splitlines()[0].lower()
            remedy = "check the network, or fetch it elsewhere and pass `--data-root`"
        raise DiagnosticError(
            Diagnostic(
                "D507",
                f"CIFAR-10 is not at `{options.root}`",
                notes=(reason,),
                help=remedy,
            ),
            status=1 if options.download else 2,
        ) from None
    fit, held = (
        Part(torch.from_numpy(d.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(d.targets))
        for d in (train, test)
    )
    return Data.of(request.name, Classification(tuple(train.classes)), fit, held)
