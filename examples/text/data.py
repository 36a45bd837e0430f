"""Writes `manual.txt`: the reference of Python's language, which comes with Python (700 kB)."""

from pathlib import Path
from pydoc_data.topics import topics

text = "\n".join(topics[name] for name in sorted(topics))
Path("manual.txt").write_text(text, encoding="utf-8")
