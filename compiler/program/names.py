"""Checks operations and calls against the names they may use: a part of pass 1."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import assert_never

from bayesnas.compiler.operations import aliases
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.program.definitions import Program
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, Findings, Span, nearest, quote, suggest


class Checker:
    """Checks parameters, expressions, operations and calls; collects all errors."""

    def __init__(self, program: Program, findings: Findings) -> None:
        self.program = program
        self.findings = findings

    def operations(self) -> None:
        """Check every operation and choice."""
        for definition in self.program.operations.values():
            names = self.parameters(definition.parameters)
            choice = isinstance(definition, tree.ChoiceDefinition)
            self.term(definition.body, names, choice)

    def error(
        self, code: str, message: str, span: Span, label: str = "", remedy: str = "", note: str = ""
    ) -> None:
        """Collect a diagnostic."""
        notes = (note,) if note else ()
        self.findings.add(Diagnostic(code, message, span, label, notes, remedy))

    def parameters(self, parameters: tuple[tree.AnyParameter, ...]) -> set[str]:
        """Names of the whole-number parameters; motifs among them are checked as well."""
        names: set[str] = set()
        seen: set[str] = set()
        for parameter in parameters:
            if parameter.name in seen:
                message = f"parameter `{parameter.name}` stands twice"
                self.error("D208", message, parameter.span, "again", "rename one of them")
            seen.add(parameter.name)
            if isinstance(parameter, tree.MotifParameter):
                self._motif_parameter(parameter)
                continue
            if parameter.default is not None:
                self.expression(parameter.default, names)
            names.add(parameter.name)
        return names

    def _motif_parameter(self, parameter: tree.MotifParameter) -> None:
        motifs = self.program.motifs
        if parameter.name in motifs:
            message = f"parameter `{parameter.name}` hides the motif of that name"
            where = f"`{parameter.name}` is defined at {motifs[parameter.name].span}"
            self.error("D208", message, parameter.span, "", "rename it", where)
        if parameter.default is not None and parameter.default not in motifs:
            remedy = suggest(parameter.default, motifs, "define it with `motif`")
            message = f"unknown motif `{parameter.default}`"
            self.error("D211", message, parameter.span, "not defined", remedy)

    def expression(self, expression: tree.Expression, names: set[str]) -> None:
        """Refuse names that are not among ``names``."""
        match expression:
            case tree.Number():
                pass
            case tree.Name(name=name):
                if name not in names:
                    note = f"known here: {quote(sorted(names))}" if names else ""
                    remedy = suggest(name, names, "declare it as a parameter, or write a number")
                    if name.lower() in ("true", "false"):
                        remedy = "conditions are whole numbers: write 1 for true, 0 for false"
                    message = f"`{name}` is no parameter or loop variable here"
                    self.error("D205", message, expression.span, "unknown name", remedy, note)
            case tree.Unary(operand=operand):
                self.expression(operand, names)
            case tree.Binary(left=left, right=right):
                self.expression(left, names)
                self.expression(right, names)
            case _:
                assert_never(expression)

    def term(self, term: tree.OperationTerm, names: set[str], choice: bool, sign: str = "") -> None:
        """``choice``: whether candidates may stand here; ``sign``: what joins it to others."""
        match term:
            case tree.Call():
                self._call(term, names, choice, sign)
            case tree.Pipeline(stages=parts) | tree.Parallel(branches=parts):
                sign = ">>" if isinstance(term, tree.Pipeline) else "+"
                for part in parts:
                    self.term(part, names, False, sign)
            case tree.Alternatives(options=options):
                if not choice:
                    self._misplaced(term.span, sign)
                for option in options:
                    self.term(option, names, True)
            case tree.Conditional():
                self.expression(term.condition, names)
                self.term(term.then, names, choice, sign)
                self.term(term.otherwise, names, choice, sign)
            case _:
                assert_never(term)

    def _misplaced(self, span: Span, sign: str) -> None:
        remedy = "search the edge with `~>`, or keep several operations together with `+`"
        if sign:
            remedy = (
                "a choice is no part of another operation: put the rest into each candidate,"
                f" as in `conv(3) {sign} bn | skip {sign} bn`"
            )
        self.error("D206", "candidates stand where one operation is meant", span, "", remedy)

    def _call(self, call: tree.Call, names: set[str], choice: bool, sign: str) -> None:
        for argument in call.arguments:
            self.expression(argument.value, names)
        if call.name in PRIMITIVES:
            defaults = PRIMITIVES[call.name].parameters
            formals = {name: default is None for name, default in defaults.items()}
        elif call.name in self.program.operations:
            definition = self.program.operations[call.name]
            formals = {p.name: p.default is None for p in definition.parameters}
            if isinstance(definition, tree.ChoiceDefinition) and not choice:
                self._misplaced(call.span, sign)
        else:
            candidates = (*PRIMITIVES, *self.program.operations)
            otherwise = "import the file that defines it, define it, or name its `--plugin`"
            remedy = aliases.operation_help(call.name, candidates, otherwise)
            if call.name in self.program.motifs:
                remedy = f"`{call.name}` is a motif: write `y = {call.name}(x)`"
            message = f"unknown operation `{call.name}`"
            self.error("D202", message, call.span, "not defined", remedy)
            return
        self.arguments(call.name, call.arguments, formals, call.span)

    def arguments(
        self,
        name: str,
        arguments: tuple[tree.Argument, ...],
        formals: Mapping[str, bool],
        span: Span,
    ) -> None:
        """``formals`` maps parameter names to whether a value is required."""
        order = list(formals)
        given: set[str] = set()
        takes = f"`{name}` takes {quote(order)}" if order else f"`{name}` takes no parameters"
        for position, argument in enumerate(arguments):
            if argument.name is None and position >= len(order):
                message = f"too many arguments of `{name}`"
                self.error("D204", message, argument.span, "", "leave it out", takes)
                return
            formal = argument.name or order[position]
            if formal not in formals:
                message = f"`{name}` has no parameter `{formal}`"
                meant = aliases.parameter_of(formal, order) or nearest(formal, order)
                remedy = f"did you mean `{meant}`?" if meant else "leave it out"
                self.error("D204", message, argument.span, "", remedy, takes)
                formal = meant or formal
            elif formal in given:
                message = f"parameter `{formal}` of `{name}` is given twice"
                self.error("D204", message, argument.span, "", "leave one out", takes)
            given.add(formal)
        missing = [f for f, required in formals.items() if required and f not in given]
        if missing:
            message = f"`{name}` needs a value for {quote(missing)}"
            self.error("D204", message, span, "", f"write `{missing[0]} = ...`", takes)

    def call(self, call: tree.MotifCall, motif: tree.Motif, uncounted: bool = False) -> None:
        """Whether a call fits its motif; ``uncounted``: how many inputs shows on expansion."""
        if not uncounted:
            self._count("inputs", motif, motif.inputs, len(given_nodes(call)), call.span)
        self._count("outputs", motif, motif.outputs, len(call.targets), call.span)
        formals = {p.name: p.default is None for p in motif.parameters}
        if any(argument.name is None for argument in call.arguments):
            message = f"parameters of the motif `{motif.name}` are given by name"
            remedy = f"write `{motif.name}(...; {next(iter(formals), 'width')} = ...)`"
            self.error("D204", message, call.span, "", remedy)
        else:
            if isinstance(call, tree.Chain) and call.reductions:
                for given in ("stride", "lag"):  # the chain gives these
                    formals.update({given: False} if given in formals else {})
            self.arguments(motif.name, call.arguments, formals, call.span)
        if isinstance(call, tree.Chain):
            self._chainable(call, motif)
            self._chain_gives(call)

    def _count(
        self, what: str, motif: tree.Motif, ports: tuple[tree.Port, ...], given: int, span: Span
    ) -> None:
        if len(ports) != given:
            self.findings.add(wrong_count(what, motif, ports, given, span))

    def _chain_gives(self, chain: tree.Chain) -> None:
        for argument in chain.arguments:
            if chain.reductions and argument.name in ("stride", "lag"):
                message = f"a reducing chain gives `{argument.name}` itself"
                remedy = "leave it out: it is 2 where `reduce at` asks for it, and 1 elsewhere"
                self.error("D204", message, argument.span, "given here as well", remedy)

    def _chainable(self, chain: tree.Chain, motif: tree.Motif) -> None:
        if len(motif.outputs) not in (1, len(motif.inputs)):
            message = (
                f"`{motif.name}` has {_counted(motif.inputs, 'input')} and"
                f" {_counted(motif.outputs, 'output')} and cannot be chained"
            )
            remedy = "a chained motif has one output, or as many outputs as inputs"
            self.error("D219", message, chain.span, "", remedy)
        candidates = {p.name for p in motif.parameters if isinstance(p, tree.Parameter)}
        if chain.reductions and not {"width", "stride"} <= candidates:
            message = (
                f"a reducing chain sets `width` and `stride`, which `{motif.name}` does not have"
            )
            remedy = f"add the parameters `width` and `stride = 1` to `{motif.name}`"
            self.error("D219", message, chain.span, "", remedy)


def check_call(program: Program, call: tree.MotifCall, motif: tree.Motif) -> None:
    """Refuse a call that does not fit a motif known only now, being passed as a parameter.

    Its inputs are counted as they are expanded.

    Raises:
        DiagnosticError: D204 (arguments), D212 (outputs), D219 (chaining).
    """
    findings = Findings()
    Checker(program, findings).call(call, motif, uncounted=True)
    findings.refuse()


def given_nodes(call: tree.MotifCall) -> tuple[tree.Reference, ...]:
    """What a call gives to the inputs of its motif, in their order: of a scan, its states last."""
    return (*call.inputs, *call.starts) if isinstance(call, tree.Scan) else call.inputs


def _counted(ports: tuple[tree.Port, ...], noun: str) -> str:
    return f"{len(ports)} {noun}{'s' if len(ports) > 1 else ''}"


def wrong_count(
    what: str, motif: tree.Motif, ports: tuple[tree.Port, ...], given: int, span: Span
) -> Diagnostic:
    """A call names another number of ``inputs`` or ``outputs`` than its motif has."""
    noun, verb = (what, "are") if len(ports) > 1 else (what[:-1], "is")
    return Diagnostic(
        "D212",
        f"`{motif.name}` has {len(ports)} {noun}, {given} given",
        span,
        notes=(f"its {noun} {verb} {quote(p.name for p in ports)}",),
        help=f"name {len(ports)}",
    )
