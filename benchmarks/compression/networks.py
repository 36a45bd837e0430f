"""The networks that are compressed, their data, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from attrs import frozen
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import TrainSettings, make_settings
from bayesnas.dsl.files import write_bytes
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.runs.record import RunOptions
from benchmarks.common import BUILD, ROOT, cifar_slice

SPECS: Final = ROOT / "benchmarks" / "networks"
LENET: Final = {"epochs": 20, "learning_rate": 0.02, "augment": "shift"}
LENET_MORE: Final = {"epochs": 10, "learning_rate": 0.01}
LARGE: Final = {"epochs": 15, "learning_rate": 0.1, "batch_size": 128}
LARGE_MORE: Final = {"epochs": 6, "learning_rate": 0.05}
SLICE: Final = {"epochs": 5, "learning_rate": 0.1, "batch_size": 64}
SLICE_MORE: Final = {"epochs": 2, "learning_rate": 0.05}


@frozen
class Network:
    """A network to compress.

    Args:
        spec: the name of its file.
        data: what makes its data set, and names it.
        settings: of its training.
        more: of the training on, over those.
        parameters: of its spec.
    """

    spec: str
    data: Callable[[], str]
    settings: Mapping[str, Any]
    more: Mapping[str, Any]
    parameters: Mapping[str, int] = {}

    def train(self, out: Path, seed: int, device: str) -> None:
        """Train it into the folder of a run; with resuming, what was begun is ended."""
        compiled = compile_spec(SPECS / f"{self.spec}.nas", self.parameters)
        settings = make_settings(TrainSettings, self.settings)
        options = RunOptions(self.data(), out, seed, device, resume=out.exists())
        train(compiled, settings, options)


def digits() -> str:
    """scikit-learn's digits enlarged to 28 x 28, every other one in the test part."""
    path = BUILD / "digits-28.npz"
    if not path.exists():
        images, labels = load_digits(return_X_y=True)
        small = torch.from_numpy(images).view(-1, 1, 8, 8) * (255 / 16)
        _save(path, _resized(small), labels, np.arange(len(labels)) % 2 == 1)
    return f"npz:{path}"


def small_cifar() -> str:
    """4,000 images of CIFAR-10 to train on, of 28 x 28, and 4,000 to test by."""
    path = BUILD / "cifar10-28.npz"
    if not path.exists():
        with np.load(cifar_slice(400, 400, 32)) as parts:
            images = torch.from_numpy(np.concatenate([parts["x"], parts["x_test"]])).double()
            labels = np.concatenate([parts["y"], parts["y_test"]])
            testing = np.arange(len(labels)) >= len(parts["y"])
        _save(path, _resized(images), labels, testing)
    return f"npz:{path}"


def cifar() -> str:
    """10,000 images of CIFAR-10 to train on, and all 10,000 to test by."""
    return f"npz:{cifar_slice(1000, 1000, 32)}"


def sliced_cifar() -> str:
    """4,000 images of CIFAR-10 of 16 x 16 pixels to train on, and 2,000 to test by."""
    return f"npz:{cifar_slice(400, 200, 16)}"


def smallest_cifar() -> str:
    """2,000 images of CIFAR-10 of 12 x 12 pixels, and 2,000 to test by."""
    return f"npz:{cifar_slice(200, 200, 12)}"


def _resized(images: torch.Tensor) -> np.ndarray:
    enlarged = interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    return enlarged.round().clamp(0, 255).to(torch.uint8).numpy()


def _save(path: Path, images: np.ndarray, labels: np.ndarray, testing: np.ndarray) -> None:
    whole = BytesIO()
    fit = ~testing
    np.savez(whole, x=images[fit], y=labels[fit], x_test=images[testing], y_test=labels[testing])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, whole.getvalue())


COLOURED: Final = {"channels": 3}
SMALL: Final = {"size": 16}
NETWORKS: Final[Mapping[str, Network]] = {
    "lenet300 digits": Network("lenet300", digits, LENET, LENET_MORE),
    "lenet300 cifar": Network("lenet300", small_cifar, LENET, LENET_MORE, COLOURED),
    "lenet5 digits": Network("lenet5", digits, LENET, LENET_MORE),
    "lenet5 cifar": Network("lenet5", small_cifar, LENET, LENET_MORE, COLOURED),
    "resnet20": Network("resnet20", cifar, LARGE, LARGE_MORE),
    "vgg": Network("vgg", cifar, LARGE, LARGE_MORE),
    "darts_cell": Network("darts_cell", cifar, LARGE, LARGE_MORE),
    "resnet20 slice": Network("resnet20", sliced_cifar, SLICE, SLICE_MORE, SMALL),
    "vgg slice": Network("vgg", sliced_cifar, SLICE, SLICE_MORE, SMALL),
    "darts_cell slice": Network("darts_cell", sliced_cifar, SLICE, SLICE_MORE, SMALL),
    "resnet8": Network("resnet", smallest_cifar, {"epochs": 15}, {"epochs": 6}),
}
LENETS: Final = (*list(NETWORKS)[:4],)
USUAL: Final = (*list(NETWORKS)[:7],)
SLICES: Final = (*LENETS, *list(NETWORKS)[7:10])
