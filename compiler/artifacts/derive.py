"""Back from a graph to the language: the spec of what a search has left.

Every instance keeps the statements it was expanded from (`Residual`). Here they are filtered by
what is alive, and searched edges become fixed ones with the surviving operations. Instances left
with the same statements share a motif. A chain stays a chain where its motif's statements depend
on nothing but the stride, so that the derived spec can be trained deeper or wider than it was
searched; otherwise the chain is written out instance by instance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from bayesnas.compiler.artifacts.literals import (
    literal_arguments,
    literal_number,
    node_name,
    node_reference,
)
from bayesnas.compiler.graph.model import Graph, Instance, Residual
from bayesnas.compiler.program.definitions import names_read, operations_of
from bayesnas.compiler.program.names import given_nodes
from bayesnas.dsl import tree

if TYPE_CHECKING:
    from bayesnas.compiler.pipeline import Compiled

_LIBRARY = "<library>/"


def derive_spec(
    compiled: Compiled, pruned: Graph, terms: Mapping[str, tree.OperationTerm] | None = None
) -> tree.Spec:
    """The spec of ``pruned``, a graph that `prune_graph` left of ``compiled.graph``.

    ``terms`` gives every edge, by id, another operation, without names of parameters; nothing in
    the spec has parameters then.
    """
    return _Deriver(compiled, pruned, terms).spec()


@frozen
class _Variant:
    """What one instance has become: a motif without a name yet."""

    motif: str
    parameters: tuple[tree.Parameter, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: tuple[tree.Statement, ...]

    def taken(self, given: Iterable[tree.Argument]) -> tuple[tree.Argument, ...]:
        """Of what a call gives, that which is still asked for."""
        names = {parameter.name for parameter in self.parameters}
        return tuple(argument for argument in given if argument.name in names)


class _Deriver:
    def __init__(
        self, compiled: Compiled, pruned: Graph, terms: Mapping[str, tree.OperationTerm] | None
    ) -> None:
        self.program = compiled.program
        self.network = compiled.network
        self.full = compiled.graph
        self.pruned = pruned
        self.terms = terms
        self.alive_edges = {edge.id for edge in pruned.edges()}
        self.names: dict[_Variant, str] = {}
        self.motifs: list[tree.Motif] = []
        self.span = compiled.network.span

    def spec(self) -> tree.Spec:
        root = self.full.root
        body = self._body(root)
        values = dict(root.parameters)
        lasting = {self.full.node(port).name for port in root.outputs}
        outputs = tuple(port for port in self.network.outputs if port.name in lasting)
        parameters = tuple(
            evolve(p, default=literal_number(values[p.name], p.span))
            for p in self._parameters(self.network, (*self.network.inputs, *outputs, *body))
        )
        network = evolve(self.network, parameters=parameters, outputs=outputs, body=body)
        if self.terms is not None:
            inputs, outputs = (
                tuple(map(self._sized, ports)) for ports in (network.inputs, network.outputs)
            )
            network = evolve(network, inputs=inputs, outputs=outputs)
        graphs: list[tree.Motif | tree.Network] = [*self.motifs, network]
        training = self.program.settings["train"]  # its own, and those it imports
        settings: list[tree.Definition] = []
        if training:
            settings.append(tree.Settings("train", training, span=self.span))
        if learned := tuple(o.entry(self.span) for o in self.full.objectives):
            settings.append(tree.Learn(learned, span=self.span))
        imports, operations = self._operations(graphs)
        return tree.Spec((*imports, *operations, *graphs, *settings), span=self.span)

    def _parameters(
        self,
        motif: tree.Motif | tree.Network,
        rest: Iterable[tree.Node],
        needed: Collection[str] = (),
    ) -> tuple[tree.Parameter, ...]:
        """The numbers that are still asked for: those ``needed``, and those that the rest reads.

        The length of a chain that is written out, say, is read no more.
        """
        if self.terms is not None:
            return ()
        read = {*needed, *names_read(rest)}
        kept = list[tree.Parameter]()
        for parameter in reversed(motif.parameters):
            if isinstance(parameter, tree.Parameter) and parameter.name in read:
                kept.append(parameter)
                # Of a network it becomes a number.
                if isinstance(motif, tree.Motif) and parameter.default is not None:
                    read |= {*names_read([parameter.default])}
        return (*reversed(kept),)

    def _sized(self, port: tree.Port) -> tree.Port:
        """A port of the network, its shape in numbers."""
        shape = self.pruned.node(port.name).shape or ()
        return evolve(port, shape=tuple(literal_number(size, port.span) for size in shape))

    def operation(self, edge: str, term: tree.OperationTerm) -> tree.OperationTerm:
        """What stands on an edge, whose operation as written is ``term``."""
        return term if self.terms is None else self.terms[edge]

    def _operations(
        self, graphs: Iterable[tree.Motif | tree.Network]
    ) -> tuple[list[tree.Definition], list[tree.Definition]]:
        """Imports of the packaged library, and definitions of all other operations in use."""
        imports: dict[str, tree.Definition] = {}
        operations: list[tree.Definition] = []
        for definition in operations_of(graphs, self.program.operations):
            source = definition.span.source.name
            if source.startswith(_LIBRARY):
                path = source.removeprefix(_LIBRARY)
                imports.setdefault(path, tree.Import(path, span=definition.span))
            else:
                operations.append(definition)
        return list(imports.values()), operations

    # --------------------------------------------------------------------------------- variants

    def _body(self, instance: Instance) -> tuple[tree.Statement, ...]:
        writer = _BodyDeriver(self, instance)
        for residual in instance.body:  # a chain may be read before the statement that makes it
            if isinstance(residual.statement, tree.Chain):
                writer.decide(residual.statement, residual.instances)
        return tuple(s for residual in instance.body for s in writer.statements(residual))

    def variant(self, path: str) -> _Variant:
        """What the instance has become, its dead ports left out."""
        instance = self.full.instances[path]
        inputs, outputs = self._ports(instance.inputs), self._ports(self.results(path))
        body = self._body(instance)
        parameters = self._parameters(self.program.motifs[instance.motif], body)
        return _Variant(instance.motif, parameters, inputs, outputs, body)

    def results(self, path: str) -> tuple[str, ...]:
        """The outputs of an instance as it writes them: those of a scan that are states last."""
        outputs = self.full.instances[path].outputs
        left = self.pruned.instances.get(path)
        states = [end for _, end in (left.states if left else None) or ()]
        return (*(port for port in outputs if port not in states), *states)

    def _ports(self, ports: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.full.node(p).name for p in ports if p in self.pruned.network)

    def name(self, variant: _Variant) -> str:
        """The variant's motif, defined now if it is new."""
        if variant not in self.names:
            taken = set(self.names.values())
            name, count = variant.motif, 1
            while name in taken:
                count += 1
                name = f"{variant.motif}_{count}"
            self.names[variant] = name
            original = self.program.motifs[variant.motif]
            ports = {port.name: port for port in original.outputs}
            self.motifs.append(
                evolve(
                    original,
                    name=name,
                    parameters=variant.parameters,
                    inputs=tuple(p for p in original.inputs if p.name in variant.inputs),
                    outputs=tuple(ports[name] for name in variant.outputs),
                    body=variant.body,
                )
            )
        return self.names[variant]

    def fold(self, chain: tree.Chain, paths: tuple[str, ...]) -> _Variant | None:
        """One motif for all links of a chain, or None where they differ by more than stride."""
        if any(path not in self.pruned.instances for path in paths):
            return None
        original = self.program.motifs[chain.motif]
        bodies: dict[int, tuple[tree.Statement, ...]] = {}
        for path in paths:
            instance = self.full.instances[path]
            if any(o not in self.pruned.network for o in instance.outputs):
                return None
            # Without parameters, a link does not know its stride.
            stride = 1 if self.terms else dict(instance.parameters).get("stride", 1)
            body = self._body(instance)
            if bodies.setdefault(stride, body) != body:
                return None
        inputs = tuple(p.name for p in original.inputs)
        outputs = tuple(p.name for p in original.outputs)
        # A chain that reduces asks for the first two; networks that cells are put into give all.
        reducing = ("width", "stride", "lag") if chain.reductions else ()
        distinct = list(dict.fromkeys(bodies.values()))
        if len(distinct) == 1:
            [body] = distinct
        elif set(bodies) == {1, 2}:
            body = (self._by_stride(bodies[1], bodies[2]),)
        else:
            return None
        parameters = self._parameters(original, body, reducing)
        return _Variant(chain.motif, parameters, inputs, outputs, body)

    def _by_stride(
        self, whole: tuple[tree.Statement, ...], halved: tuple[tree.Statement, ...]
    ) -> tree.Branch:
        """One body of links that reduce and of those that do not."""
        stride = tree.Name("stride", span=self.span)
        is_one = tree.Binary("==", stride, tree.Number(1, span=self.span), span=self.span)
        return tree.Branch(is_one, whole, halved, span=self.span)


