"""Pass 2: numbers. Unrolls loops, decides conditions, instantiates motifs.

In: a `Program` and the values of the network's parameters. Out: a `Graph` without shapes or i'
nodes, each instance with the statements it came from. Non-goals: shapes, reachability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from attrs import evolve
from typing_extensions import assert_never

from bayesnas.compiler.expand.calls import (
    arguments,
    called_motif,
    complete,
    inputs_of,
    link_numbers,
    reductions_of,
    substitute_arguments,
    tie_group,
)
from bayesnas.compiler.expand.lower import IDENTITY, candidates, lower, tie_name
from bayesnas.compiler.expand.parts import Parts
from bayesnas.compiler.expand.scopes import Scope, Unrolled, number_literal, wrong
from bayesnas.compiler.graph.model import (
    BudgetConstraint,
    CostName,
    Edge,
    Graph,
    Instance,
    Kind,
    Residual,
    RetainConstraint,
    Role,
)
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import evaluate, substitute, substitute_term
from bayesnas.compiler.program.limits import MAX_DEPTH
from bayesnas.compiler.program.names import MotifCall
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, quote, suggest


def expand(program: Program, network: tree.Network, values: Mapping[str, int]) -> Graph:
    """The graph of a network; ``values`` override its parameters' defaults.

    Raises:
        DiagnosticError: D4xx for a value the network does not take, D2xx for numbers that do not
            fit (indices, sizes, lengths), D208 for nodes defined twice.
    """
    expander = _Expander(program)
    expander.network(network, _parameters(network, values))
    if expander.errors:
        raise DiagnosticError(*_distinct(expander.errors))
    return expander.parts.graph(network.name)


def _distinct(errors: list[Diagnostic]) -> list[Diagnostic]:
    """A wrong motif is wrong in every instance: say it once."""
    return list({(e.code, e.message, e.span): e for e in errors}.values())


def _parameters(network: tree.Network, given: Mapping[str, int]) -> dict[str, int]:
    parameters = [p for p in network.parameters if isinstance(p, tree.Parameter)]
    known = {p.name for p in parameters}
    for name in given:
        if name not in known:
            has = f"its parameters are {quote(sorted(known))}" if known else "it has none"
            raise DiagnosticError(
                Diagnostic(
                    "D410",
                    f"network `{network.name}` has no parameter `{name}`",
                    network.span,
                    notes=(has,),
                    help=suggest(name, known, "leave the `--set` out"),
                )
            )
    values: dict[str, int] = {}
    for parameter in parameters:
        if parameter.name in given:
            values[parameter.name] = given[parameter.name]
        elif parameter.default is not None:
            values[parameter.name] = evaluate(parameter.default, values)
        else:
            raise DiagnosticError(
                Diagnostic(
                    "D411",
                    f"parameter `{parameter.name}` of network `{network.name}` has no value",
                    parameter.span,
                    help=f"give it one with `--set {parameter.name}=...`, or a default here",
                )
            )
    return values


_Action: TypeAlias = Callable[[Scope, Unrolled], None]


class _Expander:
    """Fills scopes statement by statement; errors of a statement do not stop the others."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.parts = Parts()
        self.errors: list[Diagnostic] = []

    # ------------------------------------------------------------------------------- instances

    def network(self, network: tree.Network, values: dict[str, int]) -> None:
        self._instantiate(network, Scope("", "", values, {}, 0), None, None)

    def _instantiate(
        self,
        graph: tree.Motif | tree.Network,
        scope: Scope,
        parent: str | None,
        chain: str | None,
    ) -> Instance:
        if scope.depth > MAX_DEPTH:
            message = f"motifs nest deeper than {MAX_DEPTH} levels"
            raise wrong("D224", message, graph.span, "nest fewer motifs")
        self.parts.spend(1, graph.span)
        self.parts.paths.append(scope.path)
        inputs = [self._port(scope, port, "input") for port in graph.inputs]
        outputs = [self._port(scope, port, "output") for port in graph.outputs]
        scope.inputs = set(inputs)
        unrolled = list(self._unroll(graph.body, scope.values, {}))
        for statement in unrolled:
            self._guard(self._declare, scope, statement)
        for statement in unrolled:
            self._guard(self._connect_statement, scope, statement)
        instance = Instance(
            scope.path,
            scope.group_path,
            graph.name,
            parent,
            tuple(scope.values.items()),
            tuple(inputs),
            tuple(outputs),
            tuple(scope.body),
            chain,
        )
        self.parts.instances[scope.path] = instance
        return instance

    def _guard(self, action: _Action, scope: Scope, statement: Unrolled) -> None:
        """Collect a statement's errors and go on, except where the spec is too large."""
        try:
            action(scope, statement)
        except DiagnosticError as error:
            if error.diagnostics[0].code == "D224":
                raise
            self.errors += error.diagnostics

    def _port(self, scope: Scope, port: tree.Port, role: Role) -> str:
        shape = None
        if port.shape is not None:
            shape = tuple(evaluate(size, scope.values) for size in port.shape)
            if len(shape) not in (1, 2, 3) or min(shape) < 1:
                raise wrong(
                    "D222",
                    f"invalid shape {list(shape)} of `{port.name}`",
                    port.span,
                    "write [channels, height, width], [channels, length] or [features], "
                    "each 1 or more",
                )
        return self.parts.node(scope, port.name, port.name, port.span, role, shape=shape)

    # ------------------------------------------------------------------------------- unrolling

    def _unroll(
        self, body: Iterable[tree.Statement], values: Mapping[str, int], loops: dict[str, int]
    ) -> Iterator[Unrolled]:
        """Simple statements with the loop variables around each; loops and branches dissolved."""
        for statement in body:
            match statement:
                case tree.Loop():
                    here = {**values, **loops}
                    start = evaluate(statement.start, here)
                    stop = evaluate(statement.stop, here)
                    for k in range(start, stop):
                        self.parts.spend(1, statement.span)
                        yield from self._unroll(
                            statement.body, values, {**loops, statement.variable: k}
                        )
                case tree.Branch():
                    chosen = evaluate(statement.condition, {**values, **loops})
                    taken = statement.then if chosen else statement.otherwise
                    yield from self._unroll(taken, values, loops)
                case _:
                    yield Unrolled(statement, loops)

    # ------------------------------------------------------------------------------ declaring

    def _declare(self, scope: Scope, unrolled: Unrolled) -> None:
        values = {**scope.values, **unrolled.loops}
        match unrolled.statement:
            case tree.NodeDeclaration(nodes=declared):
                made = [i for node in declared for i in self._declare_nodes(scope, node, values)]
                names = tuple(
                    evolve(d, size=d.size and number_literal(evaluate(d.size, values), d.span))
                    for d in declared
                )
                statement = evolve(unrolled.statement, nodes=names)
                scope.body.append(Residual(statement, nodes=tuple(made)))
            case tree.Merge(target=target, merge=merge):
                self._define(scope, target, values, merge)
            case tree.Transform(target=target):
                self._define(scope, target, values)
            case tree.Instantiation(targets=targets):
                for target in targets:
                    self._define(scope, target, values)
            case tree.Chain():
                self._declare_chain(scope, unrolled.statement, values)
            case _:
                pass

    def _declare_nodes(
        self, scope: Scope, declared: tree.Declared, values: Mapping[str, int]
    ) -> list[str]:
        if declared.size is None:
            return [self.parts.node(scope, declared.name, declared.name, declared.span)]
        size = evaluate(declared.size, values)
        if size < 0:
            message = f"`{declared.name}` would have {size:,} nodes"
            raise wrong("D222", message, declared.span, "choose a size of 0 or more")
        self.parts.spend(size, declared.span)
        scope.lists.setdefault(declared.name, [])
        return [
            self.parts.node(scope, declared.name, f"{declared.name}[{k}]", declared.span)
            for k in range(size)
        ]

    def _define(
        self,
        scope: Scope,
        target: tree.Reference,
        values: Mapping[str, int],
        merge: str = "sum",
    ) -> None:
        """The node on the left of ``=``: new, an element of a list, or an output."""
        is_output = target.name in scope.singles and (
            self.parts.nodes[scope.singles[target.name]].role == "output"
        )
        if target.index is None and not is_output:
            self.parts.node(scope, target.name, target.name, target.span)
        identifiers = [i for _, i in scope.lookup(target, values)]
        for identifier in identifiers:
            if identifier in scope.defined:
                message = f"`{self.parts.nodes[identifier].name}` is defined twice"
                remedy = "define it once; more edges arrive with `->`"
                raise wrong("D208", message, target.span, remedy)
            scope.defined.add(identifier)
            node = self.parts.nodes[identifier]
            self.parts.nodes[identifier] = evolve(node, merge=merge)  # type: ignore[arg-type]

    def _declare_chain(self, scope: Scope, chain: tree.Chain, values: Mapping[str, int]) -> None:
        length = evaluate(chain.length, values)
        if length < 1:
            message = f"a chain of {length} motifs"
            raise wrong("D222", message, chain.length.span, "chain 1 motif or more")
        self.parts.spend(length * len(chain.targets), chain.span)
        for target in chain.targets:
            scope.chains.add(target.name)
            for k in range(length):
                self.parts.node(scope, target.name, f"{target.name}[{k}]", target.span)

    # ------------------------------------------------------------------------------- connecting

    def _connect_statement(self, scope: Scope, unrolled: Unrolled) -> None:
        values = {**scope.values, **unrolled.loops}
        symbols = {n: number_literal(v, unrolled.statement.span) for n, v in unrolled.loops.items()}
        match unrolled.statement:
            case tree.NodeDeclaration():
                pass
            case tree.Merge():
                self._merge(scope, unrolled.statement, values)
            case tree.Transform() as statement:
                operation = substitute_term(statement.operation, symbols)
                found = scope.lookup(statement.target, values)
                if not found:  # its declaration failed, and that has been said
                    return
                [(target, target_id)] = found
                for source, source_id in scope.lookup(statement.source, values):
                    statement = evolve(statement, target=target, source=source, operation=operation)
                    self._lay(scope, statement, source_id, target_id, operation, False, values)
            case tree.Connect() as statement:
                self._connect(scope, statement, values, symbols)
            case tree.Instantiation() as statement:
                self._instance(scope, statement, values, symbols)
            case tree.Chain() as statement:
                self._chain(scope, statement, values, symbols)
            case tree.Retain() as statement:
                self._retain(scope, statement, values)
            case tree.Budget() as statement:
                self._budget(statement, values)
            case tree.Loop() | tree.Branch():
                raise AssertionError("unrolled")
            case _:
                assert_never(unrolled.statement)

    def _merge(self, scope: Scope, statement: tree.Merge, values: Mapping[str, int]) -> None:
        found = scope.lookup(statement.target, values)
        if not found:  # its declaration failed, and that has been said
            return
        [(target, target_id)] = found
        sources = scope.lookup_all(statement.sources, values)
        edges = [
            self.parts.edge(scope, identifier, target_id, "fixed", IDENTITY, statement.span)
            for _, identifier in sources
        ]
        literal = evolve(statement, target=target, sources=tuple(r for r, _ in sources))
        scope.body.append(Residual(literal, tuple(e.id for e in edges)))

    def _connect(
        self,
        scope: Scope,
        statement: tree.Connect,
        values: Mapping[str, int],
        symbols: Mapping[str, tree.Expression],
    ) -> None:
        operation = statement.operation
        if operation is not None:
            operation = substitute_term(operation, symbols)
        sources = scope.lookup_all(statement.sources, values)
        for target, target_id in scope.lookup_all(statement.targets, values):
            for source, source_id in sources:
                literal = evolve(
                    statement, sources=(source,), targets=(target,), operation=operation
                )
                self._lay(
                    scope, literal, source_id, target_id, operation, statement.searched, values
                )

    def _lay(
        self,
        scope: Scope,
        statement: tree.Statement,
        source: str,
        target: str,
        operation: tree.OperationTerm | None,
        searched: bool,
        values: Mapping[str, int],
    ) -> None:
        """One connection: its candidates, or its operations kept together."""
        terms: tuple[tree.OperationTerm, ...]
        if operation is None:
            terms = (tree.Call("skip", (), span=statement.span),)
        elif searched:
            found = []
            for term in candidates(operation, self.program, values):
                self.parts.spend(1, statement.span)
                found.append(term)
            terms = tuple(found)
        elif isinstance(operation, tree.Parallel):
            terms = operation.branches
        else:
            terms = (operation,)
        connection = self.parts.connect(source, target)
        taken: set[str] = set()
        ties: set[str] = set()
        edges = []
        for term in terms:
            lowered = lower(term, self.program, values)
            name = _unique(lowered.name, taken)
            kind: Kind = "searched" if searched else "fixed"
            edges.append(
                self.parts.edge(
                    scope,
                    source,
                    target,
                    kind,
                    evolve(lowered, name=name),
                    statement.span,
                    connection,
                    operation.name if searched and isinstance(operation, tree.Call) else None,
                    _unique(tie_name(term, self.program, values), ties),
                )
            )
        scope.body.append(Residual(statement, tuple(e.id for e in edges), terms))

    def _retain(self, scope: Scope, statement: tree.Retain, values: Mapping[str, int]) -> None:
        count = evaluate(statement.count, values)
        if count < 1:
            message = f"`retain {count}` would leave nothing"
            raise wrong("D222", message, statement.count.span, "retain 1 edge or more")
        for _, identifier in scope.lookup_all(statement.targets, values):
            self.parts.spend(1, statement.span)
            self.parts.retains.append(RetainConstraint(identifier, count, statement.span))

    def _budget(self, statement: tree.Budget, values: Mapping[str, int]) -> None:
        limit = statement.limit
        most = limit.value if isinstance(limit, tree.Amount) else evaluate(limit, values)
        if most < 1:
            message = f"a budget of {most} {statement.cost}"
            raise wrong("D222", message, limit.span, "allow 1 or more")
        cost: CostName = "flops" if statement.cost == "flops" else "parameters"
        self.parts.budgets.append(BudgetConstraint(cost, most, statement.span))

    # ------------------------------------------------------------------------ nested instances

    def _instance(
        self,
        scope: Scope,
        statement: tree.Instantiation,
        values: Mapping[str, int],
        symbols: Mapping[str, tree.Expression],
    ) -> None:
        motif = called_motif(self.program, scope, statement)
        inputs = inputs_of(scope, statement, motif, values)
        targets = scope.lookup_all(statement.targets, values)
        if not targets:  # their definition failed, and that has been said
            return
        numbers, motifs = arguments(self.program, scope, statement, motif, values)
        local = self.parts.nodes[targets[0][1]].name
        group = tie_group(scope, statement, motif, local, values)
        inner = self._inner(scope, local, group, complete(motif, numbers), motifs)
        instance, edges = self._place(scope, statement, motif, inner, [i for _, i in inputs], None)
        edges += [
            self.parts.edge(scope, output, target, "fixed", IDENTITY, statement.span)
            for output, (_, target) in zip(instance.outputs, targets, strict=True)
        ]
        literal = evolve(  # what is left of the instance is its own: it is tied no more
            statement,
            motif=motif.name,
            tie=None,
            targets=tuple(r for r, _ in targets),
            inputs=tuple(r for r, _ in inputs),
            arguments=substitute_arguments(statement.arguments, numbers, symbols),
        )
        scope.body.append(Residual(literal, tuple(e.id for e in edges), instances=(instance.path,)))

    def _inner(
        self,
        scope: Scope,
        local: str,
        group: str,
        values: Mapping[str, int],
        motifs: Mapping[str, tree.Motif],
    ) -> Scope:
        path = scope.identifier(local)
        return Scope(path, group, values, motifs, scope.depth + 1)

    def _place(
        self,
        scope: Scope,
        call: MotifCall,
        motif: tree.Motif,
        inner: Scope,
        inputs: list[str],
        chain: str | None,
    ) -> tuple[Instance, list[Edge]]:
        """Instantiate a motif and feed its inputs."""
        instance = self._instantiate(motif, inner, scope.path, chain)
        edges = [
            self.parts.edge(scope, source, port, "fixed", IDENTITY, call.span)
            for source, port in zip(inputs, instance.inputs, strict=True)
        ]
        return instance, edges

    def _chain(
        self,
        scope: Scope,
        statement: tree.Chain,
        values: Mapping[str, int],
        symbols: Mapping[str, tree.Expression],
    ) -> None:
        """Instances in a row, each reading the outputs before it."""
        motif = called_motif(self.program, scope, statement)
        name = statement.targets[0].name
        length = len(scope.lists.get(name, ()))
        if not length:
            return
        reductions = reductions_of(statement, length, values)
        seeds = inputs_of(scope, statement, motif, values)
        states = [i for _, i in seeds]
        numbers, motifs = arguments(self.program, scope, statement, motif, values)
        edges: list[Edge] = []
        paths: list[str] = []
        for k in range(length):
            given = link_numbers(motif, numbers, reductions, k)
            group = tie_group(scope, statement, motif, f"{name}[{k}]", values)
            if statement.tie is not None and reductions:
                group += "/reduction" if k in reductions else "/normal"
            inner = self._inner(scope, f"{name}[{k}]", group, complete(motif, given), motifs)
            inputs = states[-len(motif.inputs) :]
            instance, laid = self._place(scope, statement, motif, inner, inputs, name)
            paths.append(instance.path)
            edges += laid
            outputs = [scope.lists[t.name][k] for t in statement.targets]
            edges += [
                self.parts.edge(scope, port, node, "fixed", IDENTITY, statement.span)
                for port, node in zip(instance.outputs, outputs, strict=True)
            ]
            states = outputs if len(outputs) > 1 else [*states, *outputs]
        literal = evolve(
            statement,
            motif=motif.name,
            inputs=tuple(r for r, _ in seeds),
            arguments=substitute_arguments(statement.arguments, numbers, symbols),
            length=substitute(statement.length, symbols),
            reductions=tuple(substitute(r, symbols) for r in statement.reductions),
        )
        ids = tuple(e.id for e in edges)
        scope.body.append(Residual(literal, ids, instances=tuple(paths)))


def _unique(name: str, taken: set[str]) -> str:
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{name}_{count}"
    taken.add(result)
    return result
