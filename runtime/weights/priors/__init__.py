"""Priors over slices of weights: a network is trained under one, which then judges its channels."""
