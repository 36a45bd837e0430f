"""Graph to PyTorch source."""
