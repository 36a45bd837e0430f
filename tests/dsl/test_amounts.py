"""Amounts are exact."""

from __future__ import annotations

from decimal import Decimal
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesnas.dsl.amounts import amount_value

FACTORS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4.1M", 4_100_000),
        ("33.3M", 33_300_000),
        ("8.2M", 8_200_000),
        ("2.01M", 2_010_000),
        ("500K", 500_000),
        ("2G", 2 * 10**9),
        ("1.23456K", 1234),
        ("1.9", 1),
        ("007", 7),
        ("1" * 90 + "K", int("1" * 90) * 1000),
    ],
)
def test_an_amount(text: str, value: int) -> None:
    assert amount_value(text) == value


@pytest.mark.parametrize("unit", FACTORS)
@pytest.mark.parametrize("places", [1, 2, 3])
def test_every_short_decimal_is_exact(unit: str, places: int) -> None:
    for number in range(10 ** (places + 1)):
        text = f"{number // 10**places}.{number % 10**places:0{places}}"
        assert amount_value(text + unit) == number * FACTORS[unit] // 10**places


@given(st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True), st.sampled_from([*FACTORS]))
def test_an_amount_is_its_decimal_rounded_down(number: str, unit: str) -> None:
    assert amount_value(number + unit) == floor(Decimal(number) * FACTORS[unit])
