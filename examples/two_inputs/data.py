"""Writes `halves.npz`: handwritten digits of scikit-learn as two cameras see them, half each."""

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
pixels = (digits.images * 255 / 16).astype(np.uint8)[:, None]
parts = {"": np.arange(len(pixels)) % 5 != 0, "_test": np.arange(len(pixels)) % 5 == 0}
arrays = {}
for end, chosen in parts.items():
    arrays[f"left{end}"] = pixels[chosen, :, :, :4]
    arrays[f"right{end}"] = pixels[chosen, :, :, 4:]
    arrays[f"digit{end}"] = digits.target[chosen]
np.savez("halves.npz", **arrays)
