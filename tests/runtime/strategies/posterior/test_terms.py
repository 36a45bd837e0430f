"""Laws of how many images judgements take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesnas.runtime.strategies.posterior.terms import EXAMPLES, FEWEST, Terms
from bayesnas.runtime.supernet.supernet import RECALIBRATION


@given(
    spare=st.integers(2 * FEWEST * EXAMPLES, 10**6),
    share=st.sampled_from([2, 4, 9]),
    members=st.integers(2, 60),
    held=st.integers(EXAMPLES, 10_000),
)
def test_nine_tenths_of_the_images_are_used_and_never_more(
    spare: int, share: int, members: int, held: int
) -> None:
    """Where members and held-out examples suffice to use them."""
    terms = Terms.of(spare, members, held, share * held)
    usable = members * (held + min(RECALIBRATION, share * held))
    assert terms.images <= spare
    assert terms.images >= 0.9 * min(spare, usable)
    assert terms.examples + terms.others <= held
    assert terms.examples % terms.parts == 0


@given(st.integers(0, 10**5), st.integers(1, 500), st.integers(2, 60), st.integers(1, 200))
def test_any_numbers_have_terms(spare: int, fit: int, members: int, held: int) -> None:
    terms = Terms.of(spare, members, held, fit)
    assert 1 <= terms.examples <= held
    assert 1 <= terms.normalisation <= fit
    assert min(members, FEWEST) <= terms.members <= members
    least = min(members, FEWEST) * (min(EXAMPLES, held) + min(EXAMPLES, fit))
    assert terms.images <= max(spare, least)


@pytest.mark.parametrize(
    ("spare", "held", "expected"),
    [
        (50_000, 5_000, Terms(40, 312, 2_192, 312)),  # half is for ten finalists
        (66_000, 1_000, Terms(40, 700, 300, 700)),  # who cannot use more
        (74_000, 1_000, Terms(40, 1_000, 0, 850)),  # all are judged on all
        (10**6, 1_000, Terms(40, 1_000, 0, RECALIBRATION)),
        (5_000, 1_000, Terms(19, EXAMPLES, 0, EXAMPLES)),  # fewer are judged
    ],
)
def test_what_finalists_cannot_use_is_for_all(spare: int, held: int, expected: Terms) -> None:
    assert Terms.of(spare, 40, held, 4 * held) == expected
