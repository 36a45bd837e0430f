"""Pass 2: numbers; motifs become a graph."""
