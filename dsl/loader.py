"""Files to syntax trees: a spec and everything it imports, read from its own folder tree alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TypeVar

from attrs import evolve, frozen

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import (
    Diagnostic,
    DiagnosticError,
    Source,
    Span,
    mistake,
    nearest,
    quote,
)
from bayesnas.dsl.parsing.parser import check_length, parse

MAX_BYTES = 1_000_000

T = TypeVar("T")


@frozen
class Loaded:
    """A spec, and the files it imports (each before the file that imports it).

    ``local`` holds the imported files that do not come with the package, by their path relative
    to the spec's folder: who copies the spec elsewhere copies these beside it.
    """

    main: tree.Spec
    source: Source
    imported: tuple[tree.Spec, ...]
    local: dict[str, str]

    def definitions(self) -> Iterator[tree.Definition]:
        """All definitions, imported ones first."""
        for spec in (*self.imported, self.main):
            yield from spec.definitions


def load(path: str | Path) -> Loaded:
    """Read and parse a spec and its imports.

    A name without a folder that is no file names a spec of the package: ``darts_cell``.

    Raises:
        DiagnosticError: D401 (no such file), D402 (unreadable, or too long), D110-D112
            (imports), or the parser's.
    """
    path = _find(Path(path))
    return load_text(read_source(path), path.parent)


def load_text(source: Source, folder: Path) -> Loaded:
    """Like `load`, for a text whose imports are looked up from ``folder``."""
    main = parse(source)
    loader = _Loader(folder, check_length(source))
    loader.follow(main, PurePosixPath(), (source.name,))
    return Loaded(main, source, tuple(loader.specs.values()), loader.local)


def read_source(path: Path, most: int = MAX_BYTES, what: str = "a spec") -> Source:
    """The text of a file under its own name; never more than ``most`` bytes and one are read.

    Raises:
        DiagnosticError: D402 (unreadable, no regular file, too large, or no UTF-8).
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            # A device may never end, and a pipe may not even open.
            remedy = f"name a file that holds {what}"
            raise _unreadable(f"`{path}` is no regular file", remedy)
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        remedy = f"name a readable file that holds {what}"
        raise _unreadable(f"cannot read `{path}`: {reason}", remedy) from None
    if len(data) > most:
        raise _too_large(str(path), max(len(data), status.st_size), most, what)
    return decode_source(str(path), data, most, what)


