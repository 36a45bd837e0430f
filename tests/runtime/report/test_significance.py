"""What the seeds of a comparison decide, in words."""

from __future__ import annotations

import pytest

from bayesnas.runtime.report.sections.comparison import significance


def runs(*qualities: float) -> list[dict[str, float]]:
    return [{"seed": seed, "quality": quality} for seed, quality in enumerate(qualities)]


@pytest.mark.parametrize(
    ("best", "other", "said"),
    [
        # Differences 1, 2, 3: mean 2, deviation 1; t of two degrees is 4.303, so 2 ± 2.48.
        (
            (91, 93, 95),
            (90, 91, 92),
            "+2.00 points on average over 3 seeds, 95% interval -0.48 to +4.48: "
            "no more than chance may make.",
        ),
        ((92, 92, 92.1), (90, 90, 90), "more than the seeds make by chance."),
        ((92,), (90,), "one seed, from which nothing can be said."),
    ],
)
def test_seeds_decide_by_the_interval_of_their_differences(
    best: tuple[float, ...], other: tuple[float, ...], said: str
) -> None:
    entries = {"a": runs(*best), "b": runs(*other)}
    [sentence] = significance(entries, ["a", "b"], "accuracy")
    assert sentence.startswith("a against b: ")
    assert sentence.endswith(said)


def test_a_share_of_variance_has_four_digits() -> None:
    entries = {"a": runs(0.9312, 0.9321, 0.9318), "b": runs(0.9280, 0.9290, 0.9285)}
    [sentence] = significance(entries, ["a", "b"], "R2")
    assert "+0.0032 on average over 3 seeds, 95% interval +0.0030 to +0.0034: " in sentence
