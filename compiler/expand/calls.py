"""Calls of motifs: what is given to them, and the numbers of each link of a chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from attrs import frozen

from bayesnas.compiler.expand.scopes import Motiflike, Scope, Selection, Unrolled, total
from bayesnas.compiler.program.definitions import OperationLike, Program
from bayesnas.compiler.program.evaluate import LARGEST, evaluate
from bayesnas.compiler.program.names import check_call, wrong_count
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import DiagnosticError, mistake, quote, suggest


@frozen
class Row:
    """The instances that a call makes: one, or the links of a chain in their order.

    ``links`` gives the values of an instance's parameters, and how many in a row have them.
    ``numbers`` are those among them that the call writes. ``starts`` are a scan's first states.
    """

    call: tree.MotifCall
    unrolled: Unrolled
    motif: tree.Motif
    motifs: Mapping[str, tree.Motif]  # those passed to it
    inputs: list[Selection]
    starts: list[Selection]
    targets: list[Selection]
    reductions: AbstractSet[int]
    numbers: Mapping[str, int]
    links: Iterable[tuple[dict[str, int], int]]

    @property
    def given(self) -> list[Selection]:
        """What is given to the inputs of the motif, in their order."""
        return [*self.inputs, *self.starts]

    def __len__(self) -> int:
        return len(self.targets[0])


def row_of(program: Program, scope: Scope, call: tree.MotifCall, unrolled: Unrolled) -> Row | None:
    """What a call makes; None where nodes it defines are missing, which has been said.

    Raises:
        DiagnosticError: D204, D211, D212 or D219 (a passed motif that does not fit), D212 (another
            number of inputs than the motif has), D220, D221 or D223 (numbers), D238 (more states
            than outputs).
    """
    values = unrolled.values
    motif = called_motif(program, scope, call)
    targets = _targets(scope, call, values)
    reductions = set[int]()
    if targets and isinstance(call, tree.Chain):
        reductions = reductions_of(call, len(targets[0]), values)
    inputs = scope.lookups(call.inputs, values)
    starts = scope.lookups(call.starts, values) if isinstance(call, tree.Scan) else []
    given = total(inputs) + total(starts)
    if given != len(motif.inputs):
        raise DiagnosticError(wrong_count("inputs", motif, motif.inputs, given, call.span))
    if total(starts) > len(motif.outputs):
        raise _stateless(motif, total(starts), call)
    if not targets:
        return None
    numbers, motifs = arguments(program, scope, call, motif, values)
    row: Iterable[tuple[dict[str, int], int]]
    row = links(motif, numbers, len(targets[0]), reductions)
    if isinstance(call.tie, tree.Share):
        row = list(row)  # they are compared before they are made
    return Row(call, unrolled, motif, motifs, inputs, starts, targets, reductions, numbers, row)


def _stateless(motif: tree.Motif, states: int, call: tree.MotifCall) -> DiagnosticError:
    ports = quote(p.name for p in motif.inputs[-states:])
    outputs = quote(p.name for p in motif.outputs)
    count = f"{len(motif.outputs)} output{'s' if len(motif.outputs) > 1 else ''}"
    return mistake(
        "D238",
        f"a scan of `{motif.name}` begins with {states} states, and it has {count}",
        call.span,
        f"give `{motif.name}` an output for each: the last ones are the next states",
        f"its states come in as {ports}; its outputs are {outputs}",
    )


def called_motif(program: Program, scope: Scope, call: tree.MotifCall) -> tree.Motif:
    """The motif that is called; one that was passed is checked now."""
    passed = scope.motifs.get(call.motif)
    if passed is None:
        return program.motifs[call.motif]
    check_call(program, call, passed)
    return passed


def _targets(scope: Scope, call: tree.MotifCall, values: Mapping[str, int]) -> list[Selection]:
    """The nodes each output goes to, link by link; none where they are not as declared."""
    if isinstance(call, tree.Chain):
        length = scope.lists.get(call.targets[0].name, 0)
        targets = [Selection(t, range(scope.lists.get(t.name, 0))) for t in call.targets]
    else:
        length = 1
        targets = scope.lookups(call.targets, values)
    return targets if length and all(len(t) == length for t in targets) else []


def arguments(
    program: Program,
    scope: Scope,
    call: tree.MotifCall,
    motif: tree.Motif,
    values: Mapping[str, int],
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


def _passed(program: Program, name: str, call: tree.MotifCall) -> tree.Motif:
    if name not in program.motifs:
        remedy = suggest(name, program.motifs, "pass the name of a motif")
        raise mistake("D211", f"unknown motif `{name}`", call.span, remedy)
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
            raise mistake(
                "D223",
                f"reduction at {index} of a chain of {length}",
                expression.span,
                f"motifs of the chain count from 0 to {length - 1}",
            )
        reductions.add(index)
    return reductions


def links(
    motif: tree.Motif, given: Mapping[str, int], length: int, reductions: AbstractSet[int]
) -> Iterator[tuple[dict[str, int], int]]:
    """Every parameter of a chain's links, and how many links in a row have these.

    A reduction gets ``stride = 2`` and from there on twice the ``width``; the link after it gets
    ``lag = 2`` where its first input is older than its last, and has twice the resolution.
    """
    if not reductions:
        yield complete(motif, given), length
        return
    lags = any(p.name == "lag" for p in motif.parameters)
    late = 2 if len(motif.inputs) > len(motif.outputs) else 1  # else all come from one link
    width = complete(motif, {"stride": 1, "lag": 1, **given})["width"]
    starts = sorted(reductions)
    runs = [(width, 1, 1, starts[0])]
    for start, stop in zip(starts, (*starts[1:], length), strict=True):
        # Numbers past the largest have no value, so that all of them are alike.
        width = max(-LARGEST - 1, min(2 * width, LARGEST + 1))
        runs.append((width, 2, late if start - 1 in reductions else 1, 1))
        runs.append((width, 1, late, min(1, stop - start - 1)))
        runs.append((width, 1, 1, max(0, stop - start - 2)))
    for width, stride, lag, count in runs:
        if count:
            last = {"lag": lag} if lags else {}
            yield complete(motif, {**given, "width": width, "stride": stride, **last}), count


def complete(definition: Motiflike | OperationLike, given: Mapping[str, int]) -> dict[str, int]:
    """Every number of a definition; a default may use the parameters before it."""
    values: dict[str, int] = {}
    for parameter in definition.parameters:
        if parameter.name in given:
            values[parameter.name] = given[parameter.name]
        elif isinstance(parameter, tree.Parameter):
            assert parameter.default is not None, "resolve has checked what is given"
            values[parameter.name] = evaluate(parameter.default, values)
    return values


def network_values(network: tree.Network, given: Mapping[str, int]) -> dict[str, int]:
    """Every parameter of a network; ``given`` values override the defaults.

    Raises:
        DiagnosticError: D410 (no such parameter), D411 (a parameter without a value), D220 or D221
            (a default without a value).
    """
    parameters = [p for p in network.parameters if isinstance(p, tree.Parameter)]
    names = {p.name for p in parameters}
    for name in given:
        if name not in names:
            has = f"its parameters are {quote(sorted(names))}" if names else "it has none"
            message = f"network `{network.name}` has no parameter `{name}`"
            remedy = suggest(name, names, "leave the `--set` out")
            raise mistake("D410", message, network.span, remedy, has)
    for parameter in parameters:
        if parameter.name not in given and parameter.default is None:
            message = f"parameter `{parameter.name}` of network `{network.name}` has no value"
            remedy = f"give it one with `--set {parameter.name}=...`, or a default here"
            raise mistake("D411", message, parameter.span, remedy)
    return complete(network, given)
