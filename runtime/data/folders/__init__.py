"""Image files in folders: a folder a class, or an image and a map of the same name."""
