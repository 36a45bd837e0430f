"""The words of the language that no name may be."""

from __future__ import annotations

KEYWORDS = {
    "import", "op", "choice", "motif", "network", "search", "train", "learn", "node", "for", "in",
    "if", "then", "else", "scan", "from", "chain", "times", "reduce", "at", "tied", "shared",
    "retain", "into", "sum", "concat", "product", "and", "or", "not", "budget",
}  # fmt: skip
