"""Text to syntax tree: grammar, parser, printer, diagnostics and the packaged operation library."""
