"""Pass 2: numbers. Unrolls loops, decides conditions, instantiates motifs.

In: a `Program` and the values of the network's parameters. Out: a `Graph` without shapes or i'
nodes, each instance with the statements it came from. Non-goals: shapes, reachability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from attrs import define, evolve, field, frozen
from typing_extensions import assert_never

from bayesnas.compiler.evaluate import evaluate, substitute, substitute_term
from bayesnas.compiler.graph import (
    BudgetConstraint,
    CostName,
    Edge,
    Graph,
    Instance,
    Kind,
    Merge,
    Node,
    Operation,
    Residual,
    RetainConstraint,
    Role,
)
from bayesnas.compiler.limits import MAX_DEPTH, MAX_SIZE
from bayesnas.compiler.lower import IDENTITY, candidates, lower, tie_name
from bayesnas.compiler.names import MotifCall, check_call, wrong_count
from bayesnas.compiler.program import Program
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, quote, suggest


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
    nodes = expander.nodes.values()
    instances = {path: expander.instances[path] for path in expander.paths}
    graph = Graph(
        network.name,
        instances,
        retains=tuple(expander.retains),
        budgets=tuple(expander.budgets),
    )
    return graph.rebuild(nodes, expander.edges)


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


@frozen
class _Unrolled:
    """A simple statement with the loop variables around it."""

    statement: tree.Statement
    loops: Mapping[str, int]


@define
class _Scope:
    """One instance while it is filled: values of its parameters, its node names."""

    path: str
    group_path: str
    values: Mapping[str, int]
    motifs: Mapping[str, tree.Motif]  # those passed as parameters
    depth: int
    singles: dict[str, str] = field(factory=dict)  # name -> node id
    lists: dict[str, list[str]] = field(factory=dict)  # name -> node ids
    chains: set[str] = field(factory=set)  # lists whose bare name is their last element
    inputs: set[str] = field(factory=set)
    defined: set[str] = field(factory=set)  # node ids that have had their `=`
    body: list[Residual] = field(factory=list)

    def identifier(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def group(self, local: str) -> str:
        return f"{self.group_path}.{local}" if self.group_path else local


_Action: TypeAlias = Callable[[_Scope, _Unrolled], None]


class _Expander:
    """Fills scopes statement by statement; errors of a statement do not stop the others."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.instances: dict[str, Instance] = {}
        self.paths: list[str] = []  # parents before children
        self.retains: list[RetainConstraint] = []
        self.budgets: list[BudgetConstraint] = []
        self.errors: list[Diagnostic] = []
        self.gates = 0
        self.size = 0
        self.connections: dict[str, int] = {}

    # ------------------------------------------------------------------------------- instances

    def network(self, network: tree.Network, values: dict[str, int]) -> None:
        self._instantiate(network, _Scope("", "", values, {}, 0), None, None)

    def _instantiate(
        self,
        graph: tree.Motif | tree.Network,
        scope: _Scope,
        parent: str | None,
        chain: str | None,
    ) -> Instance:
        if scope.depth > MAX_DEPTH:
            message = f"motifs nest deeper than {MAX_DEPTH} levels"
            raise _error("D224", message, graph.span, "nest fewer motifs")
        self._spend(1, graph.span)
        self.paths.append(scope.path)
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
        self.instances[scope.path] = instance
        return instance

    def _spend(self, count: int, span: Span) -> None:
        """Refuse what would fill the memory after all: `measure` counts most of it before.

        Candidates and turns of loops count as well here; three times as much holds them all.
        """
        self.size += count
        if self.size > 3 * MAX_SIZE:
            message = f"the spec expands past {MAX_SIZE:,} nodes, edges and turns of loops"
            raise _error("D224", message, span, "choose smaller sizes, or fewer instances")

    def _guard(self, action: _Action, scope: _Scope, statement: _Unrolled) -> None:
        """Collect a statement's errors and go on, except where the spec is too large."""
        try:
            action(scope, statement)
        except DiagnosticError as error:
            if error.diagnostics[0].code == "D224":
                raise
            self.errors += error.diagnostics

    def _port(self, scope: _Scope, port: tree.Port, role: Role) -> str:
        shape = None
        if port.shape is not None:
            shape = tuple(evaluate(size, scope.values) for size in port.shape)
            if len(shape) not in (1, 2, 3) or min(shape) < 1:
                raise _error(
                    "D222",
                    f"invalid shape {list(shape)} of `{port.name}`",
                    port.span,
                    "write [channels, height, width], [channels, length] or [features], "
                    "each 1 or more",
                )
        return self._node(scope, port.name, port.name, port.span, role, shape=shape)

    def _node(
        self,
        scope: _Scope,
        name: str,
        local: str,
        span: Span,
        role: Role = "inner",
        merge: Merge = "sum",
        shape: tuple[int, ...] | None = None,
    ) -> str:
        identifier = scope.identifier(local)
        if identifier in self.nodes:
            where = self.nodes[identifier].span
            raise _error(
                "D208",
                f"`{local}` is defined twice",
                span,
                "rename one of them",
                f"`{local}` is defined at {where}",
            )
        self.nodes[identifier] = Node(identifier, local, scope.path, role, merge, shape, span)
        if name == local:
            scope.singles[name] = identifier
        else:
            scope.lists.setdefault(name, []).append(identifier)
        return identifier

    # ------------------------------------------------------------------------------- unrolling

    def _unroll(
        self, body: Iterable[tree.Statement], values: Mapping[str, int], loops: dict[str, int]
    ) -> Iterator[_Unrolled]:
        """Simple statements with the loop variables around each; loops and branches dissolved."""
        for statement in body:
            match statement:
                case tree.Loop():
                    here = {**values, **loops}
                    start = evaluate(statement.start, here)
                    stop = evaluate(statement.stop, here)
                    for k in range(start, stop):
                        self._spend(1, statement.span)
                        yield from self._unroll(
                            statement.body, values, {**loops, statement.variable: k}
                        )
                case tree.Branch():
                    chosen = evaluate(statement.condition, {**values, **loops})
                    taken = statement.then if chosen else statement.otherwise
                    yield from self._unroll(taken, values, loops)
                case _:
                    yield _Unrolled(statement, loops)

    # ------------------------------------------------------------------------------ declaring

    def _declare(self, scope: _Scope, unrolled: _Unrolled) -> None:
        values = {**scope.values, **unrolled.loops}
        match unrolled.statement:
            case tree.NodeDeclaration(nodes=declared):
                made = [i for node in declared for i in self._declare_nodes(scope, node, values)]
                names = tuple(
                    evolve(d, size=d.size and _number(evaluate(d.size, values), d.span))
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
        self, scope: _Scope, declared: tree.Declared, values: Mapping[str, int]
    ) -> list[str]:
        if declared.size is None:
            return [self._node(scope, declared.name, declared.name, declared.span)]
        size = evaluate(declared.size, values)
        if size < 0:
            message = f"`{declared.name}` would have {size:,} nodes"
            raise _error("D222", message, declared.span, "choose a size of 0 or more")
        self._spend(size, declared.span)
        scope.lists.setdefault(declared.name, [])
        return [
            self._node(scope, declared.name, f"{declared.name}[{k}]", declared.span)
            for k in range(size)
        ]

    def _define(
        self,
        scope: _Scope,
        target: tree.Reference,
        values: Mapping[str, int],
        merge: str = "sum",
    ) -> None:
        """The node on the left of ``=``: new, an element of a list, or an output."""
        is_output = target.name in scope.singles and (
            self.nodes[scope.singles[target.name]].role == "output"
        )
        if target.index is None and not is_output:
            self._node(scope, target.name, target.name, target.span)
        identifiers = [i for _, i in self._lookup(scope, target, values)]
        for identifier in identifiers:
            if identifier in scope.defined:
                message = f"`{self.nodes[identifier].name}` is defined twice"
                remedy = "define it once; more edges arrive with `->`"
                raise _error("D208", message, target.span, remedy)
            scope.defined.add(identifier)
            node = self.nodes[identifier]
            self.nodes[identifier] = evolve(node, merge=merge)  # type: ignore[arg-type]

    def _declare_chain(self, scope: _Scope, chain: tree.Chain, values: Mapping[str, int]) -> None:
        length = evaluate(chain.length, values)
        if length < 1:
            message = f"a chain of {length} motifs"
            raise _error("D222", message, chain.length.span, "chain 1 motif or more")
        self._spend(length * len(chain.targets), chain.span)
        for target in chain.targets:
            scope.chains.add(target.name)
            for k in range(length):
                self._node(scope, target.name, f"{target.name}[{k}]", target.span)

    # ----------------------------------------------------------------------------- references

    def _lookup(
        self, scope: _Scope, reference: tree.Reference, values: Mapping[str, int]
    ) -> list[tuple[tree.Reference, str]]:
        """Literal references and node ids of what a reference stands for."""
        if reference.name in scope.singles:
            return [(evolve(reference, index=None), scope.singles[reference.name])]
        elements = scope.lists.get(reference.name)
        if elements is None:  # its declaration failed, and that has been said
            return []
        indices: Iterable[int]
        match reference.index:
            case None if reference.name in scope.chains:
                return [(reference, elements[-1])]
            case None:
                indices = range(len(elements))
            case tree.Index(value=value):
                indices = [self._bound(evaluate(value, values), reference, len(elements) - 1)]
            case tree.Slice(start=start, stop=stop):
                first = 0 if start is None else evaluate(start, values)
                last = len(elements) if stop is None else evaluate(stop, values)
                self._bound(first, reference, len(elements))
                self._bound(last, reference, len(elements))
                indices = range(first, last)
            case _:
                assert_never(reference.index)
        return [
            (
                evolve(
                    reference, index=tree.Index(_number(k, reference.span), span=reference.span)
                ),
                elements[k],
            )
            for k in indices
        ]

    def _bound(self, index: int, reference: tree.Reference, most: int) -> int:
        if not 0 <= index <= most:
            raise _error(
                "D223",
                f"index {index} of `{reference.name}` is out of range",
                reference.span,
                f"indices count from 0; here up to {most}",
            )
        return index

    def _lookup_all(
        self, scope: _Scope, references: Iterable[tree.Reference], values: Mapping[str, int]
    ) -> list[tuple[tree.Reference, str]]:
        return [found for r in references for found in self._lookup(scope, r, values)]

    # ------------------------------------------------------------------------------- connecting

    def _connect_statement(self, scope: _Scope, unrolled: _Unrolled) -> None:
        values = {**scope.values, **unrolled.loops}
        symbols = {n: _number(v, unrolled.statement.span) for n, v in unrolled.loops.items()}
        match unrolled.statement:
            case tree.NodeDeclaration():
                pass
            case tree.Merge():
                self._merge(scope, unrolled.statement, values)
            case tree.Transform() as statement:
                operation = substitute_term(statement.operation, symbols)
                found = self._lookup(scope, statement.target, values)
                if not found:  # its declaration failed, and that has been said
                    return
                [(target, target_id)] = found
                for source, source_id in self._lookup(scope, statement.source, values):
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

    def _merge(self, scope: _Scope, statement: tree.Merge, values: Mapping[str, int]) -> None:
        found = self._lookup(scope, statement.target, values)
        if not found:  # its declaration failed, and that has been said
            return
        [(target, target_id)] = found
        sources = self._lookup_all(scope, statement.sources, values)
        edges = [
            self._edge(scope, identifier, target_id, "fixed", IDENTITY, statement.span)
            for _, identifier in sources
        ]
        literal = evolve(statement, target=target, sources=tuple(r for r, _ in sources))
        scope.body.append(Residual(literal, tuple(e.id for e in edges)))

    def _connect(
        self,
        scope: _Scope,
        statement: tree.Connect,
        values: Mapping[str, int],
        symbols: Mapping[str, tree.Expression],
    ) -> None:
        operation = statement.operation
        if operation is not None:
            operation = substitute_term(operation, symbols)
        sources = self._lookup_all(scope, statement.sources, values)
        for target, target_id in self._lookup_all(scope, statement.targets, values):
            for source, source_id in sources:
                literal = evolve(
                    statement, sources=(source,), targets=(target,), operation=operation
                )
                self._lay(
                    scope, literal, source_id, target_id, operation, statement.searched, values
                )

    def _lay(
        self,
        scope: _Scope,
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
                self._spend(1, statement.span)
                found.append(term)
            terms = tuple(found)
        elif isinstance(operation, tree.Parallel):
            terms = operation.branches
        else:
            terms = (operation,)
        connection = self._connection(source, target)
        taken: set[str] = set()
        ties: set[str] = set()
        edges = []
        for term in terms:
            lowered = lower(term, self.program, values)
            name = _unique(lowered.name, taken)
            kind: Kind = "searched" if searched else "fixed"
            edges.append(
                self._edge(
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

    def _connection(self, source: str, target: str) -> str:
        plain = f"{source}->{target}"
        count = self.connections[plain] = self.connections.get(plain, 0) + 1
        return plain if count == 1 else f"{plain}#{count}"

    def _edge(
        self,
        scope: _Scope,
        source: str,
        target: str,
        kind: Kind,
        operation: Operation,
        span: Span,
        connection: str | None = None,
        choice: str | None = None,
        tie: str = "",
    ) -> Edge:
        self._spend(1, span)
        connection = connection or self._connection(source, target)
        gate = group = None
        if kind == "searched":
            gate, self.gates = self.gates, self.gates + 1
            prefix = f"{scope.path}." if scope.path else ""
            local = connection.replace(f"->{prefix}", "->", 1).removeprefix(prefix)
            group = scope.group(f"{local}:{tie}")
        edge = Edge(
            f"{connection}:{operation.name}",
            source,
            target,
            kind,
            connection,
            scope.path,
            len(self.edges),
            operation,
            gate,
            group,
            choice,
            span,
        )
        self.edges.append(edge)
        return edge

    def _retain(self, scope: _Scope, statement: tree.Retain, values: Mapping[str, int]) -> None:
        count = evaluate(statement.count, values)
        if count < 1:
            message = f"`retain {count}` would leave nothing"
            raise _error("D222", message, statement.count.span, "retain 1 edge or more")
        for _, identifier in self._lookup_all(scope, statement.targets, values):
            self._spend(1, statement.span)
            self.retains.append(RetainConstraint(identifier, count, statement.span))

    def _budget(self, statement: tree.Budget, values: Mapping[str, int]) -> None:
        limit = statement.limit
        most = limit.value if isinstance(limit, tree.Amount) else evaluate(limit, values)
        if most < 1:
            message = f"a budget of {most} {statement.cost}"
            raise _error("D222", message, limit.span, "allow 1 or more")
        cost: CostName = "flops" if statement.cost == "flops" else "parameters"
        self.budgets.append(BudgetConstraint(cost, most, statement.span))

    # ------------------------------------------------------------------------ nested instances

    def _instance(
        self,
        scope: _Scope,
        statement: tree.Instantiation,
        values: Mapping[str, int],
        symbols: Mapping[str, tree.Expression],
    ) -> None:
        motif = self._motif(scope, statement)
        inputs = self._inputs(scope, statement, motif, values)
        targets = self._lookup_all(scope, statement.targets, values)
        if not targets:  # their definition failed, and that has been said
            return
        numbers, motifs = self._arguments(scope, statement, motif, values)
        local = self.nodes[targets[0][1]].name
        group = _tie_group(scope, statement, motif, local, values)
        inner = self._inner(scope, local, group, _complete(motif, numbers), motifs)
        instance, edges = self._place(scope, statement, motif, inner, [i for _, i in inputs], None)
        edges += [
            self._edge(scope, output, target, "fixed", IDENTITY, statement.span)
            for output, (_, target) in zip(instance.outputs, targets, strict=True)
        ]
        literal = evolve(  # what is left of the instance is its own: it is tied no more
            statement,
            motif=motif.name,
            tie=None,
            targets=tuple(r for r, _ in targets),
            inputs=tuple(r for r, _ in inputs),
            arguments=_substitute_arguments(statement.arguments, numbers, symbols),
        )
        scope.body.append(Residual(literal, tuple(e.id for e in edges), instances=(instance.path,)))

    def _motif(self, scope: _Scope, call: MotifCall) -> tree.Motif:
        """The motif that is called; one that was passed is checked now."""
        passed = scope.motifs.get(call.motif)
        if passed is None:
            return self.program.motifs[call.motif]
        check_call(self.program, call, passed)
        return passed

    def _inputs(
        self, scope: _Scope, call: MotifCall, motif: tree.Motif, values: Mapping[str, int]
    ) -> list[tuple[tree.Reference, str]]:
        inputs = self._lookup_all(scope, call.inputs, values)
        if len(inputs) != len(motif.inputs):
            found = wrong_count("inputs", motif, motif.inputs, len(inputs), call.span)
            raise DiagnosticError(found)
        return inputs

    def _arguments(
        self, scope: _Scope, call: MotifCall, motif: tree.Motif, values: Mapping[str, int]
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
                motifs[parameter.name] = inside.get(chosen) or self._passed(chosen, call)
        return numbers, motifs

    def _passed(self, name: str, call: MotifCall) -> tree.Motif:
        if name not in self.program.motifs:
            remedy = suggest(name, self.program.motifs, "pass the name of a motif")
            raise _error("D211", f"unknown motif `{name}`", call.span, remedy)
        return self.program.motifs[name]

    def _inner(
        self,
        scope: _Scope,
        local: str,
        group: str,
        values: Mapping[str, int],
        motifs: Mapping[str, tree.Motif],
    ) -> _Scope:
        path = scope.identifier(local)
        return _Scope(path, group, values, motifs, scope.depth + 1)

    def _place(
        self,
        scope: _Scope,
        call: MotifCall,
        motif: tree.Motif,
        inner: _Scope,
        inputs: list[str],
        chain: str | None,
    ) -> tuple[Instance, list[Edge]]:
        """Instantiate a motif and feed its inputs."""
        instance = self._instantiate(motif, inner, scope.path, chain)
        edges = [
            self._edge(scope, source, port, "fixed", IDENTITY, call.span)
            for source, port in zip(inputs, instance.inputs, strict=True)
        ]
        return instance, edges

    def _chain(
        self,
        scope: _Scope,
        statement: tree.Chain,
        values: Mapping[str, int],
        symbols: Mapping[str, tree.Expression],
    ) -> None:
        """Instances in a row, each reading the outputs before it."""
        motif = self._motif(scope, statement)
        name = statement.targets[0].name
        length = len(scope.lists.get(name, ()))
        if not length:
            return
        reductions = self._reductions(statement, length, values)
        seeds = self._inputs(scope, statement, motif, values)
        states = [i for _, i in seeds]
        numbers, motifs = self._arguments(scope, statement, motif, values)
        edges: list[Edge] = []
        paths: list[str] = []
        for k in range(length):
            given = _link_numbers(motif, numbers, reductions, k)
            group = _tie_group(scope, statement, motif, f"{name}[{k}]", values)
            if statement.tie is not None and reductions:
                group += "/reduction" if k in reductions else "/normal"
            inner = self._inner(scope, f"{name}[{k}]", group, _complete(motif, given), motifs)
            inputs = states[-len(motif.inputs) :]
            instance, laid = self._place(scope, statement, motif, inner, inputs, name)
            paths.append(instance.path)
            edges += laid
            outputs = [scope.lists[t.name][k] for t in statement.targets]
            edges += [
                self._edge(scope, port, node, "fixed", IDENTITY, statement.span)
                for port, node in zip(instance.outputs, outputs, strict=True)
            ]
            states = outputs if len(outputs) > 1 else [*states, *outputs]
        literal = evolve(
            statement,
            motif=motif.name,
            inputs=tuple(r for r, _ in seeds),
            arguments=_substitute_arguments(statement.arguments, numbers, symbols),
            length=substitute(statement.length, symbols),
            reductions=tuple(substitute(r, symbols) for r in statement.reductions),
        )
        ids = tuple(e.id for e in edges)
        scope.body.append(Residual(literal, ids, instances=tuple(paths)))

    def _reductions(
        self, statement: tree.Chain, length: int, values: Mapping[str, int]
    ) -> set[int]:
        reductions = set()
        for expression in statement.reductions:
            index = evaluate(expression, values)
            if not 0 <= index < length:
                raise _error(
                    "D223",
                    f"reduction at {index} of a chain of {length}",
                    expression.span,
                    f"motifs of the chain count from 0 to {length - 1}",
                )
            reductions.add(index)
        return reductions


def _link_numbers(
    motif: tree.Motif, given: Mapping[str, int], reductions: set[int], k: int
) -> dict[str, int]:
    """Parameters of link k; an instance at a reduction gets ``stride = 2`` and from there on twice
    the ``width``; the one after it gets ``lag = 2``: its first input has twice the resolution of
    its last.
    """
    numbers = dict(given)
    if reductions:
        width = _complete(motif, {"stride": 1, "lag": 1, **given})["width"]
        numbers["width"] = width * 2 ** sum(r <= k for r in reductions)
        numbers["stride"] = 2 if k in reductions else 1
        if any(p.name == "lag" for p in motif.parameters):
            numbers["lag"] = 2 if k - 1 in reductions else 1
    return numbers


def _complete(motif: tree.Motif, given: Mapping[str, int]) -> dict[str, int]:
    """Every number of a motif; a default may use the parameters before it."""
    values: dict[str, int] = {}
    for parameter in motif.parameters:
        if parameter.name in given:
            values[parameter.name] = given[parameter.name]
        elif isinstance(parameter, tree.Parameter):
            assert parameter.default is not None, "resolve has checked what is given"
            values[parameter.name] = evaluate(parameter.default, values)
    return values


def _tie_group(
    scope: _Scope, call: MotifCall, motif: tree.Motif, local: str, values: Mapping[str, int]
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


def _substitute_arguments(
    arguments: tuple[tree.Argument, ...],
    numbers: Mapping[str, int],
    symbols: Mapping[str, tree.Expression],
) -> tuple[tree.Argument, ...]:
    """Whole-number arguments without loop variables; motifs are bound and left out."""
    return tuple(
        evolve(a, value=substitute(a.value, symbols)) for a in arguments if a.name in numbers
    )


def _number(value: int, span: Span) -> tree.Number:
    return tree.Number(value, span=span)


def _unique(name: str, taken: set[str]) -> str:
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{name}_{count}"
    taken.add(result)
    return result


def _error(
    code: str, message: str, span: Span | None, remedy: str, note: str = ""
) -> DiagnosticError:
    notes = (note,) if note else ()
    return DiagnosticError(Diagnostic(code, message, span, notes=notes, help=remedy))
