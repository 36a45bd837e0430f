"""Commands beside the work itself."""
