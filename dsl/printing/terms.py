"""Operations, references and expressions as canonical text: what stands inside of statements."""

from __future__ import annotations

from typing_extensions import assert_never

from bayesnas.dsl import tree
from bayesnas.dsl.printing.layout import fill

_BINDING = {
    "or": 1, "and": 2,
    "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "//": 6, "%": 6,
}  # fmt: skip
_NOT, _NEGATIVE = 3, 7


# ----------------------------------------------------------------------------------- operations


def print_term(term: tree.OperationTerm, binding: int = 0) -> str:
    """An operation; parentheses where it binds weaker than ``binding`` asks."""
    match term:
        case tree.Call():
            if not term.arguments:
                return term.name
            return f"{term.name}({', '.join(map(print_argument, term.arguments))})"
        case tree.Conditional():
            text = (
                f"if {print_expression(term.condition)}"
                f" then {print_term(term.then)} else {print_term(term.otherwise)}"
            )
            level = 0
        case tree.Alternatives() | tree.Parallel() | tree.Pipeline():
            operator, parts, level = _joined(term)
            text = f" {operator} ".join(print_term(part, level + 1) for part in parts)
        case _:
            assert_never(term)
    return f"({text})" if level < binding else text


def _joined(
    term: tree.Alternatives | tree.Parallel | tree.Pipeline,
) -> tuple[str, tuple[tree.OperationTerm, ...], int]:
    """Its operator, its parts, and how strongly the operator binds."""
    match term:
        case tree.Alternatives(options=parts):
            return "|", parts, 1
        case tree.Parallel(branches=parts):
            return "+", parts, 2
        case tree.Pipeline(stages=parts):
            return ">>", parts, 3
        case _:
            assert_never(term)


def term_rows(term: tree.OperationTerm, width: int, one_each: bool) -> list[str]:
    """An operation on lines of its own, broken at its outermost operator where it must be.

    Plain operations fill lines; composed ones, and all of them if ``one_each``, get a line each.
    """
    whole = print_term(term)
    if len(whole) <= width and not one_each:
        return [whole]
    if isinstance(term, tree.Call):
        return [whole]
    if isinstance(term, tree.Conditional):
        return _cases(term)
    operator, parts, binding = _joined(term)
    texts = [print_term(part, binding + 1) for part in parts]
    if not one_each and all(isinstance(part, tree.Call) for part in parts):
        texts = fill(texts, f" {operator} ", width - len(operator) - 1)
    blank = " " * len(operator)
    return [f"{operator if k else blank} {text}" for k, text in enumerate(texts)]


def _cases(term: tree.Conditional) -> list[str]:
    rows, word = [], ""
    otherwise: tree.OperationTerm = term
    while isinstance(otherwise, tree.Conditional):
        condition, then = print_expression(otherwise.condition), print_term(otherwise.then)
        rows.append(f"{word}if {condition} then {then}")
        otherwise, word = otherwise.otherwise, "else "
    return [*rows, f"else {print_term(otherwise)}"]


def print_argument(argument: tree.Argument) -> str:
    """``3`` or ``stride = 2``."""
    value = print_expression(argument.value)
    return value if argument.name is None else f"{argument.name} = {value}"


def print_reference(reference: tree.Reference) -> str:
    """``h``, ``h[k]`` or ``h[1..k]``."""
    match reference.index:
        case None:
            return reference.name
        case tree.Index(value=value):
            return f"{reference.name}[{print_expression(value)}]"
        case tree.Slice(start=start, stop=stop):
            first = "" if start is None else print_expression(start)
            last = "" if stop is None else print_expression(stop)
            return f"{reference.name}[{first}..{last}]"
        case _:
            assert_never(reference.index)


# ---------------------------------------------------------------------------------- expressions


def print_expression(expression: tree.Expression, binding: int = 0) -> str:
    """An expression; parentheses where it binds weaker than ``binding`` asks."""
    match expression:
        case tree.Number():
            return str(expression.value)
        case tree.Name():
            return expression.name
        case tree.Unary(operator="not"):
            text, level = f"not {print_expression(expression.operand, _NOT)}", _NOT
        case tree.Unary():
            text, level = f"-{print_expression(expression.operand, _NEGATIVE)}", _NEGATIVE
        case tree.Binary():
            level = _BINDING[expression.operator]
            # Comparisons do not chain, so neither side of one may be another.
            left = print_expression(expression.left, level + (level == _BINDING["=="]))
            right = print_expression(expression.right, level + 1)
            text = f"{left} {expression.operator} {right}"
        case _:
            assert_never(expression)
    return f"({text})" if level < binding else text
