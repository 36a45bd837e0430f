"""Amounts: decimal numbers with a unit, exactly, as a spec and the command line write them."""

from __future__ import annotations

import re
from typing import Final

MAX_DIGITS: Final = 100  # of a number, its point and unit included
AMOUNT: Final = r"\d+(?:\.\d+)?[KMG]?"  # a regular expression
DURATION: Final = r"\d+(?:\.\d+)? *(?:us|ms|s)"  # another one
_ZEROS: Final = {"K": 3, "M": 6, "G": 9, "us": 3, "ms": 6, "s": 9}
_LARGEST_FIRST: Final = ("s", "ms", "us")


def amount_value(text: str) -> int:
    """The number that `AMOUNT` or `DURATION` text stands for, rounded down.

    ``4.1M`` is 4,100,000: K, M and G are 10^3, 10^6 and 10^9. Durations are in nanoseconds.
    """
    number = text.rstrip("KMGmus ")
    zeros = _ZEROS.get(text[len(number) :].strip(), 0)
    whole, _, fraction = number.partition(".")
    return int(whole + fraction[:zeros].ljust(zeros, "0"))


def is_duration(text: str) -> bool:
    """Whether an amount is a time."""
    return text.endswith("s")


def spaced(text: str) -> str:
    """An amount in canonical form: a time has one space before its unit, ``5 ms``."""
    return re.sub(r"(\d) *([mu]?s)$", r"\1 \2", text)


def duration_text(nanoseconds: int) -> str:
    """A time as `DURATION` text, exactly, in the largest unit of which it is 1 or more.

    Below a microsecond it is a part of one.
    """
    unit = next((u for u in _LARGEST_FIRST if nanoseconds >= 10 ** _ZEROS[u]), "us")
    zeros = _ZEROS[unit]
    digits = str(nanoseconds).rjust(zeros + 1, "0")
    fraction = digits[-zeros:].rstrip("0")
    return f"{digits[:-zeros]}{'.' if fraction else ''}{fraction} {unit}"
