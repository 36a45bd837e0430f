"""Runs as TensorBoard shows them: scores and losses, histograms of the gates, the figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bayesnas.compiler.artifacts.figure import has_dot, picture
from bayesnas.dsl.diagnostics import check_packages
from bayesnas.runtime.runs.events import Event
from bayesnas.runtime.runs.ownership import EVENTS


class TensorBoard:
    """A listener that writes into the folder ``tensorboard`` of each run.

    Steps are training steps. What was logged beyond the checkpoint that a run goes on from is
    dropped.

    Raises:
        DiagnosticError: D436 (the package `tensorboard` is missing).
    """

    def __init__(self) -> None:
        remedy = "pip install 'bayesnas[tensorboard]', or leave `--log tensorboard` out"
        check_packages(["tensorboard"], "logs for TensorBoard need", remedy)
        self.writer: Any = None

    def __call__(self, event: Event) -> None:
        """Log one event."""
        if event.kind == "begin":
            from torch.utils.tensorboard import SummaryWriter

            folder = event.folder / Path(EVENTS).parent
            purged = event.step + 1 if event.step else None
            self.writer = SummaryWriter(str(folder), purge_step=purged)
            return
        for name, value in event.numbers.items():
            self.writer.add_scalar(f"{event.command}/{name}", value, event.step)
        if event.gates:
            self.writer.add_histogram("gates", np.array([*event.gates.values()]), event.step)
        if event.draw is not None and has_dot():
            self.writer.add_image("space", _pixels(event.draw()), event.step, dataformats="HWC")
        self.writer.flush()
        if event.kind == "end":
            self.writer.close()


def _pixels(dot: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A drawing as bytes [H, W, 3]."""
    return np.asarray(Image.open(io.BytesIO(picture(dot, "png"))).convert("RGB"))
