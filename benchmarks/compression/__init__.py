"""Trained networks made smaller, by this project and by Torch-Pruning."""
