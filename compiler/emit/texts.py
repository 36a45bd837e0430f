"""Lines of Python source: wrapped at commas and sums, comments that stay comments."""

from __future__ import annotations

from typing import Final

from bayesnas.dsl.diagnostics import Span

LINE: Final = 100
INDENT: Final = "    "
_CLOSING: Final = {"(": ")", "[": "]"}


def split(text: str, separator: str) -> list[str]:
    """The text split at the separators outside brackets."""
    parts, depth, start = [], 0, 0
    for k, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and k >= start and text.startswith(separator, k):
            parts.append(text[start:k].strip())
            start = k + len(separator)
    return [*parts, text[start:].strip()]


def place_comment(span: Span | None) -> str:
    """Where something stands in the spec, as text for a comment."""
    if span is None:
        return ""
    return f"{printable(span.source.name.rsplit('/', 1)[-1])}:{span.line}"


def printable(text: str) -> str:
    """Text that cannot end the comment or docstring it stands in."""
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)


def wrapped(
    prefix: str, text: str, comment: str = "", level: int = 0, always: bool = False, tail: str = ""
) -> list[str]:
    """``prefix text tail  # comment`` on one line, or broken at commas or sums where too long.

    ``level`` is how deep the closing bracket stands; ``always`` breaks calls of several arguments
    that hold calls themselves.
    """
    note = f"  # {comment}" if comment else ""
    whole = f"{prefix}{text}{tail}{note}"
    head, opening, inside = _bracketed(text)
    parts = split(inside, ",") if inside else []
    nested = always and len(parts) > 1 and any("(" in part for part in parts)
    if note and not parts and len(whole) > LINE:
        return [f"{INDENT * level}# {comment}", f"{prefix}{text}{tail}"]
    if (len(whole) <= LINE and not nested) or not parts:
        return [whole]
    closing = _CLOSING[opening]
    if len(parts) == 1 and inside[0] == "[" and inside[-1] == "]":  # `f([` and `])` hug
        opening, closing, inside = f"{opening}[", f"]{closing}", inside[1:-1]
        parts = split(inside, ",")
    inner = INDENT * (level + 1)
    lines = [f"{prefix}{head}{opening}{note}"]
    if note and len(lines[0]) > LINE:
        lines = [f"{INDENT * level}# {comment}", f"{prefix}{head}{opening}"]
    if not head and opening == "(" and len(parts) == 1:
        first, *rest = split(inside, " + ")
        lines += wrapped(inner, first, level=level + 1)
        for term in rest:
            lines += wrapped(f"{inner}+ ", term, level=level + 1)
    else:
        for part in parts:  # a generator that is the only argument takes no comma
            alone = len(parts) == 1 and split(part, " for ") != [part]
            lines += wrapped(inner, part, level=level + 1, tail="" if alone else ",")
    return [*lines, f"{INDENT * level}{closing}{tail}"]


def _bracketed(text: str) -> tuple[str, str, str]:
    """``f(a, b)`` or ``[a, b]`` as what stands before, the bracket, and what stands inside."""
    first = next((k for k, c in enumerate(text) if c in "(["), None)
    if first is None or text[-1] != _CLOSING[text[first]]:
        return text, "", ""
    depth = 0
    for k, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and first < k < len(text) - 1:  # it closes early: several in a row
            return text, "", ""
    return text[:first], text[first], text[first + 1 : -1]


def joined(variable: str, operator: str, terms: list[str], level: int) -> list[str]:
    """``variable = a + b`` on one line, or a line a term where it is too long."""
    pad, inner = INDENT * level, INDENT * (level + 1)
    line = f"{pad}{variable} = {operator.join(terms)}"
    if len(line) <= LINE:
        return [line]
    first, *rest = terms
    lines = [f"{pad}{variable} = (", *wrapped(inner, first, level=level + 1)]
    for term in rest:
        lines += wrapped(f"{inner}{operator.strip()} ", term, level=level + 1)
    return [*lines, f"{pad})"]
