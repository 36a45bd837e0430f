"""Texts: tokens, vocabularies and windows."""
