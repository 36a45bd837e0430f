"""The members that a search has judged: what they cost, and what is believed of them."""

from __future__ import annotations

from collections.abc import Sequence

from bayesnas.runtime.report.blocks import Block, Chart, Numbers, Section, Table
from bayesnas.runtime.report.charts import (
    COLOURS,
    MARKED,
    Spec,
    axis,
    colour,
    dot,
    figure,
    front,
    layer,
    number,
    spread,
    tooltip,
)
from bayesnas.runtime.report.files import Row, RunFiles
from bayesnas.runtime.report.sections.layers import COSTS
from bayesnas.runtime.strategies.interface import UNDECIDED


def member_section(run: RunFiles, members: Sequence[Row]) -> Section:
    """Judged members: what they cost and what is believed of them."""
    columns = (
        "member",
        "parameters",
        "flops",
        "judged loss",
        "loss",
        "error",
        "best",
        "close",
        "better",
        "state",
        "operations",
    )
    names = _member_names(run, members)
    rows = [
        (
            *(names[n], m["parameters"], m["flops"], m["judged"], m["loss"], m["error"]),
            *(m["best"], m["close"], m["better"], _state(names[n]), " ".join(m["member"])),
        )
        for n, m in enumerate(members)
    ]
    table = Table.of("members", columns, rows)
    specs = [_against_cost(table, cost, title) for cost, title in COSTS]
    about = (
        "Each judged member: the loss that is expected of it after training, with one standard "
        "deviation, over what it costs. The line joins those that no other is cheaper and better "
        "than: the Pareto front."
    )
    blocks: list[Block] = [Chart("Cost against judgement", about, tuple(specs), table, wide=False)]
    if others := run.runners_up:
        blocks.append(_runners_up(members, others))
    best = members[0]
    bigger = [m["better"] for m in members[1:] if m.get("biggest")]
    facts = (
        ("members judged", f"{len(members)}"),
        ("chance that the best of all was judged", _percent(sum(m["best"] for m in members))),
        ("chance that the found one is the best of all", _percent(best["best"])),
        ("chance that it is within 1 % of the best's loss", _percent(best["close"])),
        *(("chance that the biggest member is better", _percent(chance)) for chance in bigger),
    )
    return Section("Members", facts, tuple(blocks))


def _percent(chance: float) -> str:
    """Without decimals, but that a small chance is not none."""
    return f"{chance:.0%}" if chance >= 0.01 else f"{chance:.1%}"


def _member_names(run: RunFiles, members: Sequence[Row]) -> list[str]:
    """The found one first; those that its search does not tell from it are runners-up."""
    left = len(run.runners_up)
    names = ["found"]
    for place, member in enumerate(members[1:], start=2):
        undecided = len(run.runners_up) - left
        if left and member["better"] >= UNDECIDED:
            names.append(f"runner-up {undecided + 1}")
            left -= 1
        else:
            names.append("biggest" if member.get("biggest") else f"member {place}")
    return names


def _state(name: str) -> str:
    state = name.partition(" ")[0]
    return state if state in ("found", "runner-up") else "judged"


def _against_cost(table: Table, cost: str, title: str) -> Spec:
    expected = "expected loss, nats"
    x, y = axis(cost, title), axis("loss", expected)
    of = colour("state", ("found", "runner-up", "judged"))
    of["scale"]["range"] = [MARKED, COLOURS[0], COLOURS[6]]
    told = ("member", "parameters", "flops", "judged loss", "loss", "error", "best", "close")
    bar = {"type": "rule", "opacity": 0.5}
    points = [(number(r[cost]), number(r["loss"])) for r in table.records]
    return figure(
        spread(table.records, "loss"),
        front(points, x, y, larger=False),
        layer(bar, x=x, y=axis("low", expected), y2={"field": "high"}, color=of),
        layer(dot(45), x=x, y=y, color=of, tooltip=tooltip(told)),
    )


def _runners_up(members: Sequence[Row], files: Sequence[str]) -> Numbers:
    columns = ("spec", "parameters", "FLOPs", "expected loss", "its error", "chance to be better")
    others = [m for m in members[1:] if m["better"] >= UNDECIDED]
    rows = [
        (name, m["parameters"], m["flops"], m["loss"], m["error"], m["better"])
        for name, m in zip(files, others, strict=False)
    ]
    more = f", nor {len(others) - len(rows)} others" if len(others) > len(rows) else ""
    about = (
        f"The data do not decide between the found network and these{more}: each is a spec to be "
        "trained."
    )
    return Numbers("Runners-up", about, Table.of("runners_up", columns, rows))
