"""Pass 1: names. Finds every definition and refuses what no parameters could make right.

In: a loaded spec. Out: a `Program`, in which every name an expansion will meet is known, every
call fits its definition, and nothing is defined through itself. Non-goals: numbers (indices,
sizes, shapes), which later passes check once parameters have values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

import networkx as nx
from attrs import field, frozen
from typing_extensions import assert_never

from bayesnas.compiler.primitives import PRIMITIVES
from bayesnas.compiler.settings import check_setting
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, quote, suggest
from bayesnas.dsl.loader import Loaded

MAX_PRIMITIVES = 1000
OperationLike: TypeAlias = tree.OperationDefinition | tree.ChoiceDefinition
T = TypeVar("T", OperationLike, tree.Motif, tree.Network)


@frozen
class Program:
    """All definitions by name; ``definitions`` keeps them in order for printing."""

    operations: Mapping[str, OperationLike]
    motifs: Mapping[str, tree.Motif]
    networks: Mapping[str, tree.Network]
    settings: Mapping[str, tuple[tree.Setting, ...]]
    main: tree.Spec = field(repr=False)

    def network(self, name: str | None = None) -> tree.Network:
        """The network of that name, or the only one.

        Raises:
            DiagnosticError: D216 (none, several, or no such).
        """
        if name is None and len(self.networks) == 1:
            return next(iter(self.networks.values()))
        if name is not None and name in self.networks:
            return self.networks[name]
        if not self.networks:
            remedy = "add `network name(image: [3, 32, 32]) -> (logits: [10]) { ... }`"
            message = "the spec has no network"
        elif name is None:
            remedy = f"choose one with `--network`: {quote(self.networks)}"
            message = f"the spec has {len(self.networks)} networks"
        else:
            remedy = suggest(name, self.networks, f"choose from {quote(self.networks)}")
            message = f"no network `{name}`"
        raise DiagnosticError(Diagnostic("D216", message, self.main.span, help=remedy))


def resolve(loaded: Loaded) -> Program:
    """See the module's docstring.

    Raises:
        DiagnosticError: every D2xx of the spec at once.
    """
    collector = _Collector()
    for definition in loaded.definitions():
        collector.add(definition)
    program = Program(
        collector.operations,
        collector.motifs,
        collector.networks,
        {kind: tuple(entries) for kind, entries in collector.settings.items()},
        loaded.main,
    )
    errors = list(collector.errors)
    errors += _Checker(program).check()
    circles = _recursion(program)
    errors += circles or _oversized(program)
    if errors:
        raise DiagnosticError(*sorted(errors, key=_position))
    return program


def _position(diagnostic: Diagnostic) -> tuple[str, int, int]:
    span = diagnostic.span
    return (span.source.name, span.line, span.column) if span else ("", 0, 0)


class _Collector:
    """Definitions by name; the second of a name is an error."""

    def __init__(self) -> None:
        self.operations: dict[str, OperationLike] = {}
        self.motifs: dict[str, tree.Motif] = {}
        self.networks: dict[str, tree.Network] = {}
        self.settings: dict[str, list[tree.Setting]] = {"search": [], "train": []}
        self.errors: list[Diagnostic] = []

    def add(self, definition: tree.Definition) -> None:
        match definition:
            case tree.Import():
                pass
            case tree.OperationDefinition() | tree.ChoiceDefinition():
                if definition.name in PRIMITIVES:
                    self._duplicate(definition.name, definition.span, "a primitive")
                else:
                    self._put(self.operations, definition.name, definition)
            case tree.Motif():
                self._put(self.motifs, definition.name, definition)
            case tree.Network():
                self._put(self.networks, definition.name, definition)
            case tree.Settings():
                self._settings(definition)
            case _:
                assert_never(definition)

    def _put(self, table: dict[str, T], name: str, definition: T) -> None:
        if name in table:
            self._duplicate(name, definition.span, f"defined at {table[name].span}")
        else:
            table[name] = definition

    def _duplicate(self, name: str, span: Span, where: str) -> None:
        self.errors.append(
            Diagnostic(
                "D201",
                f"`{name}` is defined twice",
                span,
                "defined again",
                notes=(f"`{name}` is {where}",),
                help="rename one of them",
            )
        )

    def _settings(self, definition: tree.Settings) -> None:
        for entry in definition.entries:
            known = {e.name: e for e in self.settings[definition.kind]}
            if entry.name in known:
                where = f"set at {known[entry.name].span}"
                self._duplicate(entry.name, entry.span, where)
            try:
                check_setting(definition.kind, entry.name, entry.value, entry.span)
            except DiagnosticError as error:
                self.errors += error.diagnostics
            self.settings[definition.kind].append(entry)


# ----------------------------------------------------------------------------------------- scopes


@frozen
class Declaration:
    """A node name of a motif: whether it is a list, and where it is declared."""

    is_list: bool
    span: Span


def declarations(body: Iterable[tree.Statement]) -> Iterator[tuple[str, Declaration]]:
    """Node names a body declares: by ``node``, or by ``name = ...`` without an index.

    A list element on the left (``h[k] = ...``) uses its list and declares nothing.
    """
    for statement in walk(body):
        match statement:
            case tree.NodeDeclaration(nodes=nodes):
                for node in nodes:
                    yield node.name, Declaration(node.size is not None, node.span)
            case tree.Merge(target=target) | tree.Transform(target=target):
                if target.index is None:
                    yield target.name, Declaration(False, target.span)
            case tree.Instantiation(targets=targets):
                for target in targets:
                    if target.index is None:
                        yield target.name, Declaration(False, target.span)
            case tree.Chain(targets=targets):
                for target in targets:
                    yield target.name, Declaration(True, target.span)
            case _:
                pass


def walk(body: Iterable[tree.Statement]) -> Iterator[tree.Statement]:
    """All statements, those inside loops and branches after their head."""
    for statement in body:
        yield statement
        match statement:
            case tree.Loop(body=inner):
                yield from walk(inner)
            case tree.Branch(then=then, otherwise=otherwise):
                yield from walk(then)
                yield from walk(otherwise)
            case _:
                pass


class _Checker:
    """Checks every definition against the names it may use; collects all errors."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.errors: list[Diagnostic] = []

    def check(self) -> list[Diagnostic]:
        for definition in self.program.operations.values():
            names = self._parameters(definition.parameters)
            choice = isinstance(definition, tree.ChoiceDefinition)
            self._term(definition.body, names, choice)
        for motif in self.program.motifs.values():
            _BodyChecker(self, motif).check()
        for network in self.program.networks.values():
            _BodyChecker(self, network).check()
        return self.errors

    def error(
        self, code: str, message: str, span: Span, label: str = "", remedy: str = "", note: str = ""
    ) -> None:
        notes = (note,) if note else ()
        self.errors.append(Diagnostic(code, message, span, label, notes, remedy))

    def _parameters(self, parameters: tuple[tree.Parameter, ...]) -> set[str]:
        names: set[str] = set()
        for parameter in parameters:
            if parameter.name in names:
                message = f"parameter `{parameter.name}` stands twice"
                self.error("D208", message, parameter.span, "again", "rename one of them")
            if parameter.default is not None:
                self._expression(parameter.default, names)
            names.add(parameter.name)
        return names

    def _expression(self, expression: tree.Expression, names: set[str]) -> None:
        match expression:
            case tree.Number():
                pass
            case tree.Name(name=name):
                if name not in names:
                    known = f"known here: {quote(sorted(names))}" if names else ""
                    remedy = suggest(name, names, "declare it as a parameter, or write a number")
                    message = f"`{name}` is no parameter or loop variable here"
                    self.error("D205", message, expression.span, "unknown name", remedy, known)
            case tree.Unary(operand=operand):
                self._expression(operand, names)
            case tree.Binary(left=left, right=right):
                self._expression(left, names)
                self._expression(right, names)
            case _:
                assert_never(expression)

    def _term(self, term: tree.OperationTerm, names: set[str], choice: bool) -> None:
        """``choice`` says whether candidates may stand here."""
        match term:
            case tree.Call():
                self._call(term, names, choice)
            case tree.Pipeline(stages=parts) | tree.Parallel(branches=parts):
                for part in parts:
                    self._term(part, names, False)
            case tree.Alternatives(options=options):
                if not choice:
                    self._misplaced(term.span)
                for option in options:
                    self._term(option, names, True)
            case tree.Conditional():
                self._expression(term.condition, names)
                self._term(term.then, names, choice)
                self._term(term.otherwise, names, choice)
            case _:
                assert_never(term)

    def _misplaced(self, span: Span) -> None:
        remedy = "search the edge with `~>`, or keep several operations together with `+`"
        self.error("D206", "candidates stand where one operation is meant", span, "", remedy)

    def _call(self, call: tree.Call, names: set[str], choice: bool) -> None:
        for argument in call.arguments:
            self._expression(argument.value, names)
        if call.name in PRIMITIVES:
            defaults = PRIMITIVES[call.name].parameters
            formals = {name: default is None for name, default in defaults.items()}
        elif call.name in self.program.operations:
            definition = self.program.operations[call.name]
            formals = {p.name: p.default is None for p in definition.parameters}
            if isinstance(definition, tree.ChoiceDefinition) and not choice:
                self._misplaced(call.span)
        else:
            known = (*PRIMITIVES, *self.program.operations)
            remedy = suggest(call.name, known, "import the file that defines it, or define it")
            if call.name in self.program.motifs:
                remedy = f"`{call.name}` is a motif: write `y = {call.name}(x)`"
            message = f"unknown operation `{call.name}`"
            self.error("D202", message, call.span, "not defined", remedy)
            return
        self._arguments(call.name, call.arguments, formals, call.span)

    def _arguments(
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
                remedy = suggest(formal, order, "leave it out")
                self.error("D204", message, argument.span, "", remedy, takes)
            elif formal in given:
                message = f"parameter `{formal}` of `{name}` is given twice"
                self.error("D204", message, argument.span, "", "leave one out", takes)
            given.add(formal)
        missing = [f for f, required in formals.items() if required and f not in given]
        if missing:
            message = f"`{name}` needs a value for {quote(missing)}"
            self.error("D204", message, span, "", f"write `{missing[0]} = ...`", takes)


class _BodyChecker:
    """Checks the statements of one motif or network."""

    def __init__(self, checker: _Checker, graph: tree.Motif | tree.Network) -> None:
        self.checker = checker
        self.graph = graph
        self.nodes: dict[str, Declaration] = {}

    def check(self) -> None:
        names = self.checker._parameters(self.graph.parameters)
        for port in (*self.graph.inputs, *self.graph.outputs):
            if port.name in self.nodes:
                message = f"`{port.name}` stands twice"
                self.checker.error("D208", message, port.span, "again", "rename one of them")
            self.nodes[port.name] = Declaration(False, port.span)
            for size in port.shape or ():
                self.checker._expression(size, names)
        for name, declaration in declarations(self.graph.body):
            known = self.nodes.get(name)
            if known is not None and known.is_list != declaration.is_list:
                note = f"`{name}` is declared at {known.span}"
                message = f"`{name}` is both a node and a list of nodes"
                self.checker.error("D208", message, declaration.span, "", "rename one", note)
            self.nodes.setdefault(name, declaration)
        self._body(self.graph.body, names, inside_loop=False)

    def _body(self, body: tuple[tree.Statement, ...], names: set[str], inside_loop: bool) -> None:
        for statement in body:
            if inside_loop:
                self._check_loop_definition(statement)
            self._statement(statement, names, inside_loop)

    def _check_loop_definition(self, statement: tree.Statement) -> None:
        for name, declaration in declarations((statement,)):
            if isinstance(statement, tree.Loop | tree.Branch):
                return
            message = f"`{name}` would be defined anew in each turn of the loop"
            remedy = f"declare `node {name}[n]` before the loop and define `{name}[k]`"
            self.checker.error("D208", message, declaration.span, "", remedy)

    def _statement(self, statement: tree.Statement, names: set[str], inside_loop: bool) -> None:
        checker = self.checker
        match statement:
            case tree.NodeDeclaration(nodes=nodes):
                for node in nodes:
                    if node.size is not None:
                        checker._expression(node.size, names)
            case tree.Merge(target=target, sources=sources):
                self._defined(target, names)
                self._references(sources, names)
            case tree.Transform(target=target, source=source, operation=operation):
                self._defined(target, names)
                self._reference(source, names)
                checker._term(operation, names, False)
            case tree.Connect():
                self._connect(statement, names)
            case tree.Instantiation():
                self._motif(statement, names)
            case tree.Chain():
                self._chain(statement, names)
            case tree.Loop(variable=variable, body=body):
                checker._expression(statement.start, names)
                checker._expression(statement.stop, names)
                if variable in names:
                    message = f"loop variable `{variable}` hides a parameter or another loop's"
                    checker.error("D208", message, statement.span, "", "rename it")
                self._body(body, names | {variable}, inside_loop=True)
            case tree.Branch():
                checker._expression(statement.condition, names)
                self._body(statement.then, names, inside_loop)
                self._body(statement.otherwise, names, inside_loop)
            case tree.Retain(count=count, targets=targets):
                checker._expression(count, names)
                self._references(targets, names)
            case _:
                assert_never(statement)

    def _connect(self, statement: tree.Connect, names: set[str]) -> None:
        self._references(statement.sources, names)
        for target in statement.targets:
            self._target(target, names)
        if statement.operation is not None:
            self.checker._term(statement.operation, names, statement.searched)
        elif statement.searched:
            message = "a searched edge needs its candidate operations"
            remedy = "write them after a colon: `a ~> b : conv(3) | skip`"
            self.checker.error("D210", message, statement.span, "", remedy)

    def _chain(self, statement: tree.Chain, names: set[str]) -> None:
        motif = self._motif(statement, names)
        self.checker._expression(statement.length, names)
        for reduction in statement.reductions:
            self.checker._expression(reduction, names)
        if motif is None:
            return
        if len(motif.outputs) not in (1, len(motif.inputs)):
            message = (
                f"`{motif.name}` has {len(motif.inputs)} inputs and {len(motif.outputs)} outputs"
                " and cannot be chained"
            )
            remedy = "a chained motif has one output, or as many outputs as inputs"
            self.checker.error("D212", message, statement.span, "", remedy)
        known = {p.name for p in motif.parameters}
        if statement.reductions and not {"width", "stride"} <= known:
            message = f"a reducing chain sets `width` and `stride`, which `{motif.name}` has not"
            remedy = f"add the parameters `width` and `stride = 1` to `{motif.name}`"
            self.checker.error("D212", message, statement.span, "", remedy)

    def _motif(
        self, statement: tree.Instantiation | tree.Chain, names: set[str]
    ) -> tree.Motif | None:
        for target in statement.targets:
            self._defined(target, names)
            if isinstance(statement, tree.Chain) and isinstance(target.index, tree.Index):
                message = f"a chain makes the list `{target.name}`, not an element of it"
                remedy = f"write `{target.name} = chain ...`; its first motif is `{target.name}[0]`"
                self.checker.error("D209", message, target.span, "", remedy)
        self._references(statement.inputs, names)
        for argument in statement.arguments:
            self.checker._expression(argument.value, names)
        motif = self.checker.program.motifs.get(statement.motif)
        if motif is None:
            motifs = self.checker.program.motifs
            remedy = suggest(statement.motif, motifs, "define it with `motif`")
            if statement.motif in {*PRIMITIVES, *self.checker.program.operations}:
                remedy = f"`{statement.motif}` is an operation: write `y = x : {statement.motif}`"
            message = f"unknown motif `{statement.motif}`"
            self.checker.error("D211", message, statement.span, "not defined", remedy)
            return None
        self._count("inputs", motif, motif.inputs, statement.inputs, statement.span)
        self._count("outputs", motif, motif.outputs, statement.targets, statement.span)
        formals = {p.name: p.default is None for p in motif.parameters}
        if any(argument.name is None for argument in statement.arguments):
            message = f"parameters of the motif `{motif.name}` are given by name"
            remedy = f"write `{motif.name}(...; {next(iter(formals), 'width')} = ...)`"
            self.checker.error("D204", message, statement.span, "", remedy)
        else:
            if isinstance(statement, tree.Chain) and statement.reductions:
                for given in ("stride", "lag"):  # the chain gives these
                    formals.update({given: False} if given in formals else {})
            self.checker._arguments(motif.name, statement.arguments, formals, statement.span)
        return motif

    def _count(
        self,
        what: str,
        motif: tree.Motif,
        ports: tuple[tree.Port, ...],
        given: tuple[tree.Reference, ...],
        span: Span,
    ) -> None:
        """Slices and lists count as they are expanded; plain references count now."""
        whole = any(
            isinstance(r.index, tree.Slice)
            or (r.index is None and r.name in self.nodes and self.nodes[r.name].is_list)
            for r in given
        )
        if len(ports) != len(given) and not (whole and what == "inputs"):
            message = f"`{motif.name}` has {len(ports)} {what}, {len(given)} given"
            note = f"its {what} are {quote(p.name for p in ports)}"
            self.checker.error("D212", message, span, "", f"name {len(ports)}", note)

    def _references(self, references: tuple[tree.Reference, ...], names: set[str]) -> None:
        for reference in references:
            self._reference(reference, names)

    def _defined(self, reference: tree.Reference, names: set[str]) -> None:
        """The left of `=`: one node."""
        if isinstance(reference.index, tree.Slice):
            message = f"`=` defines one node, and this is a slice of `{reference.name}`"
            remedy = f"define each: `for k in 0..n {{ {reference.name}[k] = ... }}`"
            self.checker.error("D209", message, reference.span, "", remedy)
        self._target(reference, names)

    def _target(self, reference: tree.Reference, names: set[str]) -> None:
        if reference.name in {port.name for port in self.graph.inputs}:
            message = f"nothing can flow into `{reference.name}`, an input"
            remedy = "name a node of this motif or an output"
            self.checker.error("D217", message, reference.span, "an input", remedy)
        self._reference(reference, names)

    def _reference(self, reference: tree.Reference, names: set[str]) -> None:
        match reference.index:
            case tree.Index(value=value):
                self.checker._expression(value, names)
            case tree.Slice(start=start, stop=stop):
                for bound in (start, stop):
                    if bound is not None:
                        self.checker._expression(bound, names)
            case None:
                pass
        declaration = self.nodes.get(reference.name)
        if declaration is None:
            where = f"not declared in `{self.graph.name}`"
            remedy = suggest(reference.name, self.nodes, f"declare it: `node {reference.name}`")
            message = f"`{reference.name}` is not a node of `{self.graph.name}`"
            note = f"declared nodes are {quote(self.nodes)}"
            self.checker.error("D203", message, reference.span, where, remedy, note)
        elif reference.index is not None and not declaration.is_list:
            message = f"`{reference.name}` is a single node and takes no index"
            remedy = f"declare a list with `node {reference.name}[n]`, or leave the index out"
            self.checker.error("D209", message, reference.span, "", remedy)


# -------------------------------------------------------------------------------------- recursion


def _recursion(program: Program) -> list[Diagnostic]:
    """Operations and motifs that are made of themselves."""
    operations = {
        name: [c for c in called_names(d.body) if c in program.operations]
        for name, d in program.operations.items()
    }
    motifs = {
        name: [
            s.motif
            for s in walk(d.body)
            if isinstance(s, tree.Instantiation | tree.Chain) and s.motif in program.motifs
        ]
        for name, d in program.motifs.items()
    }
    errors = []
    for table, spans in (
        (operations, {n: d.span for n, d in program.operations.items()}),
        (motifs, {n: d.span for n, d in program.motifs.items()}),
    ):
        for circle in _circles(table):
            errors.append(
                Diagnostic(
                    "D207",
                    f"`{circle[0]}` is made of itself",
                    spans[circle[0]],
                    notes=("by way of " + " -> ".join((*circle, circle[0])),),
                    help="end the circle: a definition uses only what does not use it",
                )
            )
    return errors


def _oversized(program: Program) -> list[Diagnostic]:
    """Operations made of operations until no memory holds them; call after `_recursion`."""
    sizes: dict[str, int] = {}

    def size(name: str) -> int:
        definition = program.operations.get(name)
        if definition is None or isinstance(definition, tree.ChoiceDefinition):
            return 1
        if name not in sizes:
            sizes[name] = sum(map(size, called_names(definition.body)))
        return sizes[name]

    return [
        Diagnostic(
            "D224",
            f"`{name}` is made of {size(name):,} primitives",
            definition.span,
            help=f"an operation has at most {MAX_PRIMITIVES:,}; use fewer",
        )
        for name, definition in program.operations.items()
        if size(name) > MAX_PRIMITIVES
    ][:1]


def called_names(term: tree.OperationTerm) -> Iterator[str]:
    """Names of the operations a term applies."""
    match term:
        case tree.Call(name=name):
            yield name
        case tree.Pipeline(stages=parts) | tree.Parallel(branches=parts):
            for part in parts:
                yield from called_names(part)
        case tree.Alternatives(options=parts):
            for part in parts:
                yield from called_names(part)
        case tree.Conditional(then=then, otherwise=otherwise):
            yield from called_names(then)
            yield from called_names(otherwise)
        case _:
            assert_never(term)


def _circles(table: Mapping[str, list[str]]) -> list[list[str]]:
    """One circle for each strongly connected part of a call graph."""
    graph = nx.DiGraph((name, called) for name, many in table.items() for called in many)
    circles = []
    for part in nx.strongly_connected_components(graph):
        first = min(part, key=list(table).index)
        if len(part) > 1 or graph.has_edge(first, first):
            inside = graph.subgraph(part)
            circles.append([edge[0] for edge in nx.find_cycle(inside, first)])
    return circles
