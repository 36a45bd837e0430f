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
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import frozen
from typing_extensions import assert_never

from bayesnas.compiler.collector import without_collector
from bayesnas.compiler.graph.model import Connection, Edge, Graph

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

    terms: tuple[Expression, ...]


@frozen
class Or:
    """At least one on: the sum."""

    terms: tuple[Expression, ...]


Expression: TypeAlias = Always | Never | Switch | RelaySwitch | Flow | And | Or
ALWAYS: Final = Always()
NEVER: Final = Never()


def conjunction(*terms: Expression) -> Expression:
    """AND, simplified: what is always on says nothing, what is never on decides."""
    parts = [p for t in terms for p in (t.terms if isinstance(t, And) else (t,)) if p != ALWAYS]
    if NEVER in parts:
        return NEVER
    if len(parts) == 1:
        return parts[0]
    return And(tuple(parts)) if parts else ALWAYS


def disjunction(*terms: Expression) -> Expression:
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
    gates: tuple[Expression, ...]
    relays: Mapping[str, Expression]
    flows: Mapping[str, Expression]


@without_collector
def derive_gamma(graph: Graph, dependency: Dependency) -> Gammas:
    """The expressions of every gate of a graph with i' nodes."""
    flows: dict[str, Expression] = {}
    inputs = set(graph.root.inputs)
    gates: dict[int, Expression] = {}
    relays: dict[str, Expression] = {}
    for identifier in graph.topological():
        if graph.node(identifier).role == "relay":
            continue
        arrivals: list[Expression] = []
        for connection in graph.connections(identifier):
            source = _reference(connection.source, flows)
            for edge in connection.edges:
                if edge.gate is not None:
                    gates[edge.gate.number] = conjunction(
                        RelaySwitch(connection.id), source, Switch(edge.gate.number)
                    )
            if connection.searched:
                relays[connection.id] = conjunction(RelaySwitch(connection.id), source)
            arrivals.append(_arrival(connection, source, dependency))
        join = conjunction if graph.node(identifier).merge == "product" else disjunction
        flows[identifier] = ALWAYS if identifier in inputs else join(*arrivals)
    ordered = tuple(gates[n] for n in range(len(gates)))
    return Gammas(dependency, ordered, relays, flows)


def _reference(node: str, flows: Mapping[str, Expression]) -> Expression:
    """A short flow stands for itself, a long one is named."""
    flow = flows[node]
    return Flow(node) if isinstance(flow, And | Or) else flow


def _arrival(connection: Connection, source: Expression, dependency: Dependency) -> Expression:
    switches = [_own(edge) for edge in connection.edges]
    if dependency == "local":
        return disjunction(*switches)
    if connection.searched:
        source = conjunction(source, RelaySwitch(connection.id))
    return disjunction(*(conjunction(source, switch) for switch in switches))


def _own(edge: Edge) -> Expression:
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

    def value(expression: Expression) -> torch.Tensor:
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


# --------------------------------------------------------------------------------------- printing


class GammaPrinter:
    """Expressions as text and LaTeX, by sympy; each distinct expression is printed once."""

    def __init__(self, graph: Graph) -> None:
        self.symbols: dict[Expression, tuple[str, str]] = {}
        for edge in graph.searched():
            number = edge.searched_gate.number
            self.symbols[Switch(number)] = (f"s_{number}", f"s_{{{number}}}")
        searched = (c for c in graph.all_connections() if c.searched)
        for number, connection in enumerate(searched):
            latex = f"s'_{{{number}}}"
            self.symbols[RelaySwitch(connection.id)] = (f"r_{number}", latex)
        for number, node in enumerate(graph.nodes()):
            self.symbols[Flow(node.id)] = (f"F_{number}", rf"F_{{{number}}}")
        self._printed: dict[Expression, tuple[str, str]] = {}
        self._names: dict[Any, str] = {}

    def symbol_of_flow(self, node: str) -> str:
        """The short name of what arrives at a node, as it stands in texts."""
        return self.symbols[Flow(node)][0]

    def symbol_of_relay(self, connection: str) -> str:
        """The short name of an i' node's switch, as it stands in texts."""
        return self.symbols[RelaySwitch(connection)][0]

    def print(self, expression: Expression) -> tuple[str, str]:
        """Text and LaTeX of an expression."""
        if expression not in self._printed:
            import sympy

            formula = self._formula(expression)
            latex = sympy.latex(formula, symbol_names=self._names, order="none")
            self._printed[expression] = (sympy.sstr(formula, order="none"), latex)
        return self._printed[expression]

    def _formula(self, expression: Expression) -> Any:
        import sympy

        match expression:
            case Always():
                return sympy.oo
            case Never():
                return sympy.Integer(0)
            case And(terms=terms):
                inverse = [sympy.Pow(self._formula(t), -1, evaluate=False) for t in terms]
                return sympy.Pow(sympy.Add(*inverse, evaluate=False), -1, evaluate=False)
            case Or(terms=terms):
                return sympy.Add(*map(self._formula, terms), evaluate=False)
            case _:
                text, latex = self.symbols[expression]
                symbol = sympy.Symbol(text, positive=True)
                self._names[symbol] = latex
                return symbol
