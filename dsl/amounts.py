"""Amounts: decimal numbers with a unit, exactly, as a spec and the command line write them."""

from __future__ import annotations

from typing import Final

MAX_DIGITS: Final = 100  # of a number, its point and unit included
AMOUNT: Final = r"\d+(?:\.\d+)?[KMG]?"  # a regular expression
_ZEROS: Final = {"K": 3, "M": 6, "G": 9}


def amount_value(text: str) -> int:
    """The number that `AMOUNT` text stands for: ``4.1M`` is 4,100,000; rounded down.

    K, M and G are 10^3, 10^6 and 10^9.
    """
    zeros = _ZEROS.get(text[-1], 0)
    whole, _, fraction = text.rstrip("KMG").partition(".")
    return int(whole + fraction[:zeros].ljust(zeros, "0"))
