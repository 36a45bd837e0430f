"""Coupled slices: what of a network stays or goes together, and the network without some of it."""
