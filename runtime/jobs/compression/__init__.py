"""Trained networks made smaller: what goes, part by part, and training on."""
