"""Passes 3 to 6, over the graph."""
