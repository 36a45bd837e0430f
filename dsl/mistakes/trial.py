"""Remedies that repeat a spec's own words are tried before they are given.

`write `{a, b} -> c`` is put in the place of what it stands for, and the definition is parsed once
more. Which place that is follows from the rule's groups: each stretch between two of their ends is
tried. Remedies with an example's words, or with `...`, are forms, and nothing to try.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from lark import Lark, UnexpectedInput
from lark.exceptions import LarkError

_DEFINITION = re.compile(r"^(?:import|op|choice|motif|network|search|train|learn)\b", re.MULTILINE)
_LONGEST = 6000  # characters of a definition in which anything is tried: a parse takes 10 ms
_AFTER = 400  # characters behind the error that are read with it

Stretch = tuple[int, int]


def is_literal(template: str) -> bool:
    """Whether a remedy is text to write, made of what the spec says."""
    return template.startswith("write `") and "..." not in template and "<" in template


def literals(template: str, fill: Callable[[str], str]) -> list[str]:
    """The texts that a remedy says to write, of those that hold words of the spec."""
    parts = re.findall(r"`([^`]+)`", template)
    return [fill(part) for part in parts if re.search(r"<[a-z]+>", part)]


def helps(lark: Lark, text: str, writings: Iterable[str], stretches: Iterable[Stretch]) -> bool:
    """Whether each writing, in the place of one of the stretches, leads past the line.

    It also holds where nothing can be tried: the definition is too long to be read again and again.
    """
    stretches = [*stretches]
    first, last = min(s for s, _ in stretches), max(e for _, e in stretches)
    before = [m.start() for m in _DEFINITION.finditer(text, 0, first + 1)]
    start = before[-1] if before else 0
    if last - start > _LONGEST:
        return True
    rest = text.find("\n", last + _AFTER)
    end = len(text) if rest < 0 else rest
    return all(
        any(_leads_on(lark, text[start:s], writing, text[e:end]) for s, e in stretches)
        for writing in writings
    )


def _leads_on(lark: Lark, before: str, writing: str, after: str) -> bool:
    """Whether the next error, if there is one, stands on a later line."""
    text = f"{before} {writing} {after}"
    try:
        lark.parse(text)
    except UnexpectedInput as error:
        token = getattr(error, "token", None)
        if token is not None and token.type == "$END":
            return True
        place = error.pos_in_stream or 0
        return "\n" in text[len(before) + len(writing) + 1 : place]
    except LarkError:
        return False
    return True
