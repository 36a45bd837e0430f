"""Syntax tree to canonical text: ``parse(print_spec(tree)) == tree`` for every tree.

`print_lines` is what `formatter` builds on, which puts comments and empty lines back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from math import isinf
from typing import TypeAlias

import attrs
from typing_extensions import assert_never

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span
from bayesnas.dsl.printing.layout import INDENT, LINE, Line, fill, join_lines
from bayesnas.dsl.printing.terms import (
    print_argument,
    print_expression,
    print_reference,
    print_term,
    term_rows,
)
from bayesnas.dsl.words import KEYWORDS

Position: TypeAlias = tuple[int, int]  # line and column, from 1
Commented: TypeAlias = Callable[[Position, Position], bool]
_Item: TypeAlias = tuple[tree.Port | tree.AnyParameter | tree.Reference | tree.Argument, str]


def print_spec(spec: tree.Spec) -> str:
    """The whole file in canonical form, definitions separated by an empty line."""
    return join_lines(print_lines(spec))


def print_lines(spec: tree.Spec, commented: Commented = lambda _start, _end: False) -> list[Line]:
    """The lines of the canonical form.

    ``commented`` tells whether a comment stands somewhere after what precedes the first position
    and before the last word up to the second: what could stand on several lines then does.
    """
    printer = _Printer(commented)
    lines: list[Line] = []
    previous: tree.Definition | None = None
    for definition in spec.definitions:
        first, *rest = printer.definition(definition)
        compact = not isinstance(definition, tree.Motif | tree.Network | tree.Settings | tree.Learn)
        together = compact and type(previous) is type(definition)
        lines += [attrs.evolve(first, apart=previous is not None and not together), *rest]
        previous = definition
    return lines


@attrs.frozen
class _Printer:
    """Definitions and statements, which may take several lines."""

    commented: Commented

    def definition(self, definition: tree.Definition) -> list[Line]:
        match definition:
            case tree.Import():
                return [Line("", f'import "{definition.path}"')]
            case tree.OperationDefinition():
                head = f"op {definition.name}{_formals(definition.parameters)} ="
                return self.with_term(head, definition.body, "")
            case tree.ChoiceDefinition():
                head = f"choice {definition.name}{_formals(definition.parameters)} ="
                return self.with_term(head, definition.body, "")
            case tree.Motif():
                return self.graph("motif", definition)
            case tree.Network():
                return self.graph("network", definition)
            case tree.Settings():
                entries = [_assignment(entry) for entry in definition.entries]
                return self.entries(definition.kind, entries, definition.entries)
            case tree.Learn():
                entries = [_objective(entry) for entry in definition.entries]
                return self.entries("learn", entries, definition.entries)
            case _:
                assert_never(definition)

    def entries(
        self, kind: str, texts: Sequence[str], nodes: Sequence[tree.Setting | tree.Objective]
    ) -> list[Line]:
        """A block of entries; those of few letters on one line."""
        lines = [Line(INDENT, text) for text in texts]
        spans = [node.span for node in nodes]
        return self.braced(f"{kind} {{", lines, spans, "", "; ".join(texts))

    def graph(self, keyword: str, graph: tree.Motif | tree.Network) -> list[Line]:
        items = [(port, _port(port)) for port in graph.inputs]
        more = [(parameter, _parameter(parameter)) for parameter in graph.parameters]
        outputs = ", ".join(map(_port, graph.outputs))
        head, tail = f"{keyword} {graph.name}(", f") -> ({outputs}) {{"
        lines = self.with_list(head, items, more, tail, "")
        return [*lines, *self.block(graph.body, "")]

    def block(self, body: tuple[tree.Statement, ...], indent: str) -> list[Line]:
        """What a block holds and its last line."""
        lines = [line for s in body for line in self.statement(s, indent + INDENT)]
        return [*lines, Line(indent, "}", "end")]

    def statement(self, statement: tree.Statement, indent: str) -> list[Line]:
        match statement:
            case tree.Transform(target=target, source=source):
                head = f"{print_reference(target)} = {print_reference(source)} :"
                return self.with_term(head, statement.operation, indent)
            case tree.Connect():
                arrow = "~>" if statement.searched else "->"
                head = f"{_set(statement.sources)} {arrow} {_set(statement.targets)}"
                if statement.operation is None:
                    return [Line(indent, head)]
                return self.with_term(f"{head} :", statement.operation, indent)
            case tree.Merge(target=target, merge=merge):
                head = f"{print_reference(target)} = {merge}("
                items = [(source, print_reference(source)) for source in statement.sources]
                return self.with_list(head, items, [], ")", indent)
            case tree.Instantiation():
                head = f"{_references(statement.targets)} = {_tie(statement)}{statement.motif}("
                return self.with_list(head, *_given(statement), ")", indent)
            case tree.Scan():
                head = (
                    f"{_references(statement.targets)} = {_tie(statement)}scan {statement.motif}("
                )
                starts = f") from {_references(statement.starts)}"
                return self.with_list(head, *_given(statement), starts, indent)
            case tree.Chain():
                return self.chain(statement, indent)
            case tree.Loop():
                span = f"{print_expression(statement.start)}..{print_expression(statement.stop)}"
                return self.short(f"for {statement.variable} in {span} {{", statement.body, indent)
            case tree.Branch():
                return self.branch(statement, indent)
            case _:
                return [Line(indent, _simple(statement))]

    def branch(self, branch: tree.Branch, indent: str) -> list[Line]:
        head = f"if {print_expression(branch.condition)} {{"
        if not branch.otherwise:
            return self.short(head, branch.then, indent)
        between = Line(indent, "} else {", "end")
        then = self.block(branch.then, indent)[:-1]
        return [Line(indent, head), *then, between, *self.block(branch.otherwise, indent)]

    def short(self, head: str, body: tuple[tree.Statement, ...], indent: str) -> list[Line]:
        """A block, on one line if it holds one statement that is short enough."""
        lines = self.block(body, indent)[:-1]
        inside = lines[0].text if len(lines) == 1 else None
        return self.braced(head, lines, [s.span for s in body], indent, inside)

    def braced(
        self,
        head: str,
        lines: Sequence[Line],
        spans: Sequence[Span],
        indent: str,
        inside: str | None,
    ) -> list[Line]:
        """``head inside }`` on one line, or ``lines`` below the head where it may not be so."""
        line = Line(indent, f"{head} {inside} }}")
        fits = inside and len(str(line)) <= LINE
        if fits and not self.commented(_start(spans[0]), _end(spans[-1])):
            return [line]
        return [Line(indent, head), *lines, Line(indent, "}", "end")]

    def chain(self, chain: tree.Chain, indent: str) -> list[Line]:
        head = f"{_references(chain.targets)} = {_tie(chain)}chain {chain.motif}("
        times = f") times {print_expression(chain.length)}"
        lines = self.with_list(head, *_given(chain), times, indent)
        if not chain.reductions:
            return lines
        tail = "reduce at " + ", ".join(map(print_expression, chain.reductions))
        if not self.commented(_end(chain.length.span), _end(chain.span)):
            longer = self.with_list(head, *_given(chain), f"{times} {tail}", indent)
            if len(longer) == len(lines) and len(str(longer[-1])) <= LINE:
                return longer
        return [*lines, Line(indent + INDENT, tail, "more")]

    def with_list(
        self, head: str, items: Sequence[_Item], more: Sequence[_Item], tail: str, indent: str
    ) -> list[Line]:
        """``head items; more tail`` on one line, or the list below where that is too long."""
        texts = [f"{text}," for _, text in (*items, *more)]
        if more:
            texts[len(items) - 1] = f"{items[-1][1]};"
        if texts:
            texts[-1] = texts[-1][:-1]
        spans = [node.span for node, _ in (*items, *more)]
        commented = bool(spans) and self.commented(_start(spans[0]), _end(spans[-1]))
        line = Line(indent, f"{head}{' '.join(texts)}{tail}")
        if not texts or (not commented and len(str(line)) <= LINE):
            return [line]
        inner = indent + INDENT
        rows = texts if commented else fill(texts, " ", LINE - len(inner))
        lines = (Line(inner, row, "more") for row in rows)
        return [Line(indent, head), *lines, Line(indent, tail, "close")]

    def with_term(self, head: str, body: tree.OperationTerm, indent: str) -> list[Line]:
        """``head body`` on one line, or the body below where that is too long or commented."""
        line = f"{head} {print_term(body)}"
        commented = self.commented(_start(body.span), _end(body.span))
        if not commented and len(indent) + len(line) <= LINE:
            return [Line(indent, line)]
        inner = indent + INDENT
        rows = term_rows(body, LINE - len(inner), one_each=commented)
        return [Line(indent, head), *(Line(inner, row, "more") for row in rows)]


def _start(span: Span) -> Position:
    return span.line, span.column


def _end(span: Span) -> Position:
    return span.end_line, span.end_column


def _port(port: tree.Port) -> str:
    if port.shape is None:
        return port.name
    return f"{port.name}: [{', '.join(map(print_expression, port.shape))}]"


def _assignment(entry: tree.Setting) -> str:
    return f"{entry.name} = {_setting(entry.value)}"


def _objective(entry: tree.Objective) -> str:
    options = ", ".join(map(_assignment, entry.options))
    weight = "" if entry.weight is None else f" * {_setting(entry.weight)}"
    return f"{entry.port} = {entry.name}" + (f"({options})" if options else "") + weight


def _setting(value: int | float | str) -> str:
    if isinstance(value, str):
        bare = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) and value not in KEYWORDS
        return value if bare else f'"{value}"'
    return str(value) if isinstance(value, int) else _real(value)


def _real(value: float) -> str:
    if isinf(value):
        return "1e999" if value > 0 else "-1e999"
    text = repr(value)
    if "e" not in text and (value == 0 or abs(value) >= 1e-3):
        return text
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    first, *rest = map(str, digits)
    mantissa = f"{first}.{''.join(rest)}" if rest else first
    return f"{'-' * sign}{mantissa}e{int(exponent) + len(rest)}"


def _formals(parameters: tuple[tree.Parameter, ...]) -> str:
    return f"({_parameters(parameters)})" if parameters else ""


def _parameters(parameters: tuple[tree.AnyParameter, ...]) -> str:
    return ", ".join(map(_parameter, parameters))


def _parameter(parameter: tree.AnyParameter) -> str:
    match parameter:
        case tree.MotifParameter(name=name, default=motif):
            return f"motif {name}" if motif is None else f"motif {name} = {motif}"
        case tree.Parameter(name=name, default=default):
            return name if default is None else f"{name} = {print_expression(default)}"
        case _:
            assert_never(parameter)


# ----------------------------------------------------------------------------------- statements


_Simple: TypeAlias = tree.NodeDeclaration | tree.Retain | tree.Budget


def _simple(statement: _Simple) -> str:
    """A statement of one line."""
    match statement:
        case tree.NodeDeclaration():
            return "node " + ", ".join(map(_declared, statement.nodes))
        case tree.Retain():
            count = print_expression(statement.count)
            return f"retain {count} into {_references(statement.targets)}"
        case tree.Budget(limit=limit):
            text = limit.text if isinstance(limit, tree.Amount) else print_expression(limit)
            return f"budget {statement.cost} <= {text}"
        case _:
            assert_never(statement)


def _declared(declared: tree.Declared) -> str:
    if declared.size is None:
        return declared.name
    return f"{declared.name}[{print_expression(declared.size)}]"


def _tie(statement: tree.MotifCall) -> str:
    match statement.tie:
        case None:
            return ""
        case tree.Share():
            return "shared "
        case tree.Tie(index=index):
            return "tied " if index is None else f"tied({print_expression(index)}) "
        case _:
            assert_never(statement.tie)


def _given(statement: tree.MotifCall) -> tuple[list[_Item], list[_Item]]:
    """The inputs and the arguments of a motif."""
    inputs: list[_Item] = [(given, print_reference(given)) for given in statement.inputs]
    arguments: list[_Item] = [(given, print_argument(given)) for given in statement.arguments]
    return inputs, arguments


def _set(references: tuple[tree.Reference, ...]) -> str:
    if len(references) == 1:
        return print_reference(references[0])
    return f"{{{_references(references)}}}"


def _references(references: tuple[tree.Reference, ...]) -> str:
    return ", ".join(map(print_reference, references))
