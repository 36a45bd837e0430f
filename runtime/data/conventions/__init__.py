"""Arrays as people save them: names, axes and labels."""
