"""Checks the statements of motifs and networks against the nodes they declare: a part of pass 1."""

from __future__ import annotations

from typing import Final

from typing_extensions import assert_never

from bayesnas.compiler.graph.model import CostName
from bayesnas.compiler.operations import aliases
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.program.definitions import Declaration, declarations
from bayesnas.compiler.program.names import Checker, given_nodes
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Span, quote, suggest
from bayesnas.dsl.printing.terms import print_reference

COSTS: Final[tuple[CostName, ...]] = ("parameters", "flops", "latency")


class BodyChecker:
    """Checks the statements of one motif or network."""

    def __init__(self, checker: Checker, graph: tree.Motif | tree.Network) -> None:
        self.checker = checker
        self.graph = graph
        self.inputs = {port.name for port in graph.inputs}
        self.nodes: dict[str, Declaration] = {}

    def check(self) -> None:
        """Collect what is wrong in the checker."""
        names = self.checker.parameters(self.graph.parameters)
        if isinstance(self.graph, tree.Network):
            self._no_motif_parameters(self.graph)
        for port in (*self.graph.inputs, *self.graph.outputs):
            if port.name in self.nodes:
                message = f"`{port.name}` stands twice"
                self.checker.error("D208", message, port.span, "again", "rename one of them")
            self.nodes[port.name] = Declaration(False, port.span)
            for size in port.shape or ():
                self.checker.expression(size, names)
        for name, declaration in declarations(self.graph.body):
            known = self.nodes.get(name)
            if known is not None and known.is_list != declaration.is_list:
                note = f"`{name}` is declared at {known.span}"
                message = f"`{name}` is both a node and a list of nodes"
                self.checker.error("D208", message, declaration.span, "", "rename one", note)
            self.nodes.setdefault(name, declaration)
        self._body(self.graph.body, names, inside_loop=False)

    def _no_motif_parameters(self, network: tree.Network) -> None:
        for parameter in network.parameters:
            if isinstance(parameter, tree.MotifParameter):
                message = f"the network `{network.name}` takes a motif as a parameter"
                remedy = "name the motif where it is used; only motifs take motifs"
                self.checker.error("D225", message, parameter.span, "", remedy)

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
                        checker.expression(node.size, names)
            case tree.Merge(target=target, sources=sources):
                self._defined(target, names)
                self._references(sources, names)
            case tree.Transform(target=target, source=source, operation=operation):
                self._defined(target, names)
                self._reference(source, names)
                checker.term(operation, names, False)
            case tree.Connect():
                self._connect(statement, names)
            case tree.Instantiation() | tree.Scan():
                self._motif(statement, names)
            case tree.Chain():
                self._chain(statement, names)
            case tree.Loop(variable=variable, body=body):
                checker.expression(statement.start, names)
                checker.expression(statement.stop, names)
                if variable in names:
                    message = f"loop variable `{variable}` hides a parameter or another loop's"
                    checker.error("D208", message, statement.span, "", "rename it")
                self._body(body, names | {variable}, inside_loop=True)
            case tree.Branch():
                checker.expression(statement.condition, names)
                self._body(statement.then, names, inside_loop)
                self._body(statement.otherwise, names, inside_loop)
            case tree.Retain(count=count, targets=targets):
                checker.expression(count, names)
                for target in targets:
                    self._target(target, names)
            case tree.Budget():
                self._budget(statement, names)
            case _:
                assert_never(statement)

    def _budget(self, statement: tree.Budget, names: set[str]) -> None:
        if isinstance(self.graph, tree.Motif):
            message = f"a budget in the motif `{self.graph.name}`"
            remedy = "write it in the network: it limits what the whole network costs"
            self.checker.error("D226", message, statement.span, "", remedy)
        if statement.cost not in COSTS:
            message = f"`{statement.cost}` has no budget"
            remedy = suggest(statement.cost, COSTS, f"choose from {quote(COSTS)}")
            self.checker.error("D227", message, statement.span, "", remedy)
        limit = statement.limit
        timed = isinstance(limit, tree.Amount) and limit.is_duration
        if timed != (statement.cost == "latency") and statement.cost in COSTS:
            message = f"a budget of {statement.cost} is {'no' if timed else 'a'} time"
            remedy = "leave its unit out" if timed else "write a unit: `5 ms`, `us` or `s`"
            self.checker.error("D236", message, limit.span, "", remedy)
        if not isinstance(limit, tree.Amount):
            self.checker.expression(limit, names)

    def _connect(self, statement: tree.Connect, names: set[str]) -> None:
        self._references(statement.sources, names)
        for target in statement.targets:
            self._target(target, names)
        if statement.operation is not None:
            self.checker.term(statement.operation, names, statement.searched)
        elif statement.searched:
            message = "a searched edge needs its candidate operations"
            remedy = "write them after a colon: `a ~> b : conv(3) | skip`"
            self.checker.error("D210", message, statement.span, "", remedy)

    def _chain(self, statement: tree.Chain, names: set[str]) -> None:
        for target in statement.targets:
            if isinstance(target.index, tree.Index):
                message = f"a chain makes the list `{target.name}`, not an element of it"
                remedy = f"write `{target.name} = chain ...`; its first motif is `{target.name}[0]`"
                self.checker.error("D209", message, target.span, "", remedy)
        self._motif(statement, names)
        self.checker.expression(statement.length, names)
        for reduction in statement.reductions:
            self.checker.expression(reduction, names)

    def _motif(self, statement: tree.MotifCall, names: set[str]) -> None:
        for target in statement.targets:
            self._defined(target, names)
        self._references(given_nodes(statement), names)
        if isinstance(statement.tie, tree.Tie) and statement.tie.index is not None:
            self.checker.expression(statement.tie.index, names)
        passed = {p.name for p in self.graph.parameters if isinstance(p, tree.MotifParameter)}
        motif = self.checker.program.motifs.get(statement.motif)
        known = {*self.checker.program.motifs, *passed}
        if statement.motif in passed:
            self._arguments(statement.arguments, None, known, names)
        elif motif is None:
            self._unknown_motif(statement.motif, known, statement.span, _edge(statement))
            self._arguments(statement.arguments, None, known, names)
        else:
            self._arguments(statement.arguments, motif, known, names)
            self.checker.call(statement, motif, self._whole_lists(given_nodes(statement)))

    def _unknown_motif(self, name: str, motifs: set[str], span: Span, edge: str) -> None:
        remedy = aliases.merge_help(name) or suggest(name, motifs, "define it with `motif`")
        operation = name if name in self.checker.program.operations else aliases.operation_of(name)
        if operation in {*PRIMITIVES, *self.checker.program.operations}:
            remedy = f"`{operation}` is an operation: write `{edge} : {operation}`"
        self.checker.error("D211", f"unknown motif `{name}`", span, "not defined", remedy)

    def _arguments(
        self,
        arguments: tuple[tree.Argument, ...],
        motif: tree.Motif | None,
        motifs: set[str],
        names: set[str],
    ) -> None:
        """Values of a motif's parameters: expressions, or names of ``motifs``.

        Where the motif itself is a parameter (None), a name of either kind may be given.
        """
        kinds = (
            {p.name: isinstance(p, tree.MotifParameter) for p in motif.parameters} if motif else {}
        )
        for argument in arguments:
            value = argument.value
            name = value.name if isinstance(value, tree.Name) else None
            if motif is None and name in motifs and name not in names:
                continue
            if not kinds.get(argument.name or "", False):
                self.checker.expression(value, names)
            elif name is None:
                message = f"`{argument.name}` takes a motif"
                remedy = f"name one: {quote(sorted(motifs))}"
                self.checker.error("D204", message, value.span, "no motif", remedy)
            elif name not in motifs:
                self._unknown_motif(name, motifs, value.span, "y = x")

    def _whole_lists(self, given: tuple[tree.Reference, ...]) -> bool:
        """Whether some reference stands for several nodes: they count as they are expanded."""
        return any(
            isinstance(r.index, tree.Slice)
            or (r.index is None and r.name in self.nodes and self.nodes[r.name].is_list)
            for r in given
        )

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
        if reference.name in self.inputs:
            message = f"nothing can flow into `{reference.name}`, an input"
            remedy = "name a node of this motif or an output"
            self.checker.error("D217", message, reference.span, "an input", remedy)
        self._reference(reference, names)

    def _reference(self, reference: tree.Reference, names: set[str]) -> None:
        match reference.index:
            case tree.Index(value=value):
                self.checker.expression(value, names)
            case tree.Slice(start=start, stop=stop):
                for bound in (start, stop):
                    if bound is not None:
                        self.checker.expression(bound, names)
            case None:
                pass
        declaration = self.nodes.get(reference.name)
        if declaration is None:
            where = f"not declared in `{self.graph.name}`"
            remedy = suggest(
                reference.name, self.nodes, f"declare it: `node {_declared(reference)}`"
            )
            message = f"`{reference.name}` is not a node of `{self.graph.name}`"
            note = f"declared nodes are {quote(self.nodes)}"
            self.checker.error("D203", message, reference.span, where, remedy, note)
        elif reference.index is not None and not declaration.is_list:
            message = f"`{reference.name}` is a single node and takes no index"
            remedy = f"declare a list with `node {reference.name}[n]`, or leave the index out"
            self.checker.error("D209", message, reference.span, "", remedy)


def _declared(reference: tree.Reference) -> str:
    """How a node is declared that is used like this: with room for the index, if it has one."""
    match reference.index:
        case None:
            return reference.name
        case tree.Index(value=tree.Number(value=index)):
            return f"{reference.name}[{index + 1}]"
        case _:
            return f"{reference.name}[n]"


def _edge(statement: tree.MotifCall) -> str:
    """What was meant for a motif as the head of an edge: `y = x`."""
    ends = (*statement.targets[:1], *statement.inputs[:1])
    return " = ".join(print_reference(end) for end in ends)
