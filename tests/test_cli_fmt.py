"""`bayesnas fmt`: what it writes, what it says, and what it leaves alone."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE
from typing import TypeAlias

import pytest
from attrs import frozen

from bayesnas.cli import main
from bayesnas.dsl.loader import MAX_BYTES

UNTIDY = "op f=g#why\n"
TIDY = "op f = g  #why\n"
WRONG = "op f =\n"


@frozen
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Ended]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main(["fmt", *arguments])
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return call


def write(**texts: str) -> None:
    for name, text in texts.items():
        Path(f"{name}.nas").write_bytes(text.encode("utf-8"))


def read(name: str) -> str:
    return Path(f"{name}.nas").read_bytes().decode("utf-8")


# ------------------------------------------------------------------------------ files


def test_files_are_rewritten(run: Run) -> None:
    write(a=UNTIDY, b=TIDY, c=UNTIDY)
    ended = run("a.nas", "b.nas", "c.nas")
    assert ended == Ended(
        0, "reformatted a.nas\nreformatted c.nas\n", "2 reformatted, 1 unchanged\n"
    )
    assert [read(name) for name in "abc"] == [TIDY] * 3
    assert run("a.nas").out == ""


def test_a_canonical_file_is_not_touched(run: Run) -> None:
    write(a=TIDY)
    os.utime("a.nas", ns=(1, 1))
    before = Path("a.nas").stat()
    assert run("a.nas") == Ended(0, "", "0 reformatted, 1 unchanged\n")
    after = Path("a.nas").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_line_ends_become_those_of_unix(run: Run) -> None:
    write(a=TIDY.replace("\n", "\r\n"))
    assert run("a.nas").out == "reformatted a.nas\n"
    assert read("a") == TIDY


def test_permissions_are_kept(run: Run) -> None:
    write(a=UNTIDY)
    Path("a.nas").chmod(0o640)
    run("a.nas")
    assert S_IMODE(Path("a.nas").stat().st_mode) == 0o640


def test_a_link_stays_one(run: Run) -> None:
    write(a=UNTIDY)
    Path("link.nas").symlink_to("a.nas")
    assert run("link.nas").status == 0
    assert Path("link.nas").is_symlink()
    assert read("a") == TIDY


def test_nothing_is_left_beside_a_file(run: Run, here: Path) -> None:
    write(a=UNTIDY)
    run("a.nas")
    assert [path.name for path in here.iterdir()] == ["a.nas"]


# ------------------------------------------------------------------------------ --check, --diff


def test_check_names_what_would_change_and_writes_nothing(run: Run) -> None:
    write(a=UNTIDY, b=TIDY)
    ended = run("--check", "a.nas", "b.nas")
    assert ended == Ended(1, "would reformat a.nas\n", "1 would be reformatted, 1 unchanged\n")
    assert read("a") == UNTIDY


def test_check_is_content_with_canonical_files(run: Run) -> None:
    write(b=TIDY)
    assert run("--check", "b.nas") == Ended(0, "", "0 would be reformatted, 1 unchanged\n")


def test_diff_shows_what_would_change(run: Run) -> None:
    write(a=UNTIDY, b=TIDY)
    ended = run("--diff", "a.nas", "b.nas")
    expected = "--- a.nas\n+++ a.nas\n@@ -1 +1 @@\n-op f=g#why\n+op f = g  #why\n"
    said = "would reformat a.nas\n1 would be reformatted, 1 unchanged\n"
    assert ended == Ended(0, expected, said)
    assert read("a") == UNTIDY


def test_diff_shows_a_missing_line_end(run: Run) -> None:
    write(a="op f = g")
    ended = run("--diff", "--check", "a.nas")
    changed = "@@ -1 +1 @@\n-op f = g\n\\ No newline at end of file\n+op f = g\n"
    assert (ended.status, ended.out) == (1, "--- a.nas\n+++ a.nas\n" + changed)


# ------------------------------------------------------------------------------ standard input


def test_standard_input_goes_to_standard_output(run: Run) -> None:
    text = "op f=g # é\n".encode()
    assert run("-", stdin=text) == Ended(0, "op f = g  # é\n", "")
    assert run("-", stdin=TIDY.encode()) == Ended(0, TIDY, "")
    assert run("-") == Ended(0, "", "")


def test_standard_input_may_be_checked(run: Run) -> None:
    assert run("--check", "-", stdin=UNTIDY.encode()) == Ended(1, "", "would reformat <stdin>\n")
    ended = run("--diff", "-", stdin=UNTIDY.encode())
    assert ended.status == 0
    assert ended.out.startswith("--- <stdin>\n+++ <stdin>\n")


def test_names_are_not_mixed_with_text(run: Run) -> None:
    write(a=UNTIDY)
    ended = run("-", "a.nas", stdin=UNTIDY.encode())
    assert ended == Ended(0, TIDY, "reformatted a.nas\n2 reformatted, 0 unchanged\n")


# ------------------------------------------------------------------------------ refusals


def assert_refused(ended: Ended, code: str, message: str, status: int = 2) -> None:
    assert ended.status == status
    assert ended.out == ""
    assert f"error[{code}]: {message}" in ended.err
    assert " = help: " in ended.err


def test_a_wrong_spec_is_left_alone_and_others_are_formatted(run: Run) -> None:
    write(a=WRONG, b=UNTIDY)
    ended = run("a.nas", "b.nas")
    assert (ended.status, ended.out) == (2, "reformatted b.nas\n")
    assert "error[D101]: " in ended.err
    assert "--> a.nas:1:" in ended.err
    assert (read("a"), read("b")) == (WRONG, TIDY)
    assert run("--check", "a.nas", "b.nas").status == 2


def test_wrong_standard_input_gives_no_text(run: Run) -> None:
    ended = run("-", stdin=WRONG.encode())
    assert_refused(ended, "D101", "")
    assert "--> <stdin>:1:" in ended.err


def test_specs_of_the_package_are_not_rewritten(run: Run) -> None:
    message = "`darts_cell` is a spec of the package, which is not rewritten"
    assert_refused(run("darts_cell"), "D401", message)


def test_a_file_by_the_name_of_a_packaged_spec_is(run: Run) -> None:
    Path("darts_cell").write_text(UNTIDY)
    assert run("darts_cell").out == "reformatted darts_cell\n"


@pytest.mark.parametrize("name", ["gone.nas", "no/such/folder.nas", "x" * 5000])
def test_a_file_that_is_not_there(run: Run, name: str) -> None:
    assert_refused(run(name), "D401", f"no file at `{name}`")


def test_a_folder(run: Run) -> None:
    Path("folder").mkdir()
    assert_refused(run("folder"), "D402", "cannot read `folder`: is a directory")


def test_what_is_no_file(run: Run) -> None:
    os.mkfifo("pipe.nas")
    assert_refused(run("pipe.nas"), "D402", "`pipe.nas` is no regular file")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\xff", "`<stdin>` is not UTF-8 text"), (b"#" * (MAX_BYTES + 1), "`<stdin>` holds 1,000,")],
)
def test_what_is_no_text(run: Run, data: bytes, message: str) -> None:
    assert_refused(run("-", stdin=data), "D402", message)


def test_a_protected_file_stays(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(a=UNTIDY)
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)
    ended = run("a.nas")
    assert_refused(ended, "D419", "cannot write `a.nas`: permission denied", status=1)
    assert read("a") == UNTIDY


def test_a_file_is_replaced_whole_or_not_at_all(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    write(a=UNTIDY)
    monkeypatch.setattr(Path, "replace", full)
    ended = run("a.nas")
    assert_refused(ended, "D419", "cannot write `a.nas`: no space left on device", status=1)
    assert read("a") == UNTIDY
    assert [path.name for path in here.iterdir()] == ["a.nas"]


def test_a_spec_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt"]) == 2
    assert "SPEC" in capsys.readouterr().err
