"""What is learned: losses, scores and curvature of a network's outputs."""
