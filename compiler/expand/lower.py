"""Operation terms to operations: choices to candidates, calls to the primitives they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from typing_extensions import assert_never

from bayesnas.compiler.expand.calls import complete
from bayesnas.compiler.graph.model import AnyStage, Operation, ParallelStage, Stage
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.program.definitions import OperationLike, Program
from bayesnas.compiler.program.evaluate import evaluate, substitute, substitute_term
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.dsl.printing.terms import print_expression

IDENTITY = Operation("skip", "skip", (Stage("skip", ()),))


def candidates(
    term: tree.OperationTerm, program: Program, values: Mapping[str, int]
) -> Iterator[tree.OperationTerm]:
    """The candidate operations a searched edge's term stands for, as written, choices opened."""
    match term:
        case tree.Alternatives(options=options):
            for option in options:
                yield from candidates(option, program, values)
        case tree.Call() if isinstance(
            choice := program.operations.get(term.name), tree.ChoiceDefinition
        ):
            actual = _bind(choice, term)
            yield from candidates(substitute_term(choice.body, actual), program, values)
        case tree.Conditional() if _has_candidates(term, program):
            chosen = term.then if evaluate(term.condition, values) else term.otherwise
            yield from candidates(chosen, program, values)
        case _:
            yield term


def _has_candidates(term: tree.OperationTerm, program: Program) -> bool:
    match term:
        case tree.Alternatives():
            return True
        case tree.Call(name=name):
            return isinstance(program.operations.get(name), tree.ChoiceDefinition)
        case tree.Conditional(then=then, otherwise=otherwise):
            return _has_candidates(then, program) or _has_candidates(otherwise, program)
        case _:
            return False


def _bind(definition: OperationLike, call: tree.Call) -> dict[str, tree.Expression]:
    """Formal parameters to the expressions given for them; resolve has checked the fit."""
    names = [p.name for p in definition.parameters]
    actual = {(a.name or names[n]): a.value for n, a in enumerate(call.arguments)}
    for parameter in definition.parameters:
        if parameter.name not in actual:
            assert parameter.default is not None
            actual[parameter.name] = substitute(parameter.default, actual)
    return actual


def lower(term: tree.OperationTerm, program: Program, values: Mapping[str, int]) -> Operation:
    """One operation with every number known.

    Raises:
        DiagnosticError: D220 or D221 where an expression has no value.
    """
    term = _decide(term, values)
    label = _label(term, program, values)
    name = _plain(_name(term, program, values))
    definition, span = None, None
    if isinstance(term, tree.Call) and term.name in program.operations:
        definition, span = term.name, program.operations[term.name].span
    return Operation(label, name, _stages(term, program, values), definition, span)


def tie_name(term: tree.OperationTerm, program: Program, values: Mapping[str, int]) -> str:
    """Like an operation's name, but with its arguments as written.

    Tied instances of different widths share it: ``f(width)`` is `f_width` in all of them.
    """
    term = _decide(term, values)
    if not isinstance(term, tree.Call):
        return _plain(_name(term, program, values))
    names = list(_required(term, program))
    given = {(a.name or names[n]): a.value for n, a in enumerate(term.arguments)}
    required = [n for n, default in _required(term, program).items() if default is None]
    texts = [print_expression(given[n]) if n in given else n for n in required]
    return _plain("_".join([term.name, *texts]))


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_") or "_"  # a spec may call an operation `__`


def _decide(term: tree.OperationTerm, values: Mapping[str, int]) -> tree.OperationTerm:
    while isinstance(term, tree.Conditional):
        term = term.then if evaluate(term.condition, values) else term.otherwise
    return term


