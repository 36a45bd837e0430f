"""Lark's parse tree to the syntax tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from lark import Token, Transformer, Tree, v_args
from lark.tree import Meta

from bayesnas.dsl import tree
from bayesnas.dsl.amounts import MAX_DIGITS, spaced
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span, quote

T = TypeVar("T")


def built(parsed: Tree[Token], source: Source) -> tree.Spec:
    """The syntax tree of what Lark has read of a text.

    Raises:
        VisitError: around a DiagnosticError: D101 (what the grammar does not refuse), D102 (too
            many digits), D105 (several targets where one is meant).
    """
    return _Builder(source).transform(parsed)


def _present(children: Sequence[T | None]) -> tuple[T, ...]:
    return tuple(child for child in children if child is not None)


def _fold(children: list[Any], word: str | None = None) -> tree.Expression:
    """Left-associative binary expression of ``a + b - c``, or of operands joined by ``word``."""
    result: tree.Expression = children[0]
    rest = children[1:] if word is None else [x for c in children[1:] for x in (word, c)]
    for operator, right in zip(rest[::2], rest[1::2], strict=True):
        first, last = result.span, right.span
        span = Span(first.source, first.line, first.column, last.end_line, last.end_column)
        result = tree.Binary(str(operator), result, right, span=span)
    return result


@v_args(meta=True)
class _Builder(Transformer[Token, tree.Spec]):
    """A method a rule."""

    def __init__(self, source: Source) -> None:
        super().__init__(visit_tokens=False)
        self.source = source

    def span(self, meta: Meta) -> Span:
        if meta.empty:
            return Span(self.source, 1, 1, 1, 1)
        return Span(self.source, meta.line, meta.column, meta.end_line, meta.end_column)

    def token_span(self, token: Token) -> Span:
        line, column = token.line or 1, token.column or 1
        end_line, end_column = token.end_line or line, token.end_column or column + len(token)
        return Span(self.source, line, column, end_line, end_column)

    # definitions

    def spec(self, meta: Meta, children: list[Any]) -> tree.Spec:
        return tree.Spec(tuple(children), span=self.span(meta))

    def import_file(self, meta: Meta, children: list[Any]) -> tree.Import:
        return tree.Import(str(children[0])[1:-1], span=self.span(meta))

    def operation(self, _meta: Meta, children: list[Any]) -> tree.OperationDefinition:
        name, formals, body = children
        return tree.OperationDefinition(str(name), formals or (), body, span=self.token_span(name))

    def choice(self, _meta: Meta, children: list[Any]) -> tree.ChoiceDefinition:
        name, formals, body = children
        return tree.ChoiceDefinition(str(name), formals or (), body, span=self.token_span(name))

    def motif(self, _meta: Meta, children: list[Any]) -> tree.Motif:
        name, inputs, parameters, outputs, body = children
        return tree.Motif(
            str(name), inputs, parameters or (), outputs, body, span=self.token_span(name)
        )

    def network(self, _meta: Meta, children: list[Any]) -> tree.Network:
        name, inputs, parameters, outputs, body = children
        return tree.Network(
            str(name), inputs, parameters or (), outputs, body, span=self.token_span(name)
        )

    def settings(self, meta: Meta, children: list[Any]) -> tree.Settings:
        return tree.Settings(str(children[0]), tuple(children[1:]), span=self.span(meta))

    def setting(self, meta: Meta, children: list[Any]) -> tree.Setting:
        name, token = children
        value: int | float | str
        if token.type in ("INTEGER", "REAL"):
            value = self._number(token)
        else:
            value = str(token)[1:-1] if token.type == "STRING" else str(token)
        return tree.Setting(str(name), value, span=self.span(meta))

    def _number(self, token: Token) -> int | float:
        return self._whole(token) if token.type == "INTEGER" else float(token)

    def learn(self, meta: Meta, children: list[Any]) -> tree.Learn:
        return tree.Learn(tuple(children), span=self.span(meta))

    def objective(self, meta: Meta, children: list[Any]) -> tree.Objective:
        port, name, options, weight = children
        weight = None if weight is None else self._number(weight)
        return tree.Objective(str(port), str(name), options or (), weight, span=self.span(meta))

    def options(self, _meta: Meta, children: list[Any]) -> tuple[tree.Setting, ...]:
        return tuple(children)

    def formals(self, _meta: Meta, children: list[Any]) -> tuple[tree.Parameter, ...]:
        for parameter in children[0]:
            if isinstance(parameter, tree.MotifParameter):
                message = "an operation takes no motif as a parameter"
                remedy = "only motifs take motifs"
                raise DiagnosticError(Diagnostic("D101", message, parameter.span, help=remedy))
        return children[0]  # type: ignore[no-any-return]

    def parameters(self, _meta: Meta, children: list[Any]) -> tuple[tree.AnyParameter, ...]:
        return tuple(children)

    def parameter(self, meta: Meta, children: list[Any]) -> tree.Parameter:
        return tree.Parameter(str(children[0]), children[1], span=self.span(meta))

    def motif_parameter(self, meta: Meta, children: list[Any]) -> tree.MotifParameter:
        name, default = children
        default = None if default is None else str(default)
        return tree.MotifParameter(str(name), default, span=self.span(meta))

    def ports(self, _meta: Meta, children: list[Any]) -> tuple[tree.Port, ...]:
        return tuple(children)

    def port(self, meta: Meta, children: list[Any]) -> tree.Port:
        return tree.Port(str(children[0]), span=self.span(meta))

    def shaped_ports(self, _meta: Meta, children: list[Any]) -> tuple[tree.Port, ...]:
        return tuple(children)

    def shaped_port(self, meta: Meta, children: list[Any]) -> tree.Port:
        return tree.Port(str(children[0]), tuple(children[1:]), span=self.span(meta))

    # statements

    def block(self, _meta: Meta, children: list[Any]) -> tuple[tree.Statement, ...]:
        return tuple(children)

    def nodes(self, meta: Meta, children: list[Any]) -> tree.NodeDeclaration:
        return tree.NodeDeclaration(tuple(children), span=self.span(meta))

    def declared(self, meta: Meta, children: list[Any]) -> tree.Declared:
        return tree.Declared(str(children[0]), children[1], span=self.span(meta))

    def merge(self, meta: Meta, children: list[Any]) -> tree.Merge:
        target = self._single(children[0])
        return tree.Merge(target, str(children[1]), _present(children[2:]), span=self.span(meta))

    def transform_statement(self, meta: Meta, children: list[Any]) -> tree.Transform:
        targets, source, term = children
        return tree.Transform(self._single(targets), source, term, span=self.span(meta))

    def connect(self, meta: Meta, children: list[Any]) -> tree.Connect:
        sources, arrow, targets, term = children
        return tree.Connect(sources, targets, str(arrow) == "~>", term, span=self.span(meta))

    def instance(self, meta: Meta, children: list[Any]) -> tree.Instantiation:
        targets, tie, (name, inputs, arguments) = children
        return tree.Instantiation(targets, name, inputs, arguments, tie, span=self.span(meta))

    def scan(self, meta: Meta, children: list[Any]) -> tree.Scan:
        targets, tie, (name, inputs, arguments), *starts = children
        return tree.Scan(targets, name, inputs, arguments, tuple(starts), tie, span=self.span(meta))

    def chain(self, meta: Meta, children: list[Any]) -> tree.Chain:
        targets, tie, (name, inputs, arguments), length, reductions = children
        return tree.Chain(
            targets,
            name,
            inputs,
            arguments,
            length,
            reductions or (),
            tie,
            span=self.span(meta),
        )

    def tie(self, meta: Meta, children: list[Any]) -> tree.Tie:
        return tree.Tie(children[0], span=self.span(meta))

    def share(self, meta: Meta, _children: list[Any]) -> tree.Share:
        return tree.Share(span=self.span(meta))

    def reductions(self, _meta: Meta, children: list[Any]) -> tuple[tree.Expression, ...]:
        return tuple(children)

    def call_motif(self, _meta: Meta, children: list[Any]) -> tuple[str, Any, Any]:
        rest = _present(children[1:])
        inputs = tuple(x for x in rest if isinstance(x, tree.Reference))
        arguments = tuple(x for x in rest if isinstance(x, tree.Argument))
        return str(children[0]), inputs, arguments

    def loop(self, meta: Meta, children: list[Any]) -> tree.Loop:
        variable, start, stop, body = children
        return tree.Loop(str(variable), start, stop, body, span=self.span(meta))

    def branch(self, meta: Meta, children: list[Any]) -> tree.Branch:
        condition, then, otherwise = children
        return tree.Branch(condition, then, otherwise or (), span=self.span(meta))

    def retain(self, meta: Meta, children: list[Any]) -> tree.Retain:
        return tree.Retain(children[0], tuple(children[1:]), span=self.span(meta))

    def budget(self, meta: Meta, children: list[Any]) -> tree.Budget:
        cost, comparison, limit = children
        if comparison != "<=":
            message = f"a budget is an upper bound, and this is `{comparison}`"
            span = self.token_span(comparison)
            raise DiagnosticError(Diagnostic("D101", message, span, help="write `<=`"))
        if isinstance(limit, Token):
            limit = self._amount(limit)
        return tree.Budget(str(cost), limit, span=self.span(meta))

    def _amount(self, token: Token) -> tree.Amount:
        self._check_digits(token)
        return tree.Amount(spaced(token), span=self.token_span(token))

    def targets(self, _meta: Meta, children: list[Any]) -> tuple[tree.Reference, ...]:
        return tuple(children)

    references = targets

    def reference(self, meta: Meta, children: list[Any]) -> tree.Reference:
        return tree.Reference(str(children[0]), children[1], span=self.span(meta))

    def index(self, meta: Meta, children: list[Any]) -> tree.Index:
        return tree.Index(children[0], span=self.span(meta))

    def slice(self, meta: Meta, children: list[Any]) -> tree.Slice:
        return tree.Slice(children[0], children[1], span=self.span(meta))

    def _single(self, targets: tuple[tree.Reference, ...]) -> tree.Reference:
        if len(targets) > 1:
            raise DiagnosticError(
                Diagnostic(
                    "D105",
                    f"{quote(t.name for t in targets)} cannot be defined together here",
                    targets[1].span,
                    "a second target",
                    help="only a motif has several outputs; define one node a statement",
                )
            )
        return targets[0]

    # operations

    def conditional(self, meta: Meta, children: list[Any]) -> tree.Conditional:
        return tree.Conditional(*children, span=self.span(meta))

    def alternatives(self, meta: Meta, children: list[Any]) -> tree.Alternatives:
        return tree.Alternatives(tuple(children), span=self.span(meta))

    def parallel(self, meta: Meta, children: list[Any]) -> tree.Parallel:
        return tree.Parallel(tuple(children), span=self.span(meta))

    def pipeline(self, meta: Meta, children: list[Any]) -> tree.Pipeline:
        return tree.Pipeline(tuple(children), span=self.span(meta))

    def call(self, meta: Meta, children: list[Any]) -> tree.Call:
        return tree.Call(str(children[0]), _present(children[1:]), span=self.span(meta))

    def argument(self, meta: Meta, children: list[Any]) -> tree.Argument:
        name, value = children
        return tree.Argument(None if name is None else str(name), value, span=self.span(meta))

    # expressions

    def number(self, meta: Meta, children: list[Any]) -> tree.Number:
        return tree.Number(self._whole(children[0]), span=self.span(meta))

    def _whole(self, token: Token) -> int:
        self._check_digits(token)
        return int(token)

    def _check_digits(self, token: Token) -> None:
        if len(token) > MAX_DIGITS:
            raise DiagnosticError(
                Diagnostic(
                    "D102",
                    f"a number of {len(token)} digits",
                    self.token_span(token),
                    help=f"write at most {MAX_DIGITS} digits",
                )
            )

    def name(self, meta: Meta, children: list[Any]) -> tree.Name:
        return tree.Name(str(children[0]), span=self.span(meta))

    def unary(self, meta: Meta, children: list[Any]) -> tree.Unary:
        return tree.Unary("not", children[0], span=self.span(meta))

    def negative(self, meta: Meta, children: list[Any]) -> tree.Unary:
        return tree.Unary("-", children[0], span=self.span(meta))

    def sum(self, _meta: Meta, children: list[Any]) -> tree.Expression:
        return _fold(children)

    product = comparison = sum

    def conjunction(self, _meta: Meta, children: list[Any]) -> tree.Expression:
        return _fold(children, "and")

    def expression(self, _meta: Meta, children: list[Any]) -> tree.Expression:
        return _fold(children, "or")
