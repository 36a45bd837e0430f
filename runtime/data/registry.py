"""Where data comes from: a source is a module of this folder with `load`, and a line here.

What stands here needs no torch; a source is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, cast, get_args

from attrs import frozen

if TYPE_CHECKING:
    from bayesnas.compiler.operations.primitives import Shape
    from bayesnas.runtime.data.dataset import Data
    from bayesnas.runtime.tasks.interface import Task

Fit: TypeAlias = Literal["squeeze", "pad", "crop"]
FITS: Final[tuple[Fit, ...]] = get_args(Fit)
Standardise: TypeAlias = Literal["auto", "yes", "no"]
STANDARDISE: Final[tuple[Standardise, ...]] = get_args(Standardise)


@frozen
class DataOptions:
    """How data may be had: whether to resize and to download, and where downloads lie.

    ``fit`` is how images are resized: squeezed, padded, or cropped in the middle; None is as a run
    has it, or else the first of `FITS`. ``standardise`` is whether inputs are brought to mean 0 and
    deviation 1; ``auto`` leaves whole numbers that the network looks up as they are.
    """

    resize: bool = False
    download: bool = False
    root: Path = Path("data")
    fit: Fit | None = None
    standardise: Standardise = "auto"

    def record(self) -> dict[str, bool | str]:
        """How data is read, for files; where it lies is said elsewhere."""
        fit = self.fit or FITS[0]
        return {"resize": self.resize, "fit": fit, "standardise": self.standardise}


@frozen
class Request:
    """What a source is asked for.

    Args:
        name: the data set as the command line calls it.
        argument: what stands behind the colon of the name.
        shape: of one example of the network, which images are read for.
        options: how it may be had.
        learned: what a network has learned that is to be judged on it. A source that can then has
            no training part, all its examples in the test part, and the classes of this task.
    """

    name: str
    argument: str
    shape: Shape
    options: DataOptions
    learned: Task | None = None


class Load(Protocol):
    """What a source's module is: `load`."""

    def load(self, request: Request, /) -> Data:
        """The data set; raises `DiagnosticError` for what is wrong with it."""
        ...


@frozen
class Source:
    """A kind of data: its word, what stands behind a colon, and the module that loads it."""

    word: str
    argument: str
    module: str

    @property
    def kind(self) -> str:
        """As a user writes it: ``digits``, ``folder:PATH``."""
        return f"{self.word}:{self.argument}" if self.argument else self.word

    def load(self, request: Request) -> Data:
        """By the module's own `load`."""
        module = cast(Load, import_module(f"bayesnas.runtime.data.{self.module}"))
        return module.load(request)


SOURCES: Final = (
    Source("digits", "", "digits"),
    Source("cifar10", "", "cifar10"),
    Source("folder", "PATH", "folder"),
    Source("npz", "FILE", "arrays"),
)
KINDS: Final = tuple(source.kind for source in SOURCES)


def source_of(name: str) -> Source | None:
    """The source of data called ``name``, if there is one."""
    word, colon, _ = name.partition(":")
    fitting = (s for s in SOURCES if s.word == word and bool(s.argument) == bool(colon))
    return next(fitting, None)