def _stages(
    term: tree.OperationTerm, program: Program, values: Mapping[str, int]
) -> tuple[AnyStage, ...]:
    match term:
        case tree.Call():
            return _call_stages(term, program, values)
        case tree.Pipeline(stages=stages):
            return tuple(s for stage in stages for s in _stages(stage, program, values))
        case tree.Parallel(branches=branches):
            return (ParallelStage(tuple(_stages(b, program, values) for b in branches)),)
        case tree.Conditional():
            return _stages(_decide(term, values), program, values)
        case tree.Alternatives():
            raise AssertionError("resolve lets candidates stand on searched edges alone")
        case _:
            assert_never(term)


def _call_stages(
    call: tree.Call, program: Program, values: Mapping[str, int]
) -> tuple[AnyStage, ...]:
    arguments = _values(call, program, values)
    if call.name in PRIMITIVES:
        return (Stage(call.name, tuple(arguments.items()), call.span),)
    return _stages(program.operations[call.name].body, program, arguments)


def _values(call: tree.Call, program: Program, values: Mapping[str, int]) -> dict[str, int]:
    """The numbers of a call by parameter; an operation's defaults included, in order."""
    if call.name in PRIMITIVES:
        return _given(call, list(PRIMITIVES[call.name].parameters), values)
    definition = program.operations[call.name]
    given = _given(call, [p.name for p in definition.parameters], values)
    return complete(definition, given)


def _given(call: tree.Call, names: list[str], values: Mapping[str, int]) -> dict[str, int]:
    return {(a.name or names[n]): evaluate(a.value, values) for n, a in enumerate(call.arguments)}


def _required(call: tree.Call, program: Program) -> dict[str, int | None]:
    """Parameters of what is called with their default's value; None where one is required."""
    if call.name in PRIMITIVES:
        return dict(PRIMITIVES[call.name].parameters)
    result: dict[str, int | None] = {}
    for parameter in program.operations[call.name].parameters:
        numbers = {n: v for n, v in result.items() if v is not None}
        try:
            default = None if parameter.default is None else evaluate(parameter.default, numbers)
        except DiagnosticError:  # it depends on a required one: shown like a required one
            default = None
        result[parameter.name] = default
    return result


def _label(term: tree.OperationTerm, program: Program, values: Mapping[str, int]) -> str:
    """Required arguments by position, others where they differ from their default."""
    match term:
        case tree.Call():
            numbers = _values(term, program, values)
            shown = [
                str(numbers[n]) if default is None else f"{n}={numbers[n]}"
                for n, default in _required(term, program).items()
                if n in numbers and numbers[n] != default
            ]
            return f"{term.name}({', '.join(shown)})" if shown else term.name
        case tree.Pipeline(stages=parts):
            terms = [_decide(part, values) for part in parts]
            labels = [_label(part, program, values) for part in terms]
            return " >> ".join(
                f"({label})" if isinstance(part, tree.Parallel) else label
                for part, label in zip(terms, labels, strict=True)
            )
        case tree.Parallel(branches=parts):
            return " + ".join(_label(_decide(p, values), program, values) for p in parts)
        case _:
            raise AssertionError(f"{term} is decided before it is labelled")


def _name(term: tree.OperationTerm, program: Program, values: Mapping[str, int]) -> str:
    """An identifier from the required arguments alone: the same at every stride and width."""
    match term:
        case tree.Call():
            numbers = _values(term, program, values)
            required = [n for n, default in _required(term, program).items() if default is None]
            return "_".join([term.name, *(str(numbers[n]) for n in required)])
        case tree.Pipeline(stages=parts) | tree.Parallel(branches=parts):
            return "_".join(_decide_name(p, values) for p in parts)
        case _:
            raise AssertionError(f"{term} is decided before it is named")


def _decide_name(term: tree.OperationTerm, values: Mapping[str, int]) -> str:
    term = _decide(term, values)
    match term:
        case tree.Call(name=name):
            return name
        case tree.Pipeline(stages=parts) | tree.Parallel(branches=parts):
            return "_".join(_decide_name(p, values) for p in parts)
        case _:
            raise AssertionError(f"{term} is decided before it is named")
