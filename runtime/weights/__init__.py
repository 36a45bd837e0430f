"""Weights of a network and their slices: removal."""
