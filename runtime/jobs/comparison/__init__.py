"""Strategies side by side: their cells, here or on a cluster, and what comes of all."""
