"""A small share of what `make fuzz` runs: nothing but diagnostics comes out, and soon."""

import json
from pathlib import Path

import fuzz
import hostile
import pytest
from fuzz_cases import FIFO, FOLDER, KINDS, LINK, Case
from hypothesis import given, settings
from support import network

SHARES = {"space": 5, "mutation": 40, "noise": 40, "imports": 30, "settings": 30, "graph": 40}
SLOW = 10.0  # s, where two are promised: machines that run tests may be slow and loaded


def assert_holds(case: Case) -> None:
    outcome = fuzz.run(case, SLOW)
    assert not outcome.failure, outcome.failure


@pytest.mark.parametrize("kind", SHARES)
def test_nothing_but_diagnostics(kind: str) -> None:
    @settings(max_examples=SHARES[kind])
    @given(KINDS[kind])
    def holds(case: Case) -> None:
        assert_holds(case)

    holds()


@pytest.mark.parametrize("name", hostile.FLAT | hostile.LARGE)
def test_little_of_everything_flat(name: str) -> None:
    build = (hostile.FLAT | hostile.LARGE)[name]
    assert_holds(Case("hostile", {"spec.nas": build(3)}))


@pytest.mark.parametrize("name", hostile.DEEP)
def test_much_of_everything_deep(name: str) -> None:
    assert_holds(Case("hostile", {"spec.nas": hostile.DEEP[name](150)}))


# ------------------------------------------------------------------------------ the harness itself


def test_every_kind_has_its_share() -> None:
    assert set(fuzz.SHARES) == set(KINDS)
    assert sum(fuzz.SHARES.values()) == pytest.approx(1)
    jobs = fuzz.jobs_of(20_000, seed=0)
    assert sum(count for _, count, _ in jobs) >= 20_000
    assert len(set(jobs)) == len(jobs)


def test_a_case_is_written_as_it_is(tmp_path: Path) -> None:
    files = {"a/b.nas": "caf\u00e9 \udcff", "p": FIFO, "d": FOLDER, "l": f"{LINK}p"}
    case = Case.from_json(Case("imports", files).to_json())
    assert case.files == files
    fuzz.lay(case, tmp_path)
    assert (tmp_path / "a/b.nas").read_bytes() == "caf\u00e9 ".encode() + b"\xff"
    assert (tmp_path / "p").is_fifo()
    assert (tmp_path / "d").is_dir()
    assert (tmp_path / "l").readlink() == Path("p")


@pytest.mark.parametrize("failure", ["ValueError: oops", "took 3.0 s"])
def test_what_fails_is_saved_and_comes_again(
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check(_case: Case) -> tuple[str, ...]:
        if failure.startswith("took"):
            return ("D101",)
        raise ValueError("oops")

    monkeypatch.setattr(fuzz, "check", check)
    monkeypatch.setattr(fuzz.time, "process_time", iter(range(0, 100, 3)).__next__)
    outcome = fuzz.run(Case("noise", {"spec.nas": "?"}))
    assert failure in outcome.failure
    path = fuzz.save(outcome, tmp_path / "found")
    assert json.loads(path.read_text("utf-8"))["files"] == {"spec.nas": "?"}
    assert fuzz.main(["--replay", str(path)]) == 1
    assert failure in capsys.readouterr().out


def test_limits_of_the_harness_refuse_no_valid_space() -> None:
    text = network("node h[60]\nx -> h\nh ~> y : relu | skip | tanh | gelu")
    assert fuzz.check(Case("mutation", {"spec.nas": text})) == ("D224",)
    assert fuzz.check(Case("space", {"spec.nas": text})) == ()


def test_broken_laws_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "format_source", lambda source: source.text + " ")
    outcome = fuzz.run(Case("mutation", {"spec.nas": "op f = skip"}), SLOW)
    assert "assert format_source(formatted) == formatted.text" in outcome.failure
