"""Where data comes from: a source is a module of this folder with `load`, and a line here.

What stands here needs no torch; a source is imported when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast, get_args

from attrs import Attribute, field, frozen

from bayesnas.compiler.operations.plugins import note_plugin
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, idle_option, quote, shorten

if TYPE_CHECKING:
    import torch

    from bayesnas.compiler.graph.model import Graph
    from bayesnas.compiler.objectives import Objective
    from bayesnas.compiler.operations.primitives import Shape
    from bayesnas.runtime.data.dataset import Data
    from bayesnas.runtime.tasks.interface import Task

Fit: TypeAlias = Literal["squeeze", "pad", "crop"]
FITS: Final[tuple[Fit, ...]] = get_args(Fit)
Standardise: TypeAlias = Literal["auto", "yes", "no"]
STANDARDISE: Final[tuple[Standardise, ...]] = get_args(Standardise)
Level: TypeAlias = Literal["character", "word"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
ROOT: Final = Path("data")
MOST_WORKERS: Final = 256


def unreadable(name: str, value: object, remedy: str) -> DiagnosticError:
    """D418: an argument called ``name`` does not take a value."""
    message = f"cannot read `{name} = {shorten(repr(value))}`"
    return DiagnosticError(Diagnostic("D418", message, help=remedy))


def check_word(name: str, value: object, words: Collection[object]) -> None:
    """Refuse a word that an argument called ``name`` does not take.

    Raises:
        DiagnosticError: D418.
    """
    if value not in words:
        remedy = f"choose from {quote(str(word) for word in words if word is not None)}"
        raise unreadable(name, value, remedy)


def _one_of(*words: object) -> Callable[[object, Attribute[Any], object], None]:
    return lambda _, attribute, value: check_word(attribute.name, value, words)


def _columns(target: str | Iterable[str]) -> tuple[str, ...]:
    """Of one column its name is enough."""
    columns = (target,) if isinstance(target, str) or not isinstance(target, Iterable) else target
    for name in (names := tuple(columns)):
        if not isinstance(name, str):
            raise unreadable("target", target, "give the name of a column, or a list of names")
    return names


def _processes(_: object, __: Attribute[Any], count: int | None) -> None:
    whole = isinstance(count, Integral) and not isinstance(count, bool)
    if count is not None and not (whole and 0 <= count <= MOST_WORKERS):
        remedy = f"write a number from 0 to {MOST_WORKERS}, or leave it out"
        raise unreadable("workers", count, remedy)


@frozen
class DataOptions:
    """How data may be had.

    Args:
        resize: fit image files to the network.
        download: allow it, where there is something to download.
        root: where downloads lie.
        fit: the same as ``resize``, and how: squeezed, padded, or cropped in the middle; None is as
            a run has it, or else the first of `FITS`.
        standardise: whether inputs are brought to mean 0 and deviation 1; ``auto`` leaves whole
            numbers that the network looks up as they are.
        target: the columns of a table that are predicted.
        level: what a token of a text is.
        columns: how the columns of a table became inputs of the network that is asked, by port.
        stream: image files are read when they are needed, even if they fit into memory.
        workers: processes that decode them; None: a core each. Neither changes any number, but for
            a training's `crop`, which a stream cuts out of whole files.

    Raises:
        DiagnosticError: D418 (a value that one of them does not take).
    """

    resize: bool = field(default=False, validator=_one_of(False, True))
    download: bool = field(default=False, validator=_one_of(False, True))
    root: Path = ROOT
    fit: Fit | None = field(default=None, validator=_one_of(None, *FITS))
    standardise: Standardise = field(default="auto", validator=_one_of(*STANDARDISE))
    target: tuple[str, ...] = field(default=(), converter=_columns)
    level: Level = field(default="character", validator=_one_of(*LEVELS))
    columns: Mapping[str, Sequence[Mapping[str, Any]]] = field(factory=dict)
    stream: bool = field(default=False, validator=_one_of(False, True))
    workers: int | None = field(default=None, validator=_processes)

    @property
    def resizes(self) -> bool:
        """Whether image files are fitted: to say how is to say that they are."""
        return self.resize or self.fit is not None

    @property
    def fitted(self) -> list[str]:
        """Options of the command line that say how image files are fitted, of those given."""
        given = {"--resize": self.resize, "--fit": self.fit is not None}
        return [option for option, is_ in given.items() if is_]

    @property
    def fetched(self) -> list[str]:
        """Options of the command line that say where downloads come from, of those given."""
        given = {"--download": self.download, "--data-root": self.root != ROOT}
        return [option for option, is_ in given.items() if is_]

    @property
    def streamed(self) -> list[str]:
        """Options of the command line that say how image files are read, of those given."""
        given = {"--stream": self.stream, "--workers": self.workers is not None}
        return [option for option, is_ in given.items() if is_]

    @property
    def given(self) -> dict[str, list[str]]:
        """Options of the command line that were given, by the trait of the sources they are for."""
        return {
            "fits": self.fitted,
            "fetches": self.fetched,
            "tabular": ["--target"] if self.target else [],
            "spells": ["--level"] if self.level != LEVELS[0] else [],
            "streams": self.streamed,
        }

    def record(self) -> dict[str, Any]:
        """How data is read, for files; where it lies is said elsewhere."""
        fit = self.fit or FITS[0]
        plain = {"resize": self.resizes, "fit": fit, "standardise": self.standardise}
        return {**plain, "target": list(self.target), "level": self.level}


@frozen
class Ports:
    """What a network takes and gives: shapes of one example by the names of its ports.

    ``objectives`` are of the outputs whose spec or command says what they learn.
    """

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    objectives: Mapping[str, Objective] = field(factory=dict)

    @classmethod
    def of(cls, graph: Graph) -> Ports:
        """Of a network whose shapes are known."""
        inputs, outputs = (
            {graph.node(node).name: graph.node(node).shape or () for node in nodes}
            for nodes in (graph.root.inputs, graph.root.outputs)
        )
        return cls(inputs, outputs, {o.port: o for o in graph.objectives})

    @property
    def shape(self) -> Shape:
        """Of the input; of the first, where there are several."""
        return next(iter(self.inputs.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """Of all ports, inputs first."""
        return (*self.inputs, *self.outputs)


@frozen
class Request:
    """What a source is asked for.

    Args:
        name: the data set as the command line calls it.
        argument: what stands behind the colon of the name.
        shape: of one example of the network, which images are read for.
        outputs: of the network's answer to it.
        options: how it may be had.
        learned: what a network has learned that is to be judged on it. A source that can then has
            no training part, all its examples in the test part, and the classes of this task.
        ports: of the network.
        device: that the data is meant for.
    """

    name: str
    argument: str
    shape: Shape
    options: DataOptions
    learned: Task | None = None
    ports: Ports | None = None
    device: torch.device | None = None

    @property
    def outputs(self) -> Shape:
        """Shape of the one output of the network; empty where there are several."""
        shapes = list(self.ports.outputs.values()) if self.ports else []
        return shapes[0] if len(shapes) == 1 else ()

    @property
    def objective(self) -> str | None:
        """What is said of the one output, in a word; None where nothing is."""
        objectives = [o.name for o in self.ports.objectives.values()] if self.ports else []
        return objectives[0] if objectives and self.outputs else None


class Load(Protocol):
    """What a source's module is: `load`."""

    def load(self, request: Request, /) -> Data:
        """The data set; raises `DiagnosticError` for what is wrong with it."""
        ...


