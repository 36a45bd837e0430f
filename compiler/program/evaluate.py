"""Whole-number expressions: their value, and their substitution into one another."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve
from typing_extensions import assert_never

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

LARGEST: Final = 10**12
_BINARY: Final[Mapping[str, Callable[[int, int], int]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(expression: tree.Expression, values: Mapping[str, int]) -> int:
    """The value of an expression; conditions are 0 or 1.

    Raises:
        DiagnosticError: D205 (unknown name), D220 (division by zero), D221 (number too large).
    """
    match expression:
        case tree.Number(value=value):
            result = value
        case tree.Name(name=name):
            if name not in values:
                raise DiagnosticError(
                    Diagnostic("D205", f"`{name}` has no value here", expression.span)
                )
            result = values[name]
        case tree.Unary(operator=sign, operand=operand):
            inner = evaluate(operand, values)
            result = int(not inner) if sign == "not" else -inner
        case tree.Binary():
            result = _binary(expression, values)
        case _:
            assert_never(expression)
    if abs(result) > LARGEST:
        raise DiagnosticError(
            Diagnostic(
                "D221",
                "number beyond 10^12",
                expression.span,
                help="choose smaller parameters",
            )
        )
    return result


def _binary(expression: tree.Binary, values: Mapping[str, int]) -> int:
    left = evaluate(expression.left, values)
    if expression.operator == "and":
        return int(bool(left) and bool(evaluate(expression.right, values)))
    if expression.operator == "or":
        return int(bool(left) or bool(evaluate(expression.right, values)))
    right = evaluate(expression.right, values)
    if right == 0 and expression.operator in ("//", "%"):
        raise DiagnosticError(
            Diagnostic(
                "D220",
                "division by zero",
                expression.right.span,
                "is 0 here",
                help="guard it with `if`, or choose other parameters",
            )
        )
    return int(_BINARY[expression.operator](left, right))


def substitute(
    expression: tree.Expression, values: Mapping[str, tree.Expression]
) -> tree.Expression:
    """The expression with names replaced; what has become constant is computed."""
    result: tree.Unary | tree.Binary
    parts: tuple[tree.Expression, ...]
    match expression:
        case tree.Number():
            return expression
        case tree.Name(name=name):
            number = values.get(name, expression)
            # A number stands where the name stood, so that an error there has its place.
            return (
                evolve(number, span=expression.span) if isinstance(number, tree.Number) else number
            )
        case tree.Unary():
            parts = (substitute(expression.operand, values),)
            result = evolve(expression, operand=parts[0])
        case tree.Binary():
            parts = (substitute(expression.left, values), substitute(expression.right, values))
            result = evolve(expression, left=parts[0], right=parts[1])
        case _:
            assert_never(expression)
    if all(isinstance(part, tree.Number) for part in parts):
        try:
            value = evaluate(result, {})
        except DiagnosticError:  # what a condition guards may have no value
            return result
        if value >= 0:
            return tree.Number(value, span=expression.span)
    return result


def substitute_term(
    term: tree.OperationTerm, values: Mapping[str, tree.Expression]
) -> tree.OperationTerm:
    """The operation with names in its arguments and conditions replaced."""
    match term:
        case tree.Call():
            arguments = tuple(evolve(a, value=substitute(a.value, values)) for a in term.arguments)
            return evolve(term, arguments=arguments)
        case tree.Pipeline():
            return evolve(term, stages=tuple(substitute_term(t, values) for t in term.stages))
        case tree.Parallel():
            return evolve(term, branches=tuple(substitute_term(t, values) for t in term.branches))
        case tree.Alternatives():
            return evolve(term, options=tuple(substitute_term(t, values) for t in term.options))
        case tree.Conditional():
            return evolve(
                term,
                condition=substitute(term.condition, values),
                then=substitute_term(term.then, values),
                otherwise=substitute_term(term.otherwise, values),
            )
        case _:
            assert_never(term)
