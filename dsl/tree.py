"""The syntax tree: one frozen class a construct, named after the grammar's rules.

Trees compare by meaning alone: where something stands is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from attrs import field, fields, frozen

from bayesnas.dsl.amounts import amount_value, is_duration
from bayesnas.dsl.diagnostics import Span


@frozen
class Node:
    """The base of all constructs: where it stands in the text."""

    span: Span = field(eq=False, repr=False, kw_only=True)

    def parts(self) -> Iterator[Node]:
        """The constructs that it is made of, those of one level."""
        for entry in fields(type(self)):
            value = getattr(self, entry.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Node):
                    yield part


# ---------------------------------------------------------------------------------- expressions


@frozen
class Number(Node):
    """A whole number, 0 or more."""

    value: int


@frozen
class Name(Node):
    """A parameter or loop variable."""

    name: str


@frozen
class Unary(Node):
    """``-x`` or ``not x``."""

    operator: str
    operand: Expression


@frozen
class Binary(Node):
    """``left operator right``: ``+ - * // %``, comparisons, ``and``, ``or``."""

    operator: str
    left: Expression
    right: Expression


Expression: TypeAlias = Number | Name | Unary | Binary


# ----------------------------------------------------------------------------------- operations


@frozen
class Argument(Node):
    """``value`` or ``name = value`` in a call."""

    name: str | None
    value: Expression


@frozen
class Call(Node):
    """An operation, choice or primitive applied: ``sep_conv(3, stride = 2)``."""

    name: str
    arguments: tuple[Argument, ...]


@frozen
class Pipeline(Node):
    """``a >> b``: one after the other."""

    stages: tuple[OperationTerm, ...]


@frozen
class Parallel(Node):
    """``a + b``: several operations on one edge, summed."""

    branches: tuple[OperationTerm, ...]


@frozen
class Alternatives(Node):
    """``a | b``: candidate operations of a searched edge."""

    options: tuple[OperationTerm, ...]


@frozen
class Conditional(Node):
    """``if condition then a else b``, decided when the spec is expanded."""

    condition: Expression
    then: OperationTerm
    otherwise: OperationTerm


OperationTerm: TypeAlias = Call | Pipeline | Parallel | Alternatives | Conditional


# ----------------------------------------------------------------------------------- statements


@frozen
class Index(Node):
    """``[k]``: one element of a node list."""

    value: Expression


@frozen
class Slice(Node):
    """``[start..stop]``: elements from start up to, without, stop."""

    start: Expression | None
    stop: Expression | None


@frozen
class Reference(Node):
    """A node, an element of a node list, a slice of one, or all of it."""

    name: str
    index: Index | Slice | None = None


@frozen
class Declared(Node):
    """One name of a ``node`` statement, with its length if it is a list."""

    name: str
    size: Expression | None = None


@frozen
class NodeDeclaration(Node):
    """``node x, h[4]``: nodes that sum what arrives."""

    nodes: tuple[Declared, ...]


@frozen
class Merge(Node):
    """``target = concat(a, b)``: how the target joins what arrives, and first arrivals."""

    target: Reference
    merge: str
    sources: tuple[Reference, ...]


@frozen
class Transform(Node):
    """``target = source : operation``."""

    target: Reference
    source: Reference
    operation: OperationTerm


@frozen
class Connect(Node):
    """``{a, b} ~> {c} : operations`` (searched) or ``a -> b : operation`` (fixed)."""

    sources: tuple[Reference, ...]
    targets: tuple[Reference, ...]
    searched: bool
    operation: OperationTerm | None


@frozen
class Tie(Node):
    """``tied``: the instances around share one architecture; ``tied(k)``: all of the network."""

    index: Expression | None = None


@frozen
class Share(Node):
    """``shared``: the instances around are one module, of one architecture and the same weights."""


Sharing: TypeAlias = Tie | Share


@frozen
class Instantiation(Node):
    """``y, z = tied motif(a, b; width = 16)``."""

    targets: tuple[Reference, ...]
    motif: str
    inputs: tuple[Reference, ...]
    arguments: tuple[Argument, ...]
    tie: Sharing | None = None


@frozen
class Scan(Node):
    """``y, h = scan cell(series; width = 16) from start``: a motif at each position of series."""

    targets: tuple[Reference, ...]
    motif: str
    inputs: tuple[Reference, ...]
    arguments: tuple[Argument, ...]
    starts: tuple[Reference, ...]
    tie: Sharing | None = None


