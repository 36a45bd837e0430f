"""The supernet at work: data, training, curvature, Bayesian updates, pruning and reports."""
