"""Commands that take trained networks."""