@frozen
class Chain(Node):
    """``y = tied chain cell(a, b; width = 16) times n reduce at i, j``."""

    targets: tuple[Reference, ...]
    motif: str
    inputs: tuple[Reference, ...]
    arguments: tuple[Argument, ...]
    length: Expression
    reductions: tuple[Expression, ...] = ()
    tie: Sharing | None = None


@frozen
class Loop(Node):
    """``for k in start..stop { ... }``."""

    variable: str
    start: Expression
    stop: Expression
    body: tuple[Statement, ...]


@frozen
class Branch(Node):
    """``if condition { ... } else { ... }``, decided when the spec is expanded."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@frozen
class Retain(Node):
    """``retain k into h``: at most k searched edges survive into each node."""

    count: Expression
    targets: tuple[Reference, ...]


@frozen
class Amount(Node):
    """A number with a unit as written: ``600K``, ``3.5M`` or ``2G``, or a time: ``5 ms``."""

    text: str

    @property
    def value(self) -> int:
        """The number it stands for, rounded down to a whole one; of a time nanoseconds."""
        return amount_value(self.text)

    @property
    def is_duration(self) -> bool:
        """Whether it is a time."""
        return is_duration(self.text)


@frozen
class Budget(Node):
    """``budget parameters <= 3.5M``: what a found network may cost at most, or take of time."""

    cost: str
    limit: Expression | Amount


MotifCall: TypeAlias = Instantiation | Scan | Chain
Statement: TypeAlias = (
    NodeDeclaration
    | Merge
    | Transform
    | Connect
    | Instantiation
    | Scan
    | Chain
    | Loop
    | Branch
    | Retain
    | Budget
)


# ---------------------------------------------------------------------------------- definitions


@frozen
class Parameter(Node):
    """A whole-number parameter, with its default if it has one."""

    name: str
    default: Expression | None = None


@frozen
class MotifParameter(Node):
    """``motif name`` or ``motif name = default``: a motif given where this one is used."""

    name: str
    default: str | None = None


AnyParameter: TypeAlias = Parameter | MotifParameter


@frozen
class Import(Node):
    """``import "ops/darts.nas"``."""

    path: str


@frozen
class OperationDefinition(Node):
    """``op name(parameters) = operation``."""

    name: str
    parameters: tuple[Parameter, ...]
    body: OperationTerm


@frozen
class ChoiceDefinition(Node):
    """``choice name(parameters) = a | b``."""

    name: str
    parameters: tuple[Parameter, ...]
    body: OperationTerm


@frozen
class Port(Node):
    """A named input or output of a motif, or of a network with its shape."""

    name: str
    shape: tuple[Expression, ...] | None = None


@frozen
class Motif(Node):
    """``motif name(inputs; parameters) -> (outputs) { ... }``."""

    name: str
    inputs: tuple[Port, ...]
    parameters: tuple[AnyParameter, ...]
    outputs: tuple[Port, ...]
    body: tuple[Statement, ...]


@frozen
class Network(Node):
    """A motif whose inputs are data and whose outputs are predictions: its ports have shapes."""

    name: str
    inputs: tuple[Port, ...]
    parameters: tuple[AnyParameter, ...]
    outputs: tuple[Port, ...]
    body: tuple[Statement, ...]


@frozen
class Setting(Node):
    """``name = value`` in a settings block; the value is a number, a word or a text."""

    name: str
    value: int | float | str


@frozen
class Settings(Node):
    """``search { ... }`` or ``train { ... }``: default settings of the space."""

    kind: str
    entries: tuple[Setting, ...]


@frozen
class Objective(Node):
    """``port = name(options) * weight`` in a ``learn`` block: what an output learns."""

    port: str
    name: str
    options: tuple[Setting, ...]
    weight: int | float | None


@frozen
class Learn(Node):
    """``learn { ... }``: what the outputs of the network learn."""

    entries: tuple[Objective, ...]


Definition: TypeAlias = (
    Import | OperationDefinition | ChoiceDefinition | Motif | Network | Settings | Learn
)


@frozen
class Spec(Node):
    """A whole file."""

    definitions: tuple[Definition, ...]
