"""Pass 2: numbers. Unrolls loops, decides conditions, instantiates motifs.

In: a `Program` and the values of the network's parameters. Out: a `Graph` without shapes or i'
nodes, each instance with the statements it came from. Non-goals: shapes, reachability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from attrs import evolve
from typing_extensions import override

from bayesnas.compiler.expand.calls import Row, network_values
from bayesnas.compiler.expand.connections import Connections
from bayesnas.compiler.expand.instances import check_alike, group_of, literal_call
from bayesnas.compiler.expand.parts import Parts, Place
from bayesnas.compiler.expand.scopes import (
    Bundle,
    Selection,
    element,
    number_literal,
    total,
)
from bayesnas.compiler.expand.walk import Named, Walk
from bayesnas.compiler.graph.model import (
    BudgetConstraint,
    CostName,
    Graph,
    Instance,
    Residual,
    RetainConstraint,
    Role,
)
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import evaluate
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, mistake


def expand(program: Program, network: tree.Network, values: Mapping[str, int]) -> Graph:
    """The graph of a network; ``values`` override its parameters' defaults.

    Raises:
        DiagnosticError: D4xx for a value the network does not take, D2xx for numbers that do not
            fit (indices, sizes, lengths), D208 for nodes defined twice.
    """
    expander = _Expander(program)
    expander.instantiate(Place(network, network_values(network, values), {}, 0, "", ""), None, None)
    if expander.errors:
        raise DiagnosticError(*_distinct(expander.errors))
    return expander.parts.graph(network.name)


def _distinct(errors: list[Diagnostic]) -> list[Diagnostic]:
    """A wrong motif is wrong in every instance: say it once."""
    return list({(e.code, e.message, e.span): e for e in errors}.values())


class _Expander(Walk[Place]):
    """Builds the parts of a graph."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.parts = Parts()
        self.connections = Connections(self.parts, program)

    @override
    def read(self, scope: Place, statement: tree.Statement) -> None:
        pass

    @override
    def turn(self, scope: Place, loop: tree.Loop, turns: int) -> None:
        self.parts.spend(turns, loop.span)

    # ------------------------------------------------------------------------------ declaring

    @override
    def make(
        self, scope: Place, statement: tree.Statement, named: Named, indices: range | None
    ) -> None:
        if indices is None:
            self.parts.node(scope, named.name, named.span)
            return
        self.parts.spend(len(indices), named.span)
        for k in indices:
            self.parts.node(scope, element(named.name, k), named.span)

    @override
    def declared(
        self, scope: Place, statement: tree.NodeDeclaration, sizes: list[int | None]
    ) -> None:
        made: list[str] = []
        literals: list[tree.Declared] = []
        for node, size in zip(statement.nodes, sizes, strict=True):
            if size is None:
                literals.append(node)
                made.append(scope.identifier(node.name))
            else:
                literals.append(evolve(node, size=number_literal(size, node.span)))
                made += [scope.identifier(element(node.name, k)) for k in range(size)]
        scope.body.append(Residual(evolve(statement, nodes=tuple(literals)), nodes=tuple(made)))

    @override
    def define(self, scope: Place, target: Selection, merge: str) -> None:
        for name in target.names():
            identifier = scope.identifier(name)
            if identifier in scope.defined:
                remedy = "define it once; more edges arrive with `->`"
                raise mistake("D208", f"`{name}` is defined twice", target.reference.span, remedy)
            scope.defined.add(identifier)
            node = self.parts.nodes[identifier]
            self.parts.nodes[identifier] = evolve(node, merge=merge)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------ connecting

    @override
    def connect(self, scope: Place, bundle: Bundle) -> None:
        self.connections.lay(scope, bundle)

    @override
    def retain(
        self, scope: Place, statement: tree.Retain, targets: list[Selection], count: int
    ) -> None:
        for _, identifier in scope.nodes(targets):
            self.parts.spend(1, statement.span)
            self.parts.retains.append(RetainConstraint(identifier, count, statement.span))

    @override
    def budget(self, statement: tree.Budget, limit: int) -> None:
        [cost] = [name for name in get_args(CostName) if name == statement.cost]
        self.parts.budgets.append(BudgetConstraint(cost, limit, statement.span))

    # ------------------------------------------------------------------------------- instances

    def instantiate(
        self,
        scope: Place,
        parent: str | None,
        chain: str | None,
        shared: bool = False,
        states: int = 0,
    ) -> Instance:
        graph = scope.graph
        self.parts.spend(1, graph.span)
        self.parts.paths.append(scope.path)
        inputs = [self._port(scope, port, "input") for port in graph.inputs]
        outputs = [self._port(scope, port, "output") for port in graph.outputs]
        self.fill(scope)
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
            shared,
            tuple(zip(inputs[-states:], outputs[-states:], strict=True)) if states else None,
        )
        self.parts.instances[scope.path] = instance
        return instance

    def _port(self, scope: Place, port: tree.Port, role: Role) -> str:
        shape = None
        if port.shape is not None:
            shape = tuple(evaluate(size, scope.values) for size in port.shape)
            if len(shape) not in (1, 2, 3) or min(shape) < 1:
                raise mistake(
                    "D222",
                    f"invalid shape {list(shape)} of `{port.name}`",
                    port.span,
                    "write [channels, height, width], [channels, length] or [features], "
                    "each 1 or more",
                )
        return self.parts.node(scope, port.name, port.span, role, shape)

    @override
    def instances(self, scope: Place, row: Row) -> None:
        """Each link of a chain reads the outputs before it."""
        chain = row.call.targets[0].name if isinstance(row.call, tree.Chain) else None
        shared = isinstance(row.call.tie, tree.Share)
        if shared:
            check_alike(row, scope.shared.setdefault(row.motif.name, row))
        columns = [target.names() for target in row.targets]
        states = [identifier for _, identifier in scope.nodes(row.given)]
        edges: list[str] = []
        paths: list[str] = []
        links = (values for values, count in row.links for _ in range(count))
        for k, values in enumerate(links):
            local = columns[0][k]
            outputs = [scope.identifier(column[k]) for column in columns]
            inner = Place(
                row.motif,
                values,
                row.motifs,
                scope.depth + 1,
                scope.identifier(local),
                group_of(scope, row, k, local),
            )
            instance = self.instantiate(inner, scope.path, chain, shared, total(row.starts))
            read = zip(states, instance.inputs, strict=True)
            written = zip(instance.outputs, outputs, strict=True)
            edges += [
                self.connections.pass_on(scope, source, target, row.call.span)
                for source, target in (*read, *written)
            ]
            paths.append(instance.path)
            states = outputs if len(outputs) > 1 else [*states, *outputs][-len(states) :]
        literal = literal_call(row)
        scope.body.append(Residual(literal, tuple(edges), instances=tuple(paths)))
