"""``bayesnas count``, ``sample`` and ``grow``: members of a space, and what becomes of one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from bayesnas.commands.arguments import (
    Command,
    add_budget,
    add_latencies,
    add_out_file,
    add_plugin,
    add_seed,
    add_spec,
    completed,
)
from bayesnas.commands.tables import budget_rows, heading, number, table
from bayesnas.commands.values import check_seed, parse_budgets, parse_values, read_latencies
from bayesnas.dsl.files import check_free, write_text
from bayesnas.dsl.terminal import put, say, visible

if TYPE_CHECKING:
    from bayesnas.compiler.pipeline import Compiled

# Files of `dsl/library/networks/`, whose loader imports the parser.
NETWORKS: Final = ("bayesnas_cifar10", "bayesnas_imagenet", "darts_cifar10", "darts_imagenet")


def _space(options: argparse.Namespace) -> Compiled:
    """The spec with its parameters, under the budgets and priced by the table that are named."""
    from bayesnas.commands.inputs import given_spec

    budgeted = given_spec(options).budgeted(parse_budgets(options.budget))
    return budgeted.priced(read_latencies(options.latencies))


def _add_count(parser: argparse.ArgumentParser) -> None:
    add_spec(parser)
    add_budget(parser, "members")
    add_latencies(parser)


def _count(options: argparse.Namespace) -> int:
    from bayesnas.compiler.graph.cost import cost_text
    from bayesnas.compiler.space.choices import member_space
    from bayesnas.compiler.space.members import reach

    compiled = _space(options)
    graph = compiled.graph
    space = member_space(graph)
    tied = len(space.connections) < sum(c.searched for c in graph.all_connections())
    rows = {
        "searched connections": f"{len(space.connections):,}"
        + (", tied ones counted once" if tied else ""),
        "members": number(space.count()),
    }
    extremes = reach(graph)
    smallest, largest = extremes.smallest, extremes.largest
    rows["parameters"] = f"{smallest.parameters:,} to {largest.parameters:,}"
    rows["FLOPs per example"] = f"{smallest.flops:,} to {largest.flops:,}"
    if graph.timing is not None:
        fastest, slowest = (cost_text("latency", c.of("latency")) for c in (smallest, largest))
        rows["latency"] = f"{fastest} to {slowest}, the sum of operations"
    if not extremes.exact:
        rows["FLOPs per example"] += " (smallest found; there may be a smaller one)"
    say(*table(heading(compiled), rows | budget_rows(graph)))
    return 0


COUNT = Command("count", "Count the members of a space; show what they cost.", _add_count, _count)


def _add_sample(parser: argparse.ArgumentParser) -> None:
    add_spec(parser)
    add_seed(parser)
    add_budget(parser, "the member")
    add_latencies(parser)
    add_out_file(parser, False, "file to write; default the terminal")


def _sample(options: argparse.Namespace) -> int:
    from bayesnas.compiler.artifacts.derive import derive_spec
    from bayesnas.compiler.graph.cost import cost_text, graph_cost
    from bayesnas.compiler.space.draws import draw_member
    from bayesnas.dsl.printing.printer import print_spec

    check_seed(options.seed)
    if options.out is not None:
        check_free(options.out, options.force)
    compiled = _space(options)
    _, pruned = draw_member(compiled.graph, options.seed)
    cost = graph_cost(pruned)
    time = "" if cost.latency is None else f", {cost_text('latency', cost.latency)}"
    origin = visible(compiled.loaded.source.name.rsplit("/", 1)[-1])
    text = (
        f"# A random member of `{compiled.network.name}` of {origin}, seed {options.seed}:\n"
        f"# {cost.parameters:,} parameters, {cost.flops:,} FLOPs per example{time}.\n"
    ) + print_spec(derive_spec(compiled, pruned))
    if options.out is None:
        put(text)
    else:
        write_text(options.out, text)
        say(f"written to {options.out}")
    return 0


SAMPLE = Command("sample", "Write a random member of a space as a spec.", _add_sample, _sample)


def _networks() -> list[str]:
    from bayesnas.dsl.loader import packaged_networks

    return packaged_networks()


def _add_grow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec", metavar="SPEC", help="a .nas file, a packaged spec, or the folder of a search"
    )
    around = parser.add_argument(
        "--as",
        dest="around",
        metavar="NETWORK",
        required=True,
        help=f"the network to put the cell into, or a file of one: {', '.join(NETWORKS)}",
    )
    completed(around, _networks)
    parser.add_argument("--cell", metavar="NAME", default="", help="the motif; default the chain's")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the new network, over its default; may be repeated",
    )
    parser.add_argument("--network", metavar="NAME", help="which network of SPEC has the cell")
    add_out_file(parser, False, "file to write; default the terminal")
    add_plugin(parser)


def _grow(options: argparse.Namespace) -> int:
    from bayesnas.commands.inputs import given_spec
    from bayesnas.compiler.graph.cost import graph_cost
    from bayesnas.compiler.grown import grown

    if options.out is not None:
        check_free(options.out, options.force)
    found = given_spec(options, {})
    new = grown(found, options.around, options.cell, parse_values(options.set))
    cost = graph_cost(new.graph)
    about = f"{cost.parameters:,} parameters, {cost.flops:,} FLOPs per example"
    origin = visible(found.loaded.source.name.rsplit("/", 1)[-1])
    head = (
        f"# The cell of `{found.network.name}` of {origin} in `{new.network.name}`:\n# {about}.\n"
    )
    text = head + new.loaded.source.text
    if options.out is None:
        put(text)
    else:
        write_text(options.out, text)
        say(f"written to {options.out}: {about}")
    return 0


GROW = Command(
    "grow", "Put a found cell into the network it is trained in for a result.", _add_grow, _grow
)
