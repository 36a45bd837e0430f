"""Amounts are exact."""

from __future__ import annotations

from decimal import Decimal
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesnas.dsl.amounts import amount_value, duration_text, is_duration, spaced

FACTORS = {
    "": 1, "K": 10**3, "M": 10**6, "G": 10**9, " us": 10**3, "ms": 10**6, " s": 10**9
}  # fmt: skip


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


@given(st.integers(1, 10**13))
def test_a_time_is_written_exactly_and_in_canonical_form(nanoseconds: int) -> None:
    text = duration_text(nanoseconds)
    assert amount_value(text) == nanoseconds
    assert is_duration(text)
    assert spaced(text.replace(" ", "")) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(5_000_000, "5 ms"), (1_500, "1.5 us"), (2 * 10**9, "2 s"), (1_234_567, "1.234567 ms")],
)
def test_a_time_in_its_largest_unit(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


def test_a_short_time_is_a_part_of_a_microsecond() -> None:
    assert duration_text(20) == "0.02 us"
