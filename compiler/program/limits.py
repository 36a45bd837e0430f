"""Limits instead of hangs: how much a spec may expand to, and what is said where it is more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import log10
from typing import Final, Literal, TypeAlias

from attrs import frozen

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span

# Nodes, edges, instances and retained nodes together, i' and the edges to them included: a gibibyte
# and 20 seconds at most.
MAX_SIZE: Final = 500_000
MAX_DEPTH: Final = 100  # levels of motifs
MAX_TURNS: Final = 100_000  # turns of all loops in all instances
MAX_STEPS: Final = 20_000_000  # names and numbers that expansion reads
MAX_WALK: Final = 600_000  # those of them that `measure` reads, to answer within a second

Limited: TypeAlias = Literal["size", "turns", "steps", "walk"]
Counted: TypeAlias = Literal["nodes", "edges", "instances", "retained", "relays", "turns", "steps"]
COUNTED: Final[Mapping[Counted, Limited]] = {
    "nodes": "size",
    "edges": "size",
    "instances": "size",
    "retained": "size",
    "relays": "size",
    "turns": "turns",
    "steps": "steps",
}  # which limit counts it
LIMITS: Final[Mapping[Limited, int]] = {"size": MAX_SIZE, "turns": MAX_TURNS, "steps": MAX_STEPS}
_MESSAGES: Final[Mapping[Limited, str]] = {
    "size": "the spec expands to at least {} nodes and edges",
    "turns": "loops make at least {} turns",
    "steps": "the spec takes at least {} steps to expand",
    "walk": "the spec takes more than {} steps to measure",
}
_REMEDIES: Final[Mapping[Limited, str]] = {
    "size": "choose smaller sizes, fewer candidates, or fewer instances",
    "turns": "choose smaller bounds; a slice such as `h[..k]` connects many nodes without a loop",
    "steps": "choose smaller bounds, or fewer instances",
    "walk": "choose smaller bounds, shorter expressions, or fewer instances that differ",
}


@frozen
class Size:
    """What a spec makes; ``steps`` are the names and numbers that expansion reads on the way.

    ``relays`` are the i' nodes of searched connections and the edges to them, made after expansion.
    """

    nodes: int = 0
    edges: int = 0
    instances: int = 0
    retained: int = 0
    relays: int = 0
    turns: int = 0
    steps: int = 0

    @property
    def size(self) -> int:
        """What `MAX_SIZE` limits."""
        return self.nodes + self.edges + self.instances + self.retained + self.relays

    def plus(self, other: Size, times: int = 1) -> Size:
        """This and so many of the other."""
        return Size(
            self.nodes + times * other.nodes,
            self.edges + times * other.edges,
            self.instances + times * other.instances,
            self.retained + times * other.retained,
            self.relays + times * other.relays,
            self.turns + times * other.turns,
            self.steps + times * other.steps,
        )


def too_large(
    what: Limited, count: int, limit: int, statement: tree.Statement, share: int, where: str
) -> DiagnosticError:
    """D224 at the statement that makes the largest share of what is too much."""
    message = _MESSAGES[what].format(about(count))
    notes = (f"it stands in {where}", f"the limit is {limit:,}")
    label = f"{about(share)} of them"
    return DiagnosticError(
        Diagnostic("D224", message, statement.span, label, notes, _REMEDIES[what])
    )


def too_deep(
    call: tree.MotifCall, motif: tree.Motif, inside: tree.Motif | tree.Network
) -> DiagnosticError:
    """D224 at the instance that lies one level too deep."""
    message = f"motifs nest deeper than {MAX_DEPTH} levels"
    label = f"an instance of `{motif.name}` on level {MAX_DEPTH + 1}"
    notes = (f"it stands in `{inside.name}`",)
    remedy = "nest fewer motifs"
    if call.motif != motif.name:
        remedy += f"; `{call.motif}` stands for `{motif.name}` here, and must not lead to itself"
    return DiagnosticError(Diagnostic("D224", message, call.span, label, notes, remedy))


@contextmanager
def stack_kept(span: Span) -> Iterator[None]:
    """Refuse what nests so deep that following it exhausts Python's stack.

    Raises:
        DiagnosticError: D104.
    """
    try:
        yield
    except RecursionError:
        remedy = "name the inner parts with `op`, `choice` or `motif`"
        raise DiagnosticError(Diagnostic("D104", "nested too deeply", span, help=remedy)) from None


def about(count: int) -> str:
    """A number as people read it, whatever its size: ``1,203,000``, ``10^30``."""
    return f"{count:,}" if count < 10**15 else f"10^{int(log10(count))}"
