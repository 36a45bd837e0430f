"""Searches, from a supernet to a pruned spec."""
