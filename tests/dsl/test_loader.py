"""Files to syntax trees: what can be read, and where imports may lead."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import assert_style, deadline, marked

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source
from bayesnas.dsl.loader import MAX_BYTES, load, load_text, packaged_specs
from bayesnas.dsl.parsing.parser import MAX_WORDS

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the test's folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path: Path | str) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load(path)
    assert caught.value.status == 2
    [found] = caught.value.diagnostics
    assert_style(found)
    return found


def assert_import_refused(write: Write, statement: str, code: str, message: str) -> Diagnostic:
    """A spec with this import (its place marked) is refused at that place."""
    snippet = marked(f"# a spec\n{statement}\n")
    found = refused(write("main.nas", snippet.text))
    assert (found.code, found.message) == (code, message)
    assert found.span is not None
    assert (found.span.line, found.span.column) == (snippet.line, snippet.column)
    return found


def names(path: Path) -> list[str]:
    """Names of all operations a spec defines or imports, in order."""
    return [d.name for d in load(path).definitions() if hasattr(d, "name")]


# ------------------------------------------------------------------------------ reading


def test_a_spec_is_read_under_its_own_name(write: Write) -> None:
    path = write("a.nas", "op f = skip")
    loaded = load(path)
    assert loaded.source == Source(str(path), "op f = skip")
    assert loaded.imported == ()
    assert loaded.local == {}


def test_a_packaged_spec_is_found_by_name() -> None:
    assert "darts_cell" in packaged_specs()
    path = Path(load("darts_cell").source.name)
    assert path.name == "darts_cell.nas"
    assert path == path.resolve()  # however an installation reads it


def test_a_file_is_preferred_to_a_packaged_spec(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("darts_cell", "op mine = skip")
    monkeypatch.chdir(tmp_path)
    assert names(Path("darts_cell")) == ["mine"]


def test_no_such_file(write: Write, tmp_path: Path) -> None:
    beside = write("other.nas", "")
    found = refused(tmp_path / "missing.nas")
    assert (found.code, found.message) == ("D401", f"no spec at `{tmp_path}/missing.nas`")
    assert found.notes[0] == f"specs in `{tmp_path}`: {beside}"
    assert found.notes[1].startswith("packaged specs: ")
    assert "darts_cell" in found.notes[1]


@pytest.mark.parametrize("name", ["darts_cel", "darts_cel.nas"])
def test_a_packaged_spec_that_was_meant(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path / name).help == "did you mean `darts_cell`?"


@pytest.mark.parametrize("name", ["mobile", "mobil.nas", "Mobile"])
def test_a_spec_beside_that_was_meant(name: str, write: Write, tmp_path: Path) -> None:
    beside = write("mobile.nas", "")
    assert refused(tmp_path / name).help == f"did you mean `{beside}`?"


def test_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.nas"
    path.write_bytes("# caf\u00e9".encode("latin-1"))
    found = refused(path)
    assert (found.code, found.message) == ("D402", f"`{path}` is not UTF-8 text (byte 5)")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "marked.nas"
    path.write_bytes(b"\xef\xbb\xbfop f = skip")
    assert names(path) == ["f"]


def test_a_directory(tmp_path: Path) -> None:
    found = refused(tmp_path)
    assert (found.code, found.message) == ("D402", f"cannot read `{tmp_path}`: is a directory")


def test_too_large(write: Write) -> None:
    path = write("large.nas", "#" * (MAX_BYTES + 1))
    found = refused(path)
    message = f"`{path}` holds 1,000,001 bytes; a spec has at most 1,000,000"
    assert (found.code, found.message) == ("D402", message)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.nas"
    os.mkfifo(path)
    found = refused(path)
    assert (found.code, found.message) == ("D402", f"`{path}` is no regular file")
    assert found.help == "name a file that holds a spec"


def test_a_device_without_an_end() -> None:
    found = refused("/dev/zero")
    assert (found.code, found.message) == ("D402", "`/dev/zero` is no regular file")


def test_no_more_is_read_than_a_spec_may_have(tmp_path: Path) -> None:
    path = tmp_path / "huge.nas"
    with path.open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no space
    found = refused(path)
    message = f"`{path}` holds 1,000,000,000,000 bytes; a spec has at most 1,000,000"
    assert (found.code, found.message) == ("D402", message)


def test_the_largest_spec_is_read(write: Write) -> None:
    assert names(write("large.nas", "#" * MAX_BYTES)) == []


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["long", "NUL"])
def test_a_path_no_file_can_have(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path / name).code in ("D401", "D402")


# ------------------------------------------------------------------------------ imports


def test_the_packaged_library(write: Write) -> None:
    loaded = load(write("main.nas", 'import "ops/basic.nas"\nop mine = skip'))
    assert [spec.span.source.name for spec in loaded.imported] == ["<library>/ops/basic.nas"]
    assert loaded.local == {}
    assert [d.name for d in loaded.definitions() if hasattr(d, "name")][-1] == "mine"


def test_a_file_beside_the_spec(write: Write) -> None:
    write("parts/ops.nas", "op f = skip")
    path = write("main.nas", 'import "parts/ops.nas"\nop g = f')
    assert names(path) == ["f", "g"]
    assert load(path).local == {"parts/ops.nas": "op f = skip"}


def test_a_local_file_is_preferred_to_the_library(write: Write) -> None:
    write("ops/basic.nas", "op mine = skip")
    assert names(write("main.nas", 'import "ops/basic.nas"')) == ["mine"]


def test_imports_of_imports_count_from_their_own_folder(write: Write) -> None:
    write("parts/inner.nas", "op inner = skip")
    write("parts/outer.nas", 'import "inner.nas"\nop outer = inner')
    path = write("main.nas", 'import "parts/outer.nas"')
    assert names(path) == ["inner", "outer"]
    assert list(load(path).local) == ["parts/outer.nas", "parts/inner.nas"]


def test_a_file_imported_twice_is_read_once(write: Write) -> None:
    write("base.nas", "op f = skip")
    write("one.nas", 'import "base.nas"\nop one = f')
    write("two.nas", 'import "base.nas"\nop two = f')
    path = write("main.nas", 'import "one.nas"\nimport "./two.nas"\nimport "base.nas"')
    assert names(path) == ["f", "one", "two"]


def test_a_text_imports_from_the_folder_it_is_given(write: Write, tmp_path: Path) -> None:
    write("ops.nas", "op f = skip")
    loaded = load_text(Source("typed", 'import "ops.nas"'), tmp_path)
    assert [d.name for d in loaded.definitions() if hasattr(d, "name")] == ["f"]


@pytest.mark.parametrize(
    "path", ["../other.nas", "ops/../../x.nas", "/etc/passwd", "C:\\x.nas", "..\\x.nas", "", "."]
)
def test_an_import_leads_below_the_folder_of_the_spec(write: Write, path: str) -> None:
    found = assert_import_refused(
        write, f'§import "{path}"', "D110", f"invalid import path `{path}`"
    )
    assert found.help == "write a path below the spec's own folder, without `..`"


def test_a_link_out_of_the_folder_is_refused(write: Write, tmp_path: Path) -> None:
    secret = write("secret.nas", "op f = skip")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link.nas").symlink_to(secret)
    path = write("inside/main.nas", 'import "link.nas"')
    found = refused(path)
    assert found.code == "D110"
    assert found.message == "`link.nas` leads out of the spec's folder through a link"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (1, 1)


def test_a_linked_folder_out_of_the_folder_is_refused(write: Write, tmp_path: Path) -> None:
    write("outside/ops.nas", "op f = skip")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    assert refused(write("inside/main.nas", 'import "link/ops.nas"')).code == "D110"


def test_a_link_within_the_folder_is_followed(write: Write, tmp_path: Path) -> None:
    target = write("real.nas", "op f = skip")
    (tmp_path / "link.nas").symlink_to(target)
    assert names(write("main.nas", 'import "link.nas"')) == ["f"]


def test_a_circle_of_imports(write: Write, tmp_path: Path) -> None:
    write("b.nas", 'op f = skip\nimport "main.nas"')
    path = write("main.nas", 'import "b.nas"')
    found = refused(path)
    assert (found.code, found.message) == ("D112", "`main.nas` imports itself")
    assert str(found.span) == f"{tmp_path / 'b.nas'}:2:1"
    assert found.notes == (f"{path} -> {tmp_path / 'b.nas'} -> {path}",)


def test_a_file_that_imports_itself(write: Write) -> None:
    assert_import_refused(write, '§import "main.nas"', "D112", "`main.nas` imports itself")


def test_nothing_to_import(write: Write, tmp_path: Path) -> None:
    found = assert_import_refused(
        write, '§import "ops/missing.nas"', "D111", "nothing to import at `ops/missing.nas`"
    )
    assert found.notes == (f"looked in `{tmp_path / 'ops'}` and in the packaged library",)


def test_a_folder_cannot_be_imported(write: Write) -> None:
    assert_import_refused(write, '§import "ops"', "D111", "nothing to import at `ops`")


def test_what_cannot_be_read_tells_who_imports_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "latin.nas").write_bytes("# caf\u00e9".encode("latin-1"))
    found = refused(write("main.nas", 'op f = skip\nimport "latin.nas"'))
    assert found.code == "D402"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (2, 1)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"], ids=["long", "NUL"])
def test_an_import_path_no_file_can_have(write: Write, name: str) -> None:
    assert refused(write("main.nas", f'import "{name}"')).code in ("D110", "D111", "D402")


def test_an_error_in_an_imported_file_stands_in_that_file(write: Write, tmp_path: Path) -> None:
    write("ops.nas", "op f = conv(3)\nop = skip")
    found = refused(write("main.nas", 'import "ops.nas"'))
    assert found.code == "D101"
    assert str(found.span) == f"{tmp_path / 'ops.nas'}:2:4"


def test_an_unreadable_import_names_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "bad.nas").write_bytes(b"\xff")
    found = refused(write("main.nas", 'import "bad.nas"'))
    assert found.code == "D402"
    assert str(tmp_path / "bad.nas") in found.message


# ------------------------------------------------------------------------------ many words


def words(count: int) -> str:
    """Definitions of four words and signs each."""
    return "op f = skip\n" * (count // 4) + "#\n"


def test_as_many_words_as_are_read(write: Write) -> None:
    with deadline(10.0):
        load(write("long.nas", words(MAX_WORDS)))


def test_too_many_words(write: Write) -> None:
    path = write("long.nas", words(MAX_WORDS) + "op")
    with deadline(1.0):
        found = refused(path)
    message = f"`{path}` makes it more than 40,000 words and signs to read"
    assert (found.code, found.message) == ("D402", message)


def test_words_of_imports_count_as_well(write: Write) -> None:
    for name in ("a.nas", "b.nas"):
        write(name, words(MAX_WORDS // 2))
    load(write("main.nas", 'import "a.nas"\n'))
    file = write("b.nas", words(MAX_WORDS // 2)).resolve()
    found = assert_import_refused(
        write,
        'import "a.nas"\n§import "b.nas"',
        "D402",
        f"`{file}` makes it more than 40,000 words and signs to read",
    )
    assert found.help == "write what repeats as a motif, a loop or a chain"
