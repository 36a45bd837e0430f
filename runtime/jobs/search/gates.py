"""What a search tells of its gates: a row each as they are now, and a row per group and round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final, TypeAlias

from bayesnas.compiler.artifacts.drawing.words import shortened
from bayesnas.compiler.artifacts.graph_file import Annotation
from bayesnas.compiler.graph.model import Graph
from bayesnas.runtime.runs.reading import (
    ANY_NUMBER,
    FLAG,
    Schema,
    listed,
    maybe,
    record,
)
from bayesnas.runtime.strategies.interface import Strategy

Row: TypeAlias = dict[str, Any]
Removed: TypeAlias = Mapping[str, tuple[int, str]]  # group -> round, reason

_NUMBERS: Final = ("mean", "w", "gamma", "error", "chance")


def gate_rows(strategy: Strategy, removed: Removed) -> list[Row]:
    """A row a gate: what was found of it last, and when and why it went."""
    rows = []
    for edge, row in zip(strategy.problem.graph.searched(), strategy.rows(), strict=True):
        gone, reason = removed.get(edge.searched_gate.group, (None, None))
        rows.append(
            {
                "gate": edge.searched_gate.number,
                "group": edge.searched_gate.group,
                "edge": edge.connection,
                "operation": edge.operation.label,
                **row,
                "removed_in_round": gone,
                "removed_by": reason,
            }
        )
    return rows


def round_rows(number: int, rows: Iterable[Row]) -> list[Row]:
    """A row per group that lived until round ``number``, the mean of its gates; ``mean``: w_solved.

    Where a strategy solves for no w, that is w itself.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        gone = row["removed_in_round"]
        if gone is None or gone == number:
            mean = row["w"] if row["w_solved"] is None else row["w_solved"]
            groups.setdefault(row["group"], []).append({**row, "mean": mean})
    return [
        {
            "round": number,
            "group": group,
            "alive": members[0]["removed_in_round"] is None,
            **{name: _mean(members, name) for name in _NUMBERS},
        }
        for group, members in groups.items()
    ]


def round_schema(rounds: Schema, groups: Schema) -> Schema:
    """Of a list of such rows, by those of a round and of the name of a group."""
    numbers = dict.fromkeys(_NUMBERS, maybe(ANY_NUMBER))
    return listed(record({"round": rounds, "group": groups, "alive": FLAG, **numbers}))


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return fmean(values) if values else None


def living_means(rows: Sequence[Row]) -> dict[str, float]:
    """Of such rows, those of the last round: the mean of each group that stays."""
    last = rows[-1]["round"] if rows else 0
    living = [row for row in rows if row["round"] == last and row["alive"]]
    return {row["group"]: row["mean"] for row in living if row["mean"] is not None}


def annotation_of(graph: Graph, rows: Sequence[Row], removed: Removed) -> Annotation:
    """What was found of the groups of a graph, by its own edges."""
    groups = graph.groups()
    found = {str(row["group"]): row["gamma"] for row in rows if row["gamma"] is not None}
    gammas = {e.id: found[g] for g, edges in groups.items() if g in found for e in edges}
    gone = {e.id: removed[g][0] for g in removed for e in groups[g]}
    told = gate_notes(rows)
    notes = {e.id: told[g] for g, edges in groups.items() if g in told for e in edges}
    return Annotation(gammas, gone, notes)


def gate_notes(rows: Iterable[Row]) -> dict[str, str]:
    """What a figure says of each group under the pointer: its numbers, when and why it went."""
    notes: dict[str, str] = {}
    for row in rows:
        told = [f"{name} {shortened(row[key])}" for name, key in _TOLD if row[key] is not None]
        if row["error"] is not None:
            told.append(f"\N{PLUS-MINUS SIGN} {shortened(row['error'])}")
        if row["removed_in_round"] is not None:
            told.append(f"removed in round {row['removed_in_round']}: {row['removed_by']}")
        notes.setdefault(row["group"], ", ".join([row["operation"], *told]))
    return notes


_TOLD: Final = (("γ", "gamma"), ("chance", "chance"), ("w", "w"))
