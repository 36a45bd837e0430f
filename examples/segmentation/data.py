"""Writes `scenes.npz`: handwritten digits of scikit-learn on noise, and which pixels are theirs."""

import numpy as np
from sklearn.datasets import load_digits

SIDE = 16
chance = np.random.default_rng(0)
digits = load_digits().images[:900] / 16
scenes = chance.uniform(0, 0.6, (len(digits), 1, SIDE, SIDE))
masks = np.zeros((len(digits), SIDE, SIDE), np.uint8)
for scene, mask, digit in zip(scenes, masks, digits, strict=True):
    row, column = chance.integers(0, SIDE - 8, 2)
    place = np.s_[row : row + 8, column : column + 8]
    mask[place] = digit > 0.4
    scene[0][place] = np.maximum(scene[0][place], digit)
pixels = (255 * scenes).astype(np.uint8)
arrays = {"scene": pixels[:700], "mask": masks[:700]}
np.savez("scenes.npz", **arrays, scene_test=pixels[700:], mask_test=masks[700:])
