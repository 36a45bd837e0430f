"""The folders of runs, and what is said while one works."""