Loader: TypeAlias = "Callable[[Request], Data]"


@frozen
class Source:
    """A kind of data: its word, what stands behind a colon, and the module that loads it.

    ``fits`` says that it has image files to be fitted, ``fetches`` that it can be downloaded,
    ``tabular`` that it has columns to choose from, ``spells`` that it has tokens, ``streams`` that
    it may be read when it is needed. ``own`` is the function of a plugin.
    """

    word: str
    argument: str
    module: str
    fits: bool = False
    fetches: bool = False
    tabular: bool = False
    spells: bool = False
    streams: bool = False
    own: Loader | None = None

    @property
    def kind(self) -> str:
        """As a user writes it: ``digits``, ``folder:PATH``."""
        return f"{self.word}:{self.argument}" if self.argument else self.word

    def load(self, request: Request) -> Data:
        """By the module's own `load`, or the function that a plugin has registered."""
        if self.own is not None:
            return self.own(request)
        module = cast(Load, import_module(f"bayesnas.runtime.data.{self.module}"))
        return module.load(request)


SOURCES: Final = (
    Source("digits", "", "digits"),
    Source("diabetes", "", "tables.bundled"),
    Source("breast_cancer", "", "tables.bundled"),
    Source("wine", "", "tables.bundled"),
    Source("cifar10", "", "cifar10", fetches=True),
    Source("folder", "PATH", "folders.source", fits=True, streams=True),
    Source("npz", "FILE", "arrays"),
    Source("csv", "FILE", "tables.source", tabular=True, fits=True),
    Source("text", "FILE", "texts.source", spells=True),
)
KINDS: Final = tuple(source.kind for source in SOURCES)
_OWN: Final[dict[str, Source]] = {}


