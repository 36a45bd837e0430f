"""What the outputs of a network may learn, as a ``learn`` block says it.

It stands in the compiler so that a wrong objective is refused with its place in the spec before
anything runs; the runtime has a task for each word (`runtime/tasks/`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from attrs import evolve, field, frozen

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span, quote, suggest
from bayesnas.dsl.parsing.parser import parse


@frozen
class Option:
    """A number that an objective takes: at least ``least``, at most ``most``; see ``about``."""

    least: float
    most: float
    about: str
    whole: bool = False
    maps: bool = False  # whether it is for outputs [C, ...] alone


@frozen
class Kind:
    """An objective: what it is for, and its options by name."""

    about: str
    options: Mapping[str, Option] = field(factory=dict)


AUXILIARY: Final = "auxiliary"
_OF: Final = "of"  # its option: a word, not a number

OBJECTIVES: Final[Mapping[str, Kind]] = {
    "classification": Kind(
        "one of some classes an example; of an output [C, H, W], one of C a pixel",
        {
            "smoothing": Option(0, 0.999, "share of a label that is spread over all classes"),
            "ignored": Option(
                0, 255, "label of pixels that count for nothing; 255", whole=True, maps=True
            ),
        },
    ),
    "next_token": Kind("the token of a text that comes next"),
    "multilabel": Kind("any of some labels per example, each by itself"),
    "regression": Kind(
        "numbers, with Gaussian noise; of an output [C, H, W], C a pixel",
        {"sigma": Option(0, 1e6, "deviation of the noise, in those of the targets; 0: estimated")},
    ),
    AUXILIARY: Kind("what another output learns, in training alone; `of` names that of several"),
}


@frozen
class Objective:
    """What one output learns, and what its loss counts in the sum over outputs.

    An auxiliary output learns what the output ``of`` learns; where it is empty, the only one.
    """

    port: str
    name: str
    options: Mapping[str, float] = field(factory=dict)
    weight: float = 1.0
    of: str = ""

    @property
    def auxiliary(self) -> bool:
        """Whether the output is there for training alone."""
        return self.name == AUXILIARY

    def __str__(self) -> str:
        """As a ``learn`` block has it: ``depth = regression(sigma = 0.5) * 0.1``."""
        return f"{self.port} = {self.term}"

    @property
    def term(self) -> str:
        """Without its port."""
        said = [f"{_OF} = {self.of}"] if self.of else []
        said += [f"{name} = {_plain(value)}" for name, value in self.options.items()]
        given = ", ".join(said)
        weight = f" * {_plain(self.weight)}" if self.weight != 1 else ""
        return f"{self.name}({given}){weight}" if given else f"{self.name}{weight}"

    def entry(self, span: Span) -> tree.Objective:
        """As it stands in a syntax tree."""
        said: dict[str, int | float | str] = {_OF: self.of} if self.of else {}
        said |= {name: _plain(value) for name, value in self.options.items()}
        options = tuple(tree.Setting(name, value, span=span) for name, value in said.items())
        weight = None if self.weight == 1 else _plain(self.weight)
        return tree.Objective(self.port, self.name, options, weight, span=span)


def _plain(value: float) -> int | float:
    return int(value) if math.isfinite(value) and value == int(value) else value


def objective_of(entry: tree.Objective) -> Objective:
    """That of an entry which `check_objective` has let pass."""
    said = {option.name: option.value for option in entry.options}
    of = str(said.pop(_OF, ""))
    options = {name: float(value) for name, value in said.items()}
    weight = 1.0 if entry.weight is None else float(entry.weight)
    return Objective(entry.port, entry.name, options, weight, of)


def read_objective(text: str) -> Objective:
    """An entry of a ``learn`` block.

    Raises:
        DiagnosticError: D418 (it is none), D233 and D234 (no such objective, option or weight).
    """
    try:
        spec = parse(Source("", f"learn {{ {text} }}"))
        [[entry]] = [d.entries for d in spec.definitions if isinstance(d, tree.Learn)]
    except (DiagnosticError, ValueError):
        remedy = "write PORT=OBJECTIVE, as in `depth=regression*0.1`"
        message = f"cannot read the objective `{text}`"
        raise DiagnosticError(Diagnostic("D418", message, help=remedy)) from None
    if wrong := check_objective(entry):
        raise DiagnosticError(*(evolve(one, span=None) for one in wrong))
    return objective_of(entry)


def readable(entry: object) -> bool:
    """Whether `read_objective` takes it behind the name of an output."""
    try:
        return isinstance(entry, str) and bool(read_objective(f"port = {entry}"))
    except DiagnosticError:
        return False


def check_objective(entry: tree.Objective) -> list[Diagnostic]:
    """What is wrong with an entry, whatever the network: D233 to D235."""
    if entry.name not in OBJECTIVES:
        remedy = suggest(entry.name, OBJECTIVES, f"choose from {quote(OBJECTIVES)}")
        return [Diagnostic("D233", f"unknown objective `{entry.name}`", entry.span, help=remedy)]
    wrong = [_wrong_option(entry.name, option) for option in entry.options]
    names = [option.name for option in entry.options]
    for option in entry.options:
        if names.count(option.name) > 1:
            message = f"`{option.name}` is given twice"
            wrong.append(Diagnostic("D234", message, option.span, help="give it once"))
            break
    if entry.weight is not None and not 0 < float(entry.weight) < math.inf:
        message, remedy = f"the weight {entry.weight} of `{entry.port}`", "write one above 0"
        wrong.append(Diagnostic("D234", message, entry.span, help=remedy))
    return [diagnostic for diagnostic in wrong if diagnostic is not None]


def _wrong_option(objective: str, given: tree.Setting) -> Diagnostic | None:
    if objective == AUXILIARY and given.name == _OF:
        if isinstance(given.value, str):
            return None
        message = f"invalid value `{given.value}` of `{_OF}`"
        return Diagnostic("D234", message, given.span, help="write the name of an output")
    options = OBJECTIVES[objective].options
    if given.name not in options:
        remedy = suggest(given.name, options, f"its options are {quote(options)}")
        if not options:
            remedy = "leave it out"
        message = f"`{objective}` has no option `{given.name}`"
        return Diagnostic("D234", message, given.span, help=remedy)
    option, value = options[given.name], given.value
    number = None if isinstance(value, str) else float(value)
    if number is None or not option.least <= number <= option.most or (option.whole and number % 1):
        kind = "a whole number" if option.whole else "a number"
        remedy = f"write {kind} from {option.least:g} to {option.most:g}"
        message = f"invalid value `{value}` of `{given.name}`"
        return Diagnostic("D234", message, given.span, help=remedy)
    return None


def unknown_ports(
    entries: Iterable[tree.Objective], networks: Mapping[str, tree.Network]
) -> list[Diagnostic]:
    """D235: entries for outputs that none of the networks has."""
    ports = dict.fromkeys(port.name for n in networks.values() for port in n.outputs)
    return [
        Diagnostic(
            "D235",
            f"no output `{entry.port}`",
            entry.span,
            notes=(f"outputs are {quote(ports)}",) if ports else (),
            help=suggest(entry.port, ports, "name an output of the network"),
        )
        for entry in entries
        if entry.port not in ports
    ]


def objectives_of(
    network: tree.Network, entries: Iterable[tree.Objective], given: Sequence[Objective] = ()
) -> tuple[Objective, ...]:
    """What the outputs of a network are to learn: those ``given`` stand over the spec's entries.

    Raises:
        DiagnosticError: D234 (an option, or a weight, that does nothing), D235 (one is given for an
            output that the network has not), D237 (an auxiliary output of nothing).
    """
    ports = [port.name for port in network.outputs]
    for objective in given:
        if objective.port not in ports:
            message, remedy = f"no output `{objective.port}`", f"choose from {quote(ports)}"
            message = f"{message} in `{network.name}`"
            raise DiagnosticError(Diagnostic("D235", message, network.span, help=remedy))
    by_port = {entry.port: objective_of(entry) for entry in entries}
    by_port |= {objective.port: objective for objective in given}
    chosen = tuple(by_port[port] for port in ports if port in by_port)
    lasting = [port for port in ports if port not in by_port or not by_port[port].auxiliary]
    wrong = [d for o in chosen for d in _idle(o, network, lasting)]
    wrong += [d for o in chosen for d in _baseless(o, network, lasting)]
    if wrong:
        raise DiagnosticError(*wrong)
    return chosen


def _baseless(
    objective: Objective, network: tree.Network, lasting: Sequence[str]
) -> Iterator[Diagnostic]:
    """An auxiliary output that does not say what it learns; ``lasting`` are all others."""
    if not objective.auxiliary or (len(lasting) == 1 and not objective.of):
        return
    if objective.of in lasting:
        return
    [port] = [port for port in network.outputs if port.name == objective.port]
    remedy = f"write `{objective.port} = {AUXILIARY}({_OF} = {(*lasting, 'OUTPUT')[0]})`"
    if not lasting:
        message = f"no output of `{network.name}` is left when it is trained"
        remedy = "say of one what it learns: all of them are auxiliary"
    elif objective.of:
        message = f"`{objective.port}` learns what `{objective.of}` does, which is no other output"
        remedy = f"choose from {quote(lasting)}"
    else:
        message = f"`{objective.port}` does not say of which output it is an auxiliary one"
    yield Diagnostic("D237", message, port.span, help=remedy)


def _idle(
    objective: Objective, network: tree.Network, lasting: Sequence[str]
) -> Iterator[Diagnostic]:
    """What is said of an output and does nothing there."""
    [port] = [port for port in network.outputs if port.name == objective.port]
    options = OBJECTIVES[objective.name].options
    for name in objective.options:
        if options[name].maps and len(port.shape or ()) == 1:
            message = f"`{name}` does nothing for `{port.name}`, which is a vector"
            remedy = "leave it out: it is for a class per pixel, outputs [C, H, W]"
            yield Diagnostic("D234", message, port.span, help=remedy)
    if objective.options.get("sigma") == 0 and len(port.shape or ()) > 1:
        message = f"the noise of `{port.name}` is not estimated: it is a map"
        yield Diagnostic(
            "D234", message, port.span, help="write a `sigma` above 0, or leave it out"
        )
    if objective.weight != 1 and list(lasting) == [objective.port]:
        message = f"a weight of `{port.name}`, the only output"
        yield Diagnostic("D234", message, port.span, help="leave it out: it weighs several outputs")
