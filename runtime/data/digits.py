"""The data `digits`: 1,797 real images that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.tasks.classification import Classification


def load(request: Request) -> Data:
    """Images [1, 8, 8], or [64] where the network takes vectors.

    A stratified fifth, the same for every seed, is the test part.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    flat = len(request.shape) == 1
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    fit, test = train_test_split(
        np.arange(len(images)), test_size=0.2, stratify=bunch.target, random_state=0
    )
    if flat:
        images = images.reshape(len(images), -1)
    whole = Part(torch.from_numpy(images), torch.from_numpy(bunch.target.astype(np.int64)))
    task = Classification(tuple(str(c) for c in bunch.target_names))
    train, held = (whole.subset(torch.from_numpy(np.sort(i))) for i in (fit, test))
    return Data.of(request.name, task, train, held, augment="none" if flat else "shift")
