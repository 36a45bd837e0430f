"""Writes the folder `digits`: handwritten digits that come with scikit-learn, as image files."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    part = "test" if number % 5 == 0 else "train"
    folder = Path("digits") / part / str(label)
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray((255 - pixels * 255 / 16).astype(np.uint8))  # dark on white
    image.resize((16, 16)).save(folder / f"{number}.png")
