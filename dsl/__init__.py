"""Text to syntax tree: grammar, parser, printer, diagnostics and the packaged operation library."""

__version__ = "0.1.0"
