"""How networks learn: steps, learning rates, what regularises."""
