"""The test examples that a trained network is worst at, as pictures where they are images."""

from __future__ import annotations

import base64
import io
from typing import Final

import numpy as np
import torch
from torch import Tensor

from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.dataset import Part, raw_batches
from bayesnas.runtime.jobs.trained import TrainedRun
from bayesnas.runtime.network.modules import predict
from bayesnas.runtime.report.blocks import Block, Cell, Gallery, Numbers, Picture, Table, Words
from bayesnas.runtime.report.files import RunFiles
from bayesnas.runtime.tasks.bundle import tensors
from bayesnas.runtime.tasks.interface import Task

_COUNT: Final = 12
_MOST: Final = 20_000  # test examples that are looked at
_SIDE: Final = 96  # pixels of a picture at least
_LARGEST: Final = 256
_IMAGE: Final = 3  # dimensions of an image: channels, rows, columns
_COLOURS: Final = (1, 3)


def worst_examples(run: RunFiles) -> list[Block]:
    """The examples of the test part with the largest losses; in words why there are none."""
    try:
        trained = TrainedRun.open(run.folder)
        data = trained.own_data()
    except DiagnosticError as error:
        return [Words((f"No examples are shown: {error.diagnostics[0].message}.",))]
    part = data.test.first(_MOST)
    losses, answers = _losses(trained, part)
    order = losses.argsort(descending=True)[:_COUNT].tolist()
    rows: list[tuple[Cell, ...]] = []
    for n in order:
        target = _target(trained.task, part.targets[n : n + 1])
        name, number = trained.task.answers(answers[n : n + 1], 1)[0][0]
        rows.append((n, target, name, float(number), float(losses[n])))
    word, measure = trained.task.answer_columns
    columns = ("example", "target", word, measure, "loss")
    table = Table.of("worst_examples", columns, rows)
    about = "The test examples of the largest loss: often mislabelled, cut off, or of a rare kind."
    images = next(filter(_are_images, tensors(part.inputs)), None)
    if images is None:
        return [Numbers("Worst examples", about, table)]
    pictures = [
        Picture(f"is {target}, answer {name} ({number:.3g})", address=_address(images[n]))
        for n, (_, target, name, number, _) in zip(order, rows, strict=True)
    ]
    return [Gallery("Worst examples", about, tuple(pictures), table)]


def _are_images(inputs: Tensor) -> bool:
    return inputs.dim() == _IMAGE + 1 and inputs.shape[1] in _COLOURS


@torch.no_grad()
def _losses(trained: TrainedRun, part: Part) -> tuple[Tensor, Tensor]:
    """The loss of each example [N], and what the network says of it [N, K]."""
    losses, outputs = [], []
    for inputs, targets in raw_batches(part, trained.at_once):
        output = predict(trained.network, inputs)
        losses.append(trained.task.losses(output, targets).cpu())
        outputs.append(output.cpu())
    return torch.cat(losses), torch.cat(outputs)


def _target(task: Task, target: Tensor) -> str:
    """One target, by its name where it has one."""
    names, stratum = task.strata_names, int(task.strata(target)[0])
    if stratum < len(names):
        return names[stratum]
    return ", ".join(f"{value:.4g}" for value in target.flatten().tolist()[:4])


def _address(pixels: Tensor) -> str:
    """One image [C, H, W] as an address that holds it; small ones are drawn larger."""
    from PIL import Image

    array = pixels.cpu().numpy()
    if array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        array = np.round(255 * (array - low) / max(high - low, 1e-12)).astype(np.uint8)
    image = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    image.thumbnail((_LARGEST, _LARGEST))
    times = max(1, -(-_SIDE // max(image.size)))
    image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
