"""A resolved program: every definition by name, and walks over its statements and terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from attrs import field, frozen
from typing_extensions import assert_never

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, quote, suggest

OperationLike: TypeAlias = tree.OperationDefinition | tree.ChoiceDefinition


@frozen
class Program:
    """All definitions by name; ``definitions`` keeps them in order for printing."""

    operations: Mapping[str, OperationLike]
    motifs: Mapping[str, tree.Motif]
    networks: Mapping[str, tree.Network]
    settings: Mapping[str, tuple[tree.Setting, ...]]
    objectives: tuple[tree.Objective, ...]
    main: tree.Spec = field(repr=False)

    def network(self, name: str | None = None) -> tree.Network:
        """The network of that name, or the first.

        Raises:
            DiagnosticError: D216 (none, or no such).
        """
        if self.networks and name is None:
            return next(iter(self.networks.values()))
        if name is not None and name in self.networks:
            return self.networks[name]
        if not self.networks:
            remedy = "add `network name(image: [3, 32, 32]) -> (logits: [10]) { ... }`"
            message, span = "the spec has no network", self.main.span
        else:
            remedy = suggest(str(name), self.networks, f"choose from {quote(self.networks)}")
            message, span = f"no network `{name}`", next(iter(self.networks.values())).span
        raise DiagnosticError(Diagnostic("D216", message, span, help=remedy))


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
            case tree.Instantiation(targets=targets) | tree.Scan(targets=targets):
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


def operations_of(
    graphs: Iterable[tree.Motif | tree.Network], operations: Mapping[str, OperationLike]
) -> list[OperationLike]:
    """Those of the operations that graphs apply, themselves or through others, in their order."""
    used: set[str] = set()
    waiting = [name for graph in graphs for name in _applied(graph.body)]
    while waiting:
        name = waiting.pop()
        if name in operations and name not in used:
            used.add(name)
            waiting += called_names(operations[name].body)
    return [definition for name, definition in operations.items() if name in used]


def _applied(body: Iterable[tree.Statement]) -> Iterator[str]:
    """Names of the operations that stand on the edges of a body."""
    for statement in walk(body):
        if isinstance(statement, tree.Transform | tree.Connect) and statement.operation is not None:
            yield from called_names(statement.operation)


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


def names_read(nodes: Iterable[tree.Node]) -> Iterator[str]:
    """Names of the parameters and loop variables that expressions read, at any depth."""
    for node in nodes:
        if isinstance(node, tree.Name):
            yield node.name
        yield from names_read(node.parts())
