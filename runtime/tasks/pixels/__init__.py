"""What is learned at every place of an output: classes or numbers."""
