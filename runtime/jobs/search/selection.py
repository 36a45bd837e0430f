"""The operations that stay after a search: their network, and the files that tell of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.figure import draw, write_figure
from bayesnas.compiler.artifacts.gamma_report import gamma_report
from bayesnas.compiler.artifacts.graph_file import Annotation, graph_to_json
from bayesnas.compiler.graph.cost import Cost, graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.slices.figure import WIDTHS, draw_widths
from bayesnas.compiler.slices.layers import layers_of
from bayesnas.compiler.slices.narrowing import narrowed_spec
from bayesnas.compiler.space.choices import Member
from bayesnas.compiler.space.latency_file import latencies_json
from bayesnas.compiler.space.members import dead_groups, prune_to
from bayesnas.dsl.diagnostics import Source, quote
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.dsl.terminal import visible
from bayesnas.runtime.jobs.search.gates import Removed, annotation_of, gate_rows
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.search.weights import write_shared
from bayesnas.runtime.runs.folder import Run
from bayesnas.runtime.runs.ownership import FOUND, LATENCIES, MEMBERS, RUNNERS_UP
from bayesnas.runtime.runs.progress import say_note
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.strategies.interface import Standing, Strategy


@frozen
class Selection:
    """The operations that stay after a search, written into its run's folder."""

    space: Space
    options: RunOptions
    strategy: Strategy
    run: Run
    removed: Removed

    @property
    def graph(self) -> Graph:
        """That of the wanted network, with all of its operations."""
        return self.space.wanted.graph

    @property
    def groups(self) -> Member:
        """Those of the gates that stay."""
        return frozenset(self.strategy.net.gates.groups.keys() - self.removed.keys())

    @property
    def annotation(self) -> Annotation:
        """Gamma, round of removal and words of every edge of the wanted network, by its group."""
        rows = gate_rows(self.strategy, self.removed)
        return annotation_of(self.graph, rows, self.removed)

    def cost(self, network: Graph) -> Cost:
        """What the selected network costs; its time is that of the member, as it was measured."""
        widths = self.strategy.problem.widths
        if widths is not None:
            latency = widths.latency(widths.channels.view(self.groups))
            return evolve(graph_cost(network), latency=latency)
        if self.graph.timing is None:
            return graph_cost(network)
        latency = graph_cost(prune_to(self.graph, self.groups)).latency
        return evolve(graph_cost(network), latency=latency)

    def write(self) -> tuple[Compiled, str | None]:
        """Write the selected network's spec and figure, and all that tells of the search.

        Returns:
            The network, compiled, and advice where figures could not be drawn.
        """
        text = self._spec_of(self.groups)
        network = compile_loaded(load_text(Source(FOUND, text), self.run.out))
        self.run.write_text(FOUND, text)
        self._write_members()
        if not self.run.writes:
            return network, None
        self._write_widths()
        advice = self._write_artifacts()
        write_figure(draw(network.graph), self.run.out / "pruned.svg")
        return network, advice

    def write_weights(self, network: Compiled) -> dict[str, Any]:
        """Write the network with the weights of the search, if they are kept, and tell of it."""
        widths = self.strategy.problem.widths
        if self.strategy.settings.result == "scratch" and widths is None:
            return {}
        channels = None
        if widths is not None:
            view = widths.channels.view(self.groups)
            channels = view.slices, widths.kept(view)
        net = self.strategy.net
        return {"shared": write_shared(self.run, net, self.groups, network, channels)}

    def _write_members(self) -> None:
        """Write what is believed of judged members, and those that the data do not decide on."""
        standings = self.strategy.standings
        if not standings:
            return
        rows = []
        for standing in standings:
            cost = graph_cost(prune_to(self.graph, standing.member))
            rows.append(standing.record() | cost.record())
        self.run.write_lines(MEMBERS, rows)
        runners_up = self.strategy.runners_up()
        written = dict(zip(RUNNERS_UP, runners_up, strict=False))
        for name, member in written.items():
            text = self._spec_of(member - {*dead_groups(self.graph, member)})
            self.run.write_text(name, text)
        say_note(_undecided(standings, len(runners_up), written))

    def _write_widths(self) -> None:
        """Write what was decided of channels."""
        widths = self.strategy.problem.widths
        if widths is None:
            return
        view = widths.channels.view(self.groups)
        layers = (
            *layers_of(view.graph, view.slices, widths.kept(view), widths.channels.paths).values(),
        )
        say_note(widths.remark(layers))
        self.run.write_lines("layers.jsonl", [layer.record() for layer in layers])
        self.run.write_lines("slices.jsonl", widths.told(view))
        write_figure(draw_widths(layers), self.run.out / WIDTHS)
        if widths.clock is not None:
            self.run.write_text(LATENCIES, latencies_json(widths.clock.table))

    def _write_artifacts(self) -> str | None:
        """Write what tells of the search; advice where the figure could not be drawn."""
        annotation = self.annotation
        self.run.write_text("graph.json", graph_to_json(self.graph, annotation))
        report = gamma_report(self.graph)
        self.run.write_text("gamma.json", report.json)
        self.run.write_text("gamma.md", report.markdown)
        return write_figure(draw(self.graph, annotation), self.run.out / "search.svg")

    def _spec_of(self, groups: Member) -> str:
        """The spec of the wanted network with these operations alone."""
        wanted, widths = self.space.wanted, self.strategy.problem.widths
        if widths is None:
            spec = derive_spec(wanted, prune_to(wanted.graph, groups))
        else:
            view = widths.channels.view(groups)
            spec = narrowed_spec(wanted, view.slices, widths.kept(view), view.graph)
        return self._header(len(groups)) + print_spec(spec)

    def _header(self, operations: int) -> str:
        name = Path(self.space.wanted.loaded.source.name).name
        shown = visible(f"{name} on {self.options.data_name}")
        return (
            f"# Found by bayesnas search of {shown}, seed {self.options.seed}: "
            f"{operations} of {len(self.strategy.net.gates.groups)} operations left.\n\n"
        )


def _undecided(standings: Sequence[Standing], count: int, names: Collection[str]) -> str:
    """What the posterior says of the network that stays, and of those it does not tell from it.

    ``names`` are the files of the best of these ``count``.
    """
    close = _chance(standings[0].close)
    text = f"by the posterior the chance that its loss is within 1 % of the best's is {close}"
    for standing in standings[1:]:
        if standing.biggest:
            text += f", and that the biggest member is better is {_chance(standing.better)}"
    if not names:
        return text
    others = "another" if count == 1 else f"{count} others"
    link = ":" if count == len(names) else ", the best of them are"
    return f"{text}; the data do not decide between it and {others}{link} {quote(names)}"


def _chance(share: float) -> str:
    return "less than 1%" if share < 0.01 else f"{share:.0%}"
