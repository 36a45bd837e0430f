"""Motif instances in source: what they are made of, what their forward passes do, their classes."""
