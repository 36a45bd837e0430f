"""The operations the language is built from, and those of plugins."""
