"""Syntax tree to graph to PyTorch: named passes over one graph type."""