@frozen
class _BodyDeriver:
    """Statements of one instance, filtered by what is alive."""

    deriver: _Deriver
    instance: Instance
    unrolled: dict[str, int] = field(factory=dict)  # chains written out: name -> last index
    folded: dict[str, _Variant | None] = field(factory=dict)  # by the chain's first target

    def statements(self, residual: Residual) -> Iterator[tree.Statement]:
        alive = [edge in self.deriver.alive_edges for edge in residual.edges]
        match residual.statement:
            case tree.NodeDeclaration() as statement:
                yield from self._declaration(statement, residual.nodes)
            case tree.Merge() as statement:
                if self._is_alive(statement.target):
                    sources = [
                        self._literal(r) for r, a in zip(statement.sources, alive, strict=True) if a
                    ]
                    yield evolve(statement, sources=tuple(sources))
            case tree.Transform() | tree.Connect() as statement:
                laid = zip(residual.edges, residual.terms, alive, strict=True)
                terms = [self.deriver.operation(edge, term) for edge, term, a in laid if a]
                yield from self._connection(statement, terms)
            case tree.Instantiation() | tree.Scan() as statement:
                yield from self._instantiation(statement, residual.instances[0])
            case tree.Chain() as statement:
                yield from self._chain(statement, residual.instances)
            case _:
                raise AssertionError(f"{residual.statement} does not outlive expansion")

    def _identifier(self, name: str) -> str:
        return f"{self.instance.path}.{name}" if self.instance.path else name

    def _is_alive(self, reference: tree.Reference) -> bool:
        return self._identifier(node_name(reference)) in self.deriver.pruned.network

    def _literal(self, reference: tree.Reference) -> tree.Reference:
        """A bare name of a chain that is written out means its last element."""
        if reference.index is None and reference.name in self.unrolled:
            number = tree.Number(self.unrolled[reference.name], span=reference.span)
            return evolve(reference, index=tree.Index(number, span=reference.span))
        return reference

    def _declaration(
        self, statement: tree.NodeDeclaration, nodes: tuple[str, ...]
    ) -> Iterator[tree.Statement]:
        alive = {
            self.deriver.full.node(n).name.partition("[")[0]
            for n in nodes
            if n in self.deriver.pruned.network
        }
        kept = tuple(d for d in statement.nodes if d.name in alive)
        if kept:
            yield evolve(statement, nodes=kept)

    def _connection(
        self, statement: tree.Transform | tree.Connect, terms: list[tree.OperationTerm]
    ) -> Iterator[tree.Statement]:
        span = statement.span
        if not terms:
            if isinstance(statement, tree.Transform) and self._is_alive(statement.target):
                yield from self._bare(statement.target)
            return
        term = terms[0] if len(terms) == 1 else tree.Parallel(tuple(terms), span=span)
        if isinstance(statement, tree.Transform):
            source = self._literal(statement.source)
            yield evolve(statement, source=source, operation=term)
        else:
            sources = tuple(map(self._literal, statement.sources))
            operation = None if statement.operation is None else term
            yield evolve(statement, sources=sources, searched=False, operation=operation)

    def _bare(self, target: tree.Reference) -> Iterator[tree.Statement]:
        """Declare a node whose definition is dead while other edges reach it."""
        node = self.deriver.full.node(self._identifier(node_name(target)))
        if target.index is None and node.role == "inner":
            declared = tree.Declared(target.name, span=target.span)
            yield tree.NodeDeclaration((declared,), span=target.span)

    def _instantiation(
        self, statement: tree.Instantiation | tree.Scan, path: str
    ) -> Iterator[tree.Statement]:
        instance = self.deriver.full.instances[path]
        for target, port in zip(statement.targets, instance.outputs, strict=True):
            if port not in self.deriver.pruned.network and self._is_alive(target):
                yield from self._bare(target)
        if path not in self.deriver.pruned.instances:
            return
        variant = self.deriver.variant(path)
        alive = self.deriver.pruned.network
        targets = dict(zip(instance.outputs, statement.targets, strict=True))
        yield evolve(
            self._with_given(statement, instance),
            motif=self.deriver.name(variant),
            targets=tuple(targets[p] for p in self.deriver.results(path) if p in alive),
            arguments=variant.taken(statement.arguments),
        )

    def _with_given(
        self, statement: tree.Instantiation | tree.Scan, instance: Instance
    ) -> tree.Instantiation | tree.Scan:
        """The call with what is left of the references that it gives."""
        alive, count = self.deriver.pruned.network, len(statement.inputs)
        given = [
            self._literal(reference) if port in alive else None
            for reference, port in zip(given_nodes(statement), instance.inputs, strict=True)
        ]
        inputs, starts = (tuple(filter(None, part)) for part in (given[:count], given[count:]))
        if isinstance(statement, tree.Scan):
            return evolve(statement, inputs=inputs, starts=starts)
        return evolve(statement, inputs=inputs)

    def _chain(self, statement: tree.Chain, paths: tuple[str, ...]) -> Iterator[tree.Statement]:
        folded = self.folded[statement.targets[0].name]
        size = tree.Number(len(paths), span=statement.span)
        if folded is not None:
            inputs = tuple(map(self._literal, statement.inputs))
            chain = evolve(
                statement,
                motif=self.deriver.name(folded),
                inputs=inputs,
                arguments=folded.taken(statement.arguments),
            )
            if self.deriver.terms is not None:
                chain = evolve(chain, length=size, reductions=())
                chain = evolve(chain, tie=shared_alone(statement.tie))
            yield chain
            return
        declared = tuple(tree.Declared(t.name, size, span=t.span) for t in statement.targets)
        yield tree.NodeDeclaration(declared, span=statement.span)
        for k, path in enumerate(paths):
            if path in self.deriver.pruned.instances:
                yield self._link(statement, k, path)

    def decide(self, statement: tree.Chain, paths: tuple[str, ...]) -> None:
        """Whether a chain stays one, or is written out."""
        folded = self.deriver.fold(statement, paths)
        full, first = self.deriver.full, self.deriver.full.instances[paths[0]]
        seeds = [full.incoming(port)[0].source for port in first.inputs]
        if not all(seed in self.deriver.pruned.network for seed in seeds):
            folded = None
        self.folded[statement.targets[0].name] = folded
        if folded is None:
            for target in statement.targets:
                self.unrolled[target.name] = len(paths) - 1

    def _link(self, statement: tree.Chain, k: int, path: str) -> tree.Statement:
        """One instance of a chain that is written out, its parameters as numbers."""
        instance, span = self.deriver.full.instances[path], statement.span
        alive = self.deriver.pruned.network
        sources = [
            self.deriver.full.incoming(port)[0].source for port in instance.inputs if port in alive
        ]
        targets = [
            tree.Reference(t.name, tree.Index(tree.Number(k, span=span), span=span), span=span)
            for t, port in zip(statement.targets, instance.outputs, strict=True)
            if port in alive
        ]
        variant = self.deriver.variant(path)
        return tree.Instantiation(
            tuple(targets),
            self.deriver.name(variant),
            tuple(node_reference(self.deriver.full.node(s).name, span) for s in sources),
            variant.taken(literal_arguments(dict(instance.parameters), span)),
            shared_alone(statement.tie),
            span=span,
        )


def shared_alone(tie: tree.Sharing | None) -> tree.Share | None:
    """What is left of a tie where all is decided: weights may still be the same."""
    return tie if isinstance(tie, tree.Share) else None
