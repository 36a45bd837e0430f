"""Calls of motifs: what they give, link by link of a chain, and what tied instances share."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from bayesnas.compiler.expand.scopes import Scope, wrong
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import evaluate, substitute
from bayesnas.compiler.program.names import MotifCall, check_call, wrong_count
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError, suggest


def called_motif(program: Program, scope: Scope, call: MotifCall) -> tree.Motif:
    """The motif that is called; one that was passed is checked now."""
    passed = scope.motifs.get(call.motif)
    if passed is None:
        return program.motifs[call.motif]
    check_call(program, call, passed)
    return passed


def inputs_of(
    scope: Scope, call: MotifCall, motif: tree.Motif, values: Mapping[str, int]
) -> list[tuple[tree.Reference, str]]:
    """References and ids of what a call reads.

    Raises:
        DiagnosticError: D212 (another number than the motif has inputs).
    """
    inputs = scope.lookup_all(call.inputs, values)
    if len(inputs) != len(motif.inputs):
        found = wrong_count("inputs", motif, motif.inputs, len(inputs), call.span)
        raise DiagnosticError(found)
    return inputs


def arguments(
    program: Program, scope: Scope, call: MotifCall, motif: tree.Motif, values: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, tree.Motif]]:
    """What a call gives: numbers as written, and every motif the called one asks for."""
    kinds = {p.name: p for p in motif.parameters}
    numbers: dict[str, int] = {}
    given: dict[str, str] = {}
    for argument in call.arguments:
        name = str(argument.name)
        if not isinstance(kinds[name], tree.MotifParameter):
            numbers[name] = evaluate(argument.value, values)
        elif isinstance(argument.value, tree.Name):
            given[name] = argument.value.name
    motifs = {}
    for parameter in motif.parameters:
        if isinstance(parameter, tree.MotifParameter):
            chosen = given.get(parameter.name, parameter.default or "")
            inside = scope.motifs if parameter.name in given else {}
            motifs[parameter.name] = inside.get(chosen) or _passed(program, chosen, call)
    return numbers, motifs


def _passed(program: Program, name: str, call: MotifCall) -> tree.Motif:
    if name not in program.motifs:
        remedy = suggest(name, program.motifs, "pass the name of a motif")
        raise wrong("D211", f"unknown motif `{name}`", call.span, remedy)
    return program.motifs[name]


def reductions_of(statement: tree.Chain, length: int, values: Mapping[str, int]) -> set[int]:
    """The links of a chain that halve the resolution.

    Raises:
        DiagnosticError: D223 (no such link).
    """
    reductions = set()
    for expression in statement.reductions:
        index = evaluate(expression, values)
        if not 0 <= index < length:
            raise wrong(
                "D223",
                f"reduction at {index} of a chain of {length}",
                expression.span,
                f"motifs of the chain count from 0 to {length - 1}",
            )
        reductions.add(index)
    return reductions


def link_numbers(
    motif: tree.Motif, given: Mapping[str, int], reductions: set[int], k: int
) -> dict[str, int]:
    """Parameters of link k; an instance at a reduction gets ``stride = 2`` and from there on twice
    the ``width``; the one after it gets ``lag = 2``: its first input has twice the resolution of
    its last.
    """
    numbers = dict(given)
    if reductions:
        width = complete(motif, {"stride": 1, "lag": 1, **given})["width"]
        numbers["width"] = width * 2 ** sum(r <= k for r in reductions)
        numbers["stride"] = 2 if k in reductions else 1
        if any(p.name == "lag" for p in motif.parameters):
            numbers["lag"] = 2 if k - 1 in reductions else 1
    return numbers


def complete(motif: tree.Motif, given: Mapping[str, int]) -> dict[str, int]:
    """Every number of a motif; a default may use the parameters before it."""
    values: dict[str, int] = {}
    for parameter in motif.parameters:
        if parameter.name in given:
            values[parameter.name] = given[parameter.name]
        elif isinstance(parameter, tree.Parameter):
            assert parameter.default is not None, "resolve has checked what is given"
            values[parameter.name] = evaluate(parameter.default, values)
    return values


def tie_group(
    scope: Scope, call: MotifCall, motif: tree.Motif, local: str, values: Mapping[str, int]
) -> str:
    """What tied instances share in the place of their own path.

    ``tied(k)`` reaches through the whole network; ``tied`` through the motif instance around it.
    """
    if call.tie is None:
        return scope.group(local)
    if call.tie.index is not None:
        return f"tied {motif.name}({evaluate(call.tie.index, values)})"
    name = call.targets[0].name if isinstance(call, tree.Chain) else f"tied {motif.name}"
    return scope.group(name)


def substitute_arguments(
    arguments: tuple[tree.Argument, ...],
    numbers: Mapping[str, int],
    symbols: Mapping[str, tree.Expression],
) -> tuple[tree.Argument, ...]:
    """Whole-number arguments without loop variables; motifs are bound and left out."""
    return tuple(
        evolve(a, value=substitute(a.value, symbols)) for a in arguments if a.name in numbers
    )
