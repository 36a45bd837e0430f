"""Settings of hypothesis: reproducible by default, `HYPOTHESIS_PROFILE=deep` to hunt."""

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several workers stall each other
os.environ["BAYESNAS_REPORT"] = "no"  # a page for every run of a test: those of pages ask for it

import pytest
from hypothesis import HealthCheck, settings

from bayesnas.compiler.operations.plugins import loaded_plugins
from bayesnas.compiler.operations.primitives import PRIMITIVES

# What is begun in the background ignores Ctrl-C; the tests of interruptions do not.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("support", "living", "reference")

settings.register_profile(
    "quick",
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=2000)
settings.register_profile("deep", settings.get_profile("deep"), derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_finish() -> None:
    """What is imported by then stays: the collector would walk it again and again (a tenth)."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders that are made for who names none lie with those of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture
def plugin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory; what is registered and imported in it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, modules = dict(PRIMITIVES), set(sys.modules)
    yield tmp_path
    plugins = {*loaded_plugins(), "plugged"}
    PRIMITIVES.clear()
    PRIMITIVES.update(before)
    for name in set(sys.modules) - modules:
        if name in plugins:
            del sys.modules[name]


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 300 digits: what is trained on all of them says no more."""
    from sklearn.datasets import load_digits
    from sklearn.utils import Bunch

    whole = load_digits()
    parts = {name: whole[name][:300] for name in ("data", "images", "target")}
    few = Bunch(**{**whole, **parts})
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: few)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Graphviz, which takes longer than small searches."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
