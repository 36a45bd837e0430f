"""Processes that work together on one network: who they are, what each takes, what they share."""
