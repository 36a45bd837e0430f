"""The commands: a file a family, and below them what they share."""
