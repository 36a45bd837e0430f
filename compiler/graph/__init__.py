"""The graph every pass reads and returns."""
