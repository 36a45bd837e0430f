"""The walk through a motif's statements, once for both passes that make it: `measure` and `expand`.

What a spec means stands here: which statements are read how often, what they declare, what their
references stand for, which numbers an instance has. What comes of it is left to a subclass: one
counts it, the other builds it. So nothing can be built that is not counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeAlias, TypeVar

from typing_extensions import assert_never

from bayesnas.compiler.expand.calls import Row, row_of
from bayesnas.compiler.expand.scopes import Bundle, Scope, Selection, Unrolled, bundle_of
from bayesnas.compiler.program.definitions import Program
from bayesnas.compiler.program.evaluate import evaluate
from bayesnas.compiler.program.limits import MAX_DEPTH, too_deep
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, mistake

Named: TypeAlias = tree.Declared | tree.Reference
S = TypeVar("S", bound=Scope)


class Walk(ABC, Generic[S]):
    """Walks motifs statement by statement; errors of a statement do not stop the others.

    ``errors`` are those of all statements so far.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.errors: list[Diagnostic] = []

    def fill(self, scope: S) -> None:
        """Make all that an instance's body holds: first the names, then what refers to them.

        Raises:
            DiagnosticError: D224 (past a limit); all other errors are collected.
        """
        body = list(self._unroll(scope, scope.graph.body, {}, scope.values))
        for action in (self._declare, self._connect):
            for statement in body:
                try:
                    action(scope, statement)
                except DiagnosticError as error:
                    self._collect(error)

    def _collect(self, error: DiagnosticError) -> None:
        if error.diagnostics[0].code == "D224":
            raise error
        self.errors += error.diagnostics

    # ------------------------------------------------------------------- what a subclass makes

    @abstractmethod
    def read(self, scope: S, statement: tree.Statement) -> None:
        """A statement is read: one in a loop once a turn."""

    @abstractmethod
    def turn(self, scope: S, loop: tree.Loop, turns: int) -> None:
        """A loop is about to make so many turns."""

    @abstractmethod
    def make(
        self, scope: S, statement: tree.Statement, named: Named, indices: range | None
    ) -> None:
        """Make a node of a new name, or so many elements of a list."""

    @abstractmethod
    def declared(self, scope: S, statement: tree.NodeDeclaration, sizes: list[int | None]) -> None:
        """The nodes of a declaration are made; ``sizes`` are those of the lists among them."""

    @abstractmethod
    def define(self, scope: S, target: Selection, merge: str) -> None:
        """A node stands on the left of ``=``."""

    @abstractmethod
    def connect(self, scope: S, bundle: Bundle) -> None:
        """Lay the edges of a statement that connects nodes."""

    @abstractmethod
    def retain(
        self, scope: S, statement: tree.Retain, targets: list[Selection], count: int
    ) -> None:
        """Limit the searched edges that survive into each target."""

    @abstractmethod
    def budget(self, statement: tree.Budget, limit: int) -> None:
        """Limit a cost of the network."""

    @abstractmethod
    def instances(self, scope: S, row: Row) -> None:
        """Make the instances of a call, with what is in them and the edges to and from them."""

    # ------------------------------------------------------------------------------ unrolling

    def _unroll(
        self,
        scope: S,
        body: Iterable[tree.Statement],
        loops: Mapping[str, int],
        values: Mapping[str, int],
    ) -> Iterator[Unrolled]:
        """Simple statements; loops and branches dissolved."""
        for statement in body:
            self.read(scope, statement)
            match statement:
                case tree.Loop(variable=variable):
                    for k in self._turns(scope, statement, values):
                        yield from self._unroll(
                            scope, statement.body, {**loops, variable: k}, {**values, variable: k}
                        )
                case tree.Branch():
                    yield from self._unroll(scope, self._taken(statement, values), loops, values)
                case _:
                    yield Unrolled(statement, loops, values)

    def _turns(self, scope: S, loop: tree.Loop, values: Mapping[str, int]) -> range:
        try:
            turns = range(evaluate(loop.start, values), evaluate(loop.stop, values))
            self.turn(scope, loop, len(turns))
        except DiagnosticError as error:
            self._collect(error)
            return range(0)
        return turns

    def _taken(self, branch: tree.Branch, values: Mapping[str, int]) -> tuple[tree.Statement, ...]:
        try:
            return branch.then if evaluate(branch.condition, values) else branch.otherwise
        except DiagnosticError as error:
            self._collect(error)
            return ()

    # ------------------------------------------------------------------------------ declaring

    def _declare(self, scope: S, unrolled: Unrolled) -> None:
        statement, values = unrolled.statement, unrolled.values
        match statement:
            case tree.NodeDeclaration(nodes=nodes):
                sizes = [self._declare_nodes(scope, statement, node, values) for node in nodes]
                self.declared(scope, statement, sizes)
            case tree.Merge(target=target, merge=merge):
                self._define(scope, unrolled, target, merge)
            case tree.Transform(target=target):
                self._define(scope, unrolled, target)
            case tree.Instantiation(targets=targets) | tree.Scan(targets=targets):
                for target in targets:
                    self._define(scope, unrolled, target)
            case tree.Chain():
                self._declare_chain(scope, statement, values)
            case tree.Connect() | tree.Retain() | tree.Budget():
                pass
            case _:
                assert_never(statement)

    def _declare_nodes(
        self,
        scope: S,
        statement: tree.NodeDeclaration,
        node: tree.Declared,
        values: Mapping[str, int],
    ) -> int | None:
        """Make a node, or the elements of a list; the size of the list."""
        if node.size is None:
            self.make(scope, statement, node, None)
            scope.singles.add(node.name)
            return None
        size = evaluate(node.size, values)
        if size < 0:
            message = f"`{node.name}` would have {size:,} nodes"
            raise mistake("D222", message, node.span, "choose a size of 0 or more")
        self.make(scope, statement, node, range(size))
        scope.lists[node.name] = scope.lists.get(node.name, 0) + size
        return size

    def _define(
        self, scope: S, unrolled: Unrolled, target: tree.Reference, merge: str = "sum"
    ) -> None:
        """The left of ``=``: a new node, an element of a list, or an output."""
        if target.index is None and target.name not in {p.name for p in scope.graph.outputs}:
            self.make(scope, unrolled.statement, target, None)
            scope.singles.add(target.name)
        self.define(scope, scope.lookup(target, unrolled.values), merge)

    def _declare_chain(self, scope: S, chain: tree.Chain, values: Mapping[str, int]) -> None:
        length = evaluate(chain.length, values)
        if length < 1:
            message = f"a chain of {length} motifs"
            raise mistake("D222", message, chain.length.span, "chain 1 motif or more")
        for target in chain.targets:
            self.make(scope, chain, target, range(length))
            scope.lists[target.name] = length
            scope.chains.add(target.name)

    # ------------------------------------------------------------------------------ connecting

    def _connect(self, scope: S, unrolled: Unrolled) -> None:
        statement, values = unrolled.statement, unrolled.values
        match statement:
            case tree.NodeDeclaration():
                pass
            case tree.Merge() | tree.Transform() | tree.Connect():
                self.connect(scope, bundle_of(scope, statement, unrolled))
            case tree.Instantiation() | tree.Scan() | tree.Chain():
                self._call(scope, unrolled, statement)
            case tree.Retain():
                self._retain(scope, statement, values)
            case tree.Budget():
                self._budget(statement, values)
            case _:
                assert_never(statement)

    def _retain(self, scope: S, statement: tree.Retain, values: Mapping[str, int]) -> None:
        count = evaluate(statement.count, values)
        if count < 1:
            message = f"`retain {count}` would leave nothing"
            raise mistake("D222", message, statement.count.span, "retain 1 edge or more")
        self.retain(scope, statement, scope.lookups(statement.targets, values), count)

    def _budget(self, statement: tree.Budget, values: Mapping[str, int]) -> None:
        limit = statement.limit
        most = limit.value if isinstance(limit, tree.Amount) else evaluate(limit, values)
        if most < 1:
            timed = statement.cost == "latency"
            message = f"a budget of {'no' if timed else most} {statement.cost}"
            raise mistake("D222", message, limit.span, f"allow {'1 us' if timed else '1'} or more")
        self.budget(statement, most)

    def _call(self, scope: S, unrolled: Unrolled, call: tree.MotifCall) -> None:
        row = row_of(self.program, scope, call, unrolled)
        if row is None:
            return
        if scope.depth == MAX_DEPTH:
            raise too_deep(call, row.motif, scope.graph)
        self.instances(scope, row)
