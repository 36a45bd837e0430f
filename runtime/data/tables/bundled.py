"""The data `diabetes`, `breast_cancer` and `wine`: real tables that come with scikit-learn."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch

from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.data.splits import reserve_test
from bayesnas.runtime.tasks.classification import Classification
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.regression import Regression


def load(request: Request) -> Data:
    """Rows [features], float64, in the units of the measurements; a fifth is the test part.

    `diabetes` has 442 patients, 10 measurements and the progress of the illness a year later, a
    number; `breast_cancer` 569 tumours, 30 measurements, two classes; `wine` 178 wines, 13
    measurements, three classes.

    Raises:
        DiagnosticError: D505 (another number of features), by `load_data`.
    """
    own = {"scaled": False} if request.name == "diabetes" else {}
    bunch: Any = getattr(import_module("sklearn.datasets"), f"load_{request.name}")(**own)
    place = f"`{request.name}`"
    task: Task
    if "target_names" in bunch:
        task = Classification(tuple(map(str, bunch.target_names)))
    else:
        task = Regression.of_targets(bunch.target, place, ["progress"])
    targets = task.targets(bunch.target, place)
    whole = Part(torch.from_numpy(bunch.data.astype(np.float64)), targets)
    fit, held = map(torch.from_numpy, reserve_test(task.strata(targets), place))
    return Data.of(request.name, task, whole.subset(fit), whole.subset(held), augment="none")
