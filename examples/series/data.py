"""Writes `waves.npz`: noisy series of two channels, of four kinds that differ in their shape."""

import numpy as np

COUNT, LENGTH = 1200, 64
chance = np.random.default_rng(0)
kinds = np.arange(COUNT) % 4
start, speed = chance.uniform(0, 2 * np.pi, (2, COUNT, 1)) * [[[1]], [[0.04]]]
phase = start + np.arange(LENGTH) * (0.2 + speed)
shapes = np.stack([
    np.sin(phase),
    np.sign(np.sin(phase)),
    2 * (phase / (2 * np.pi) % 1) - 1,
    np.sin(phase) * np.sin(3 * phase),
])  # fmt: skip
first = shapes[kinds, np.arange(COUNT)]
series = np.stack([first, np.roll(first, 5, axis=1)], axis=1)
series += chance.normal(0, 0.5, series.shape)
np.savez("waves.npz", x=series.astype(np.float32), y=kinds)
