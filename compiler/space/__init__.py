"""Discrete members of a graph, and what they cost."""