def data_source(word: str, argument: str = "") -> Callable[[Loader], Loader]:
    """Register a function as a source of data: ``--data word``, or ``--data word:ARGUMENT``.

    The function is called with a `Request` and returns a `Data`, such as `data_of_arrays` and
    `data_of_dataset` make. It stands in a module that ``--plugin`` names.

    Args:
        word: what the data is called.
        argument: what stands behind a colon, in capitals; empty where nothing does.

    Raises:
        DiagnosticError: D433 (the word is none, or taken).
    """

    def register(load: Loader) -> Loader:
        module = getattr(load, "__module__", "")
        taken = any(source.word == word for source in SOURCES)
        if taken or (word in _OWN and _OWN[word].module != module):
            reason = f"there is data called `{word}` already"
        elif not word.isidentifier():
            reason = f"`{word}` cannot be a name"
        else:
            _OWN[word] = Source(word, argument, module, own=load)
            note_plugin(module)
            return load
        remedy = "choose a word of letters, digits and underscores that is free"
        message = f"cannot register the data `{word}`: {reason}"
        raise DiagnosticError(Diagnostic("D433", message, help=remedy))

    return register


def kinds() -> tuple[str, ...]:
    """All kinds of data as a user writes them, those of plugins too."""
    return (*KINDS, *(source.kind for source in _OWN.values()))


def source_of(name: str) -> Source | None:
    """The source of data called ``name``, if there is one."""
    word, colon, argument = name.partition(":")
    every = (*SOURCES, *_OWN.values())
    fitting = (s for s in every if s.word == word and (bool(argument) if s.argument else not colon))
    return next(fitting, None)


def plugins_of(name: str) -> list[str]:
    """The modules of plugins that data called ``name`` comes from: one, or none."""
    source = source_of(name)
    return [] if source is None or source.own is None else [source.module]


def check_use(name: str, options: DataOptions) -> None:
    """Refuse options that data of that name has no use for; unknown data is for others to refuse.

    Raises:
        DiagnosticError: D423, for each of them.
    """
    source = source_of(name)
    if source is None:
        return
    idle = {
        option: quote([s.kind for s in SOURCES if getattr(s, trait)], "or")
        for trait, named in options.given.items()
        for option in named
        if not getattr(source, trait)
    }
    if idle:
        raise DiagnosticError(
            *(
                idle_option(option, f"with `{name}`", f"leave it out: it is for {use}")
                for option, use in idle.items()
            )
        )
