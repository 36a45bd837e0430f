"""The syntax tree: one frozen class a construct, named after the grammar's rules.

Every node carries its span outside equality, so that trees compare by meaning alone.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from bayesnas.dsl.amounts import amount_value, is_duration
from bayesnas.dsl.diagnostics import Span

# ---------------------------------------------------------------------------------- expressions


@frozen
class Number:
    """A whole number, 0 or more."""

    value: int
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Name:
    """A parameter or loop variable."""

    name: str
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Unary:
    """``-x`` or ``not x``."""

    operator: str
    operand: Expression
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Binary:
    """``left operator right``: ``+ - * // %``, comparisons, ``and``, ``or``."""

    operator: str
    left: Expression
    right: Expression
    span: Span = field(eq=False, repr=False, kw_only=True)


Expression: TypeAlias = Number | Name | Unary | Binary


# ----------------------------------------------------------------------------------- operations


@frozen
class Argument:
    """``value`` or ``name = value`` in a call."""

    name: str | None
    value: Expression
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Call:
    """An operation, choice or primitive applied: ``sep_conv(3, stride = 2)``."""

    name: str
    arguments: tuple[Argument, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Pipeline:
    """``a >> b``: one after the other."""

    stages: tuple[OperationTerm, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Parallel:
    """``a + b``: several operations on one edge, summed."""

    branches: tuple[OperationTerm, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Alternatives:
    """``a | b``: candidate operations of a searched edge."""

    options: tuple[OperationTerm, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Conditional:
    """``if condition then a else b``, decided when the spec is expanded."""

    condition: Expression
    then: OperationTerm
    otherwise: OperationTerm
    span: Span = field(eq=False, repr=False, kw_only=True)


OperationTerm: TypeAlias = Call | Pipeline | Parallel | Alternatives | Conditional


# ----------------------------------------------------------------------------------- statements


@frozen
class Index:
    """``[k]``: one element of a node list."""

    value: Expression
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Slice:
    """``[start..stop]``: elements from start up to, without, stop."""

    start: Expression | None
    stop: Expression | None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Reference:
    """A node, an element of a node list, a slice of one, or all of it."""

    name: str
    index: Index | Slice | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Declared:
    """One name of a ``node`` statement, with its length if it is a list."""

    name: str
    size: Expression | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class NodeDeclaration:
    """``node x, h[4]``: nodes that sum what arrives."""

    nodes: tuple[Declared, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Merge:
    """``target = concat(a, b)``: how the target joins what arrives, and first arrivals."""

    target: Reference
    merge: str
    sources: tuple[Reference, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Transform:
    """``target = source : operation``."""

    target: Reference
    source: Reference
    operation: OperationTerm
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Connect:
    """``{a, b} ~> {c} : operations`` (searched) or ``a -> b : operation`` (fixed)."""

    sources: tuple[Reference, ...]
    targets: tuple[Reference, ...]
    searched: bool
    operation: OperationTerm | None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Tie:
    """``tied``: the instances around share one architecture; ``tied(k)``: all of the network."""

    index: Expression | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Share:
    """``shared``: the instances around are one module, of one architecture and the same weights."""

    span: Span = field(eq=False, repr=False, kw_only=True)


Sharing: TypeAlias = Tie | Share


@frozen
class Instantiation:
    """``y, z = tied motif(a, b; width = 16)``."""

    targets: tuple[Reference, ...]
    motif: str
    inputs: tuple[Reference, ...]
    arguments: tuple[Argument, ...]
    tie: Sharing | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Scan:
    """``y, h = scan cell(series; width = 16) from start``: a motif at each position of series."""

    targets: tuple[Reference, ...]
    motif: str
    inputs: tuple[Reference, ...]
    arguments: tuple[Argument, ...]
    starts: tuple[Reference, ...]
    tie: Sharing | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Chain:
    """``y = tied chain cell(a, b; width = 16) times n reduce at i, j``."""

    targets: tuple[Reference, ...]
    motif: str
    inputs: tuple[Reference, ...]
    arguments: tuple[Argument, ...]
    length: Expression
    reductions: tuple[Expression, ...] = ()
    tie: Sharing | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Loop:
    """``for k in start..stop { ... }``."""

    variable: str
    start: Expression
    stop: Expression
    body: tuple[Statement, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Branch:
    """``if condition { ... } else { ... }``, decided when the spec is expanded."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Retain:
    """``retain k into h``: at most k searched edges survive into each node."""

    count: Expression
    targets: tuple[Reference, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Amount:
    """A number with a unit as written: ``600K``, ``3.5M`` or ``2G``, or a time: ``5 ms``."""

    text: str
    span: Span = field(eq=False, repr=False, kw_only=True)

    @property
    def value(self) -> int:
        """The number it stands for, rounded down to a whole one; of a time nanoseconds."""
        return amount_value(self.text)

    @property
    def is_duration(self) -> bool:
        """Whether it is a time."""
        return is_duration(self.text)


@frozen
class Budget:
    """``budget parameters <= 3.5M``: what a found network may cost at most, or take of time."""

    cost: str
    limit: Expression | Amount
    span: Span = field(eq=False, repr=False, kw_only=True)


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
class Parameter:
    """A whole-number parameter, with its default if it has one."""

    name: str
    default: Expression | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class MotifParameter:
    """``motif name`` or ``motif name = default``: a motif given where this one is used."""

    name: str
    default: str | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


AnyParameter: TypeAlias = Parameter | MotifParameter


@frozen
class Import:
    """``import "ops/darts.nas"``."""

    path: str
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class OperationDefinition:
    """``op name(parameters) = operation``."""

    name: str
    parameters: tuple[Parameter, ...]
    body: OperationTerm
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class ChoiceDefinition:
    """``choice name(parameters) = a | b``."""

    name: str
    parameters: tuple[Parameter, ...]
    body: OperationTerm
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Port:
    """A named input or output of a motif, or of a network with its shape."""

    name: str
    shape: tuple[Expression, ...] | None = None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Motif:
    """``motif name(inputs; parameters) -> (outputs) { ... }``."""

    name: str
    inputs: tuple[Port, ...]
    parameters: tuple[AnyParameter, ...]
    outputs: tuple[Port, ...]
    body: tuple[Statement, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Network:
    """A motif whose inputs are data and whose outputs are predictions: its ports have shapes."""

    name: str
    inputs: tuple[Port, ...]
    parameters: tuple[AnyParameter, ...]
    outputs: tuple[Port, ...]
    body: tuple[Statement, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Setting:
    """``name = value`` in a settings block; the value is a number, a word or a text."""

    name: str
    value: int | float | str
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Settings:
    """``search { ... }`` or ``train { ... }``: default settings of the space."""

    kind: str
    entries: tuple[Setting, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Objective:
    """``port = name(options) * weight`` in a ``learn`` block: what an output learns."""

    port: str
    name: str
    options: tuple[Setting, ...]
    weight: int | float | None
    span: Span = field(eq=False, repr=False, kw_only=True)


@frozen
class Learn:
    """``learn { ... }``: what the outputs of the network learn."""

    entries: tuple[Objective, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)


Definition: TypeAlias = (
    Import | OperationDefinition | ChoiceDefinition | Motif | Network | Settings | Learn
)


@frozen
class Spec:
    """A whole file."""

    definitions: tuple[Definition, ...]
    span: Span = field(eq=False, repr=False, kw_only=True)
