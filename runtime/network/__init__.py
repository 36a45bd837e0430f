"""Emitted networks at work."""
