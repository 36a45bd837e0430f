"""The supernet at work, and derivatives in its gates."""
