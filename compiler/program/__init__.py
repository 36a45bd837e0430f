"""Pass 1: names, statements and expressions of a spec."""
