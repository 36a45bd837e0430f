"""Writes `wine.csv`: 178 wines of three growers, 13 measurements each, from scikit-learn."""

import csv
from pathlib import Path

from sklearn.datasets import load_wine

wine = load_wine()
with Path("wine.csv").open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow([*wine.feature_names, "grower"])
    for row, grower in zip(wine.data, wine.target, strict=True):
        writer.writerow([*row, "ABC"[grower]])