def decode_source(name: str, data: bytes, most: int = MAX_BYTES, what: str = "a spec") -> Source:
    """The text of a file's bytes.

    Raises:
        DiagnosticError: D402 (too many, or no UTF-8).
    """
    if len(data) > most:
        raise _too_large(name, len(data), most, what)
    try:
        return Source(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        remedy = f"save it as UTF-8, or check that this is {what}"
        raise _unreadable(f"`{name}` is not UTF-8 text (byte {error.start})", remedy) from None


def _too_large(name: str, size: int, most: int, what: str) -> DiagnosticError:
    return _unreadable(
        f"`{name}` holds {size:,} bytes; {what} has at most {most:,}",
        f"check that this is {what}, or write a shorter one",
    )


def _unreadable(message: str, remedy: str) -> DiagnosticError:
    return DiagnosticError(Diagnostic("D402", message, help=remedy))


def packaged_specs() -> list[str]:
    """Names of the specs that come with the package."""
    folder = files("bayesnas.specs")
    return sorted(f.name.removesuffix(".nas") for f in folder.iterdir() if f.name.endswith(".nas"))


def packaged_files(room: str) -> list[str]:
    """What of a folder of the packaged library can be imported: ``ops/basic.nas``."""
    folder = files("bayesnas.dsl").joinpath("library").joinpath(room)
    return sorted(f"{room}/{f.name}" for f in folder.iterdir() if f.name.endswith(".nas"))


def packaged_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return _packaged("recipes")


def packaged_networks() -> list[str]:
    """Names of the networks that a cell can be put into: see `network_around`."""
    return _packaged("networks")


def _packaged(room: str) -> list[str]:
    return [PurePosixPath(path).stem for path in packaged_files(room)]


def recipe(name: str) -> tree.Spec:
    """A recipe: a file of a ``train`` block, of one's own or, by name, of the packaged library.

    Raises:
        DiagnosticError: D401 (no such recipe), D402 (unreadable), or the parser's.
    """
    return parse(_named(name, "recipes", "recipe"))


def network_around(name: str) -> Loaded:
    """A network of a motif ``cell`` that is not defined there, with what it imports.

    It is a file of one's own or, by name, of the packaged library.

    Raises:
        DiagnosticError: as `recipe` does.
    """
    source = _named(name, "networks", "network")
    return load_text(source, Path(source.name).parent)


def _named(name: str, room: str, what: str) -> Source:
    """A file of one's own or, by name, of a room of the packaged library."""
    if os.path.exists(name):  # noqa: PTH110 - no error for a name no file can have
        return read_source(Path(name), what=f"a {what}")
    packaged = _packaged(room)
    if name in packaged:
        file = files("bayesnas.dsl").joinpath("library").joinpath(room).joinpath(f"{name}.nas")
        return Source(f"<library>/{room}/{name}.nas", file.read_text(encoding="utf-8"))
    match = nearest(name, packaged)
    raise DiagnosticError(
        Diagnostic(
            "D401",
            f"no {what} at `{name}`",
            notes=(f"packaged {what}s: {', '.join(packaged)}",),
            help=f"did you mean `{match}`?"
            if match
            else f"name a {what}'s file, or a packaged one",
        )
    )


def _find(path: Path) -> Path:
    names = packaged_specs()
    hidden = os.path.isdir(path) and str(path) in names  # noqa: PTH112 - by the name of a folder
    if os.path.exists(path) and not hidden:  # noqa: PTH110 - no error for a name no file can have
        return path
    if str(path) in names:
        # Resolved, because an editable install reads the package through links.
        return Path(str(files("bayesnas.specs").joinpath(f"{path}.nas"))).resolve()
    beside = path.parent if path.parent.is_dir() else Path()
    specs = sorted(str(p) for p in beside.glob("*.nas"))
    listed = ", ".join(specs[:5]) or "none"
    raise DiagnosticError(
        Diagnostic(
            "D401",
            f"no spec at `{path}`",
            notes=(f"specs in `{beside}`: {listed}", f"packaged specs: {', '.join(names)}"),
            help=_guess(path, specs, names),
        )
    )


def _guess(path: Path, beside: list[str], packaged: list[str]) -> str:
    """The spec that was probably meant: one beside, also without its ending, or a packaged one."""
    otherwise = "name a spec file, or a packaged spec"
    if f"{path}.nas" in beside:
        return f"did you mean `{path}.nas`?"
    match = nearest(path.stem, [*packaged, *(Path(name).stem for name in beside)])
    files_beside = [name for name in beside if Path(name).stem == match]
    return f"did you mean `{files_beside[0] if files_beside else match}`?" if match else otherwise


class _Loader:
    """Follows imports depth first; each file is read once."""

    def __init__(self, folder: Path, words: int) -> None:
        self.folder = folder
        self.words = words  # of all files so far
        self.specs: dict[str, tree.Spec] = {}
        self.local: dict[str, str] = {}

    def follow(self, spec: tree.Spec, base: PurePosixPath, trail: tuple[str, ...]) -> None:
        for definition in spec.definitions:
            if isinstance(definition, tree.Import):
                self._import(definition, base, trail)

    def _import(self, statement: tree.Import, base: PurePosixPath, trail: tuple[str, ...]) -> None:
        path = PurePosixPath(statement.path)
        if path.is_absolute() or ".." in path.parts or "\\" in statement.path or not path.parts:
            raise mistake(
                "D110",
                f"invalid import path `{statement.path}`",
                statement.span,
                "write a path below the spec's own folder, without `..`",
            )
        name, source = self._locate(path, base, statement.span)
        if source.name in trail:
            circle = " -> ".join((*trail[trail.index(source.name) :], source.name))
            raise mistake(
                "D112",
                f"`{statement.path}` imports itself",
                statement.span,
                "move what both need into a third file",
                circle,
            )
        if source.name in self.specs:
            return
        self.words = _at(statement.span, lambda: check_length(source, self.words))
        spec = parse(source)
        self.follow(spec, PurePosixPath(name).parent, (*trail, source.name))
        self.specs[source.name] = spec

    def _locate(self, path: PurePosixPath, base: PurePosixPath, span: Span) -> tuple[str, Source]:
        relative = str(base / path)
        local = self.folder / relative
        if os.path.isfile(local):  # noqa: PTH113 - likewise
            if not local.resolve().is_relative_to(self.folder.resolve()):
                raise mistake(
                    "D110",
                    f"`{path}` leads out of the spec's folder through a link",
                    span,
                    "copy the file below the spec's own folder",
                )
            source = _at(span, lambda: read_source(local))
            self.local[relative] = source.text
            return relative, source
        packaged = files("bayesnas.dsl").joinpath("library", *path.parts)
        if os.path.isfile(str(packaged)):  # noqa: PTH113
            return str(path), Source(f"<library>/{path}", packaged.read_text(encoding="utf-8"))
        raise mistake(
            "D111",
            f"nothing to import at `{path}`",
            span,
            f"the packaged library has {quote(packaged_files('ops'))}, and `recipes`: "
            + ", ".join(packaged_recipes()),
            f"looked in `{local.parent}` and in the packaged library",
        )


def _at(span: Span, action: Callable[[], T]) -> T:
    """What the action gives; its diagnostics point to the statement that imports."""
    try:
        return action()
    except DiagnosticError as error:
        raise DiagnosticError(*(evolve(d, span=span) for d in error.diagnostics)) from None
