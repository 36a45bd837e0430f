"""Syntax trees as canonical text."""
