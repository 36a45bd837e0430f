"""Settings of hypothesis: reproducible by default, `HYPOTHESIS_PROFILE=deep` to hunt."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several workers stall each other

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("support", "living", "reference")

settings.register_profile(
    "quick",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=2000)
settings.register_profile("deep", settings.get_profile("deep"), derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
