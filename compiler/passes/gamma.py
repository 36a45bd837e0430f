r"""Pass 6: gamma. The prior variance of every gate as an expression in the switches s.

An edge j -> k carries information under o' iff its own switch, the switch of its i' node and at
least one switch into j are on (Zhou et al. 2019, Proposition 1). With s in (0, inf), AND is the
harmonic sum and OR the sum, so that (equation 8)

    gamma_jk^o' = (1/s_jj' + 1/sum_i sum_o s_ij^o + 1/s_jk^o')^-1

That is the `local` expression: it looks one level back. The `recursive` one looks all the way:
flow(input) = inf, flow(k) = sum over the edges into k of (flow(j) AND s_jj' AND s_jk^o').
Edges without a switch are always on (s = inf). A product is zero where one factor is, so its
arrivals are joined by AND.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import frozen
from typing_extensions import assert_never

from bayesnas.compiler.graph.model import Connection, Edge, Graph
from bayesnas.dsl.collector import without_collector

if TYPE_CHECKING:
    import torch

Dependency: TypeAlias = Literal["local", "recursive"]


@frozen
class Always:
    """On whatever the switches: s = inf."""


@frozen
class Never:
    """Off whatever the switches: s = 0."""


@frozen
class Switch:
    """s of a gate."""

    gate: int


@frozen
class RelaySwitch:
    """s_jj' of a searched connection's i' node."""

    connection: str


@frozen
class Flow:
    """What arrives at a node, named so that it is written and computed once."""

    node: str


@frozen
class And:
    """All on: the harmonic sum."""

    terms: tuple[SwitchExpression, ...]


@frozen
class Or:
    """At least one on: the sum."""

    terms: tuple[SwitchExpression, ...]


SwitchExpression: TypeAlias = Always | Never | Switch | RelaySwitch | Flow | And | Or
ALWAYS: Final = Always()
NEVER: Final = Never()


def conjunction(*terms: SwitchExpression) -> SwitchExpression:
    """AND, simplified: what is always on says nothing, what is never on decides."""
    parts = [p for t in terms for p in (t.terms if isinstance(t, And) else (t,)) if p != ALWAYS]
    if NEVER in parts:
        return NEVER
    if len(parts) == 1:
        return parts[0]
    return And(tuple(parts)) if parts else ALWAYS


def disjunction(*terms: SwitchExpression) -> SwitchExpression:
    """OR, simplified: what is never on says nothing, what is always on decides."""
    parts = [p for t in terms for p in (t.terms if isinstance(t, Or) else (t,)) if p != NEVER]
    if ALWAYS in parts:
        return ALWAYS
    if len(parts) == 1:
        return parts[0]
    return Or(tuple(parts)) if parts else NEVER


@frozen
class Gammas:
    """gamma by gate, and by connection for the i' nodes; both in terms of ``flows``.

    ``flows`` is in topological order: each refers to earlier ones alone.
    """

    dependency: Dependency
    gates: tuple[SwitchExpression, ...]
    relays: Mapping[str, SwitchExpression]
    flows: Mapping[str, SwitchExpression]


@without_collector()
def derive_gamma(graph: Graph, dependency: Dependency) -> Gammas:
    """The expressions of every gate of a graph with i' nodes."""
    flows: dict[str, SwitchExpression] = {}
    inputs = set(graph.root.inputs)
    gates: dict[int, SwitchExpression] = {}
    relays: dict[str, SwitchExpression] = {}
    for identifier in graph.topological():
        if graph.node(identifier).role == "relay":
            continue
        arrivals: list[SwitchExpression] = []
        for connection in graph.connections(identifier):
            source = _reference(connection.source, flows)
            for edge in connection.edges:
                if edge.gate is not None:
                    number = edge.gate.number
                    gates[number] = conjunction(RelaySwitch(connection.id), source, Switch(number))
            if connection.searched:
                relays[connection.id] = conjunction(RelaySwitch(connection.id), source)
            arrivals.append(_arrival(connection, source, dependency))
        join = conjunction if graph.node(identifier).merge == "product" else disjunction
        flows[identifier] = ALWAYS if identifier in inputs else join(*arrivals)
    ordered = tuple(gates[n] for n in range(len(gates)))
    return Gammas(dependency, ordered, relays, flows)


def _reference(node: str, flows: Mapping[str, SwitchExpression]) -> SwitchExpression:
    """A short flow stands for itself, a long one is named."""
    flow = flows[node]
    return Flow(node) if isinstance(flow, And | Or) else flow


def _arrival(
    connection: Connection, source: SwitchExpression, dependency: Dependency
) -> SwitchExpression:
    switches = [_own(edge) for edge in connection.edges]
    if dependency == "local":
        return disjunction(*switches)
    if connection.searched:
        source = conjunction(source, RelaySwitch(connection.id))
    return disjunction(*(conjunction(source, switch) for switch in switches))


def _own(edge: Edge) -> SwitchExpression:
    return ALWAYS if edge.gate is None else Switch(edge.gate.number)


# ------------------------------------------------------------------------------------- evaluation


def evaluate_gamma(
    gammas: Gammas, gates: torch.Tensor, relays: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """gamma of all gates, and of all i' nodes, from their switches.

    Args:
        gammas: the expressions.
        gates: s of the gates, [G], positive, dimensionless.
        relays: s of the i' nodes by connection, scalars, positive.

    Returns:
        gamma of the gates [G], and of the i' nodes by connection.
    """
    import torch

    infinity = torch.tensor(float("inf"), dtype=gates.dtype, device=gates.device)
    flows: dict[str, torch.Tensor] = {}

    def value(expression: SwitchExpression) -> torch.Tensor:
        match expression:
            case Always():
                return infinity
            case Never():
                return torch.zeros_like(infinity)
            case Switch(gate=gate):
                return switches[gate]
            case RelaySwitch(connection=connection):
                return relays[connection]
            case Flow(node=node):
                return flows[node]
            case And(terms=terms):
                return 1 / torch.stack([value(t) for t in terms]).reciprocal().sum()
            case Or(terms=terms):
                return torch.stack([value(t) for t in terms]).sum()
            case _:
                assert_never(expression)

    switches = gates.unbind()
    for node, flow in gammas.flows.items():
        flows[node] = value(flow)
    result = torch.stack([value(e) for e in gammas.gates]) if gammas.gates else gates.clone()
    return result, {connection: value(e) for connection, e in gammas.relays.items()}
