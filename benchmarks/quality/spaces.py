"""The spaces that strategies are judged on, and what their members are worth, trained in full."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.pipeline import Compiled, compile_spec
from bayesnas.compiler.space.choices import Member, member_space
from bayesnas.compiler.space.members import Life, group_costs, prune_to
from bayesnas.compiler.space.prices import Prices, best_member
from bayesnas.dsl.amounts import amount_value
from benchmarks.common import MACRO_TABLE, append, cifar_slice, logged, need
from benchmarks.quality.table import TABLES, Job, Table, member_of, name_of, read_csv, train_member

Settings = Mapping[str, Any]


class JudgedSpace(ABC):
    """A space, how it is searched, and the test accuracies of its members, percent."""

    name: ClassVar[str]
    settings: ClassVar[Settings]
    quick: ClassVar[Settings]
    proxy: ClassVar[Settings] = {}
    budgets: ClassVar[tuple[str, ...]] = ("none", "half", "quarter")
    random_draws: ClassVar[int]  # with which `random` judges no more images than it trains on

    @property
    @abstractmethod
    def spec(self) -> str:
        """File or name of the space."""

    @property
    @abstractmethod
    def file(self) -> Path:
        """The table's."""

    @abstractmethod
    def data(self, quick: bool) -> str:
        """The images of a search, for the command line's ``--data``."""

    @abstractmethod
    def table(self) -> Mapping[str, tuple[float, int]]:
        """Of members by name, their accuracies and FLOPs: all members, or random ones."""

    @abstractmethod
    def member_name(self, member: Member) -> str:
        """Its name in the table."""

    @abstractmethod
    def member(self, name: str) -> Member:
        """That of a name in the table."""

    def best(self, limit: int | None) -> Member:
        """The member of the table with the highest accuracy inside a limit."""
        inside = {
            name: accuracy
            for name, (accuracy, flops) in self.table().items()
            if limit is None or flops <= limit
        }
        return self.member(max(inside, key=lambda name: inside[name]))

    def worth(self, member: Member) -> float | None:
        """The accuracy of a member; None where the table has it not."""
        accuracy, _ = self.table().get(self.member_name(member), (None, 0))
        return accuracy

    def train(self, member: Member, device: str, quick: bool) -> float:  # noqa: ARG002
        """The accuracy of a member that was found, trained in full if need be, ``quick`` or not."""
        accuracy = self.worth(member)
        assert accuracy is not None, f"{self.name} has no {self.member_name(member)}"
        return accuracy

    @cached_property
    def compiled(self) -> Compiled:
        """The space, compiled."""
        return compile_spec(self.spec)

    @cached_property
    def biggest(self) -> int:
        """FLOPs of the biggest member."""
        graph = self.compiled.graph
        costs = group_costs(graph, "flops")
        member = best_member(member_space(graph), costs, Prices.of(graph, ()))
        assert member is not None
        return graph_cost(prune_to(graph, member)).flops

    def limit(self, budget: str) -> int | None:
        """FLOPs of a budget: ``none``, ``half``, ``quarter`` of the biggest member, or a number."""
        shares = {"half": 2, "quarter": 4}
        if budget == "none":
            return None
        return self.biggest // shares[budget] if budget in shares else amount_value(budget)

    def accuracies(self, limit: int | None) -> list[float]:
        """Of the members of the table inside a limit."""
        inside = self.table().values()
        return [accuracy for accuracy, flops in inside if limit is None or flops <= limit]

    def own(self, strategy: str, quick: bool) -> dict[str, Any]:
        """The settings of a strategy, by which all take about as many images."""
        settings = dict(self.quick if quick else self.settings)
        if strategy == "darts":
            settings["epochs"] /= 2
        if strategy == "random" and not quick:
            settings["draws"] = self.random_draws
        return settings


class TrainedSpace(JudgedSpace):
    """A space whose members were trained by `benchmarks.quality.table`."""

    source: ClassVar[Table]

    @property
    def spec(self) -> str:
        """Beside this file."""
        return str(self.source.spec)

    @property
    def file(self) -> Path:
        """Beside this file too."""
        return self.source.csv

    def data(self, quick: bool) -> str:  # noqa: ARG002
        """That of the table."""
        return self.source.data()

    @cached_property
    def _rows(self) -> dict[str, tuple[float, int]]:
        rows = read_csv(self.source)
        return {r["member"]: (100 * float(r["test_mean"]), int(r["flops"])) for r in rows}

    def table(self) -> Mapping[str, tuple[float, int]]:
        """The committed table."""
        return self._rows

    def member_name(self, member: Member) -> str:
        """The number of the candidate of each searched edge."""
        return name_of(self.compiled, member)

    def member(self, name: str) -> Member:
        """That of a name in the table."""
        return member_of(self.compiled, name)


class SmallCell(TrainedSpace):
    """256 cells, each trained with three seeds."""

    name = "small_cell"
    source = TABLES["small_cell"]
    random_draws = 24
    settings: ClassVar[Settings] = {"warmup_epochs": 16 / 3, "rounds": 6, "epochs": 8 / 3}
    quick: ClassVar[Settings] = {"warmup_epochs": 0.8, "rounds": 3, "epochs": 0.4}


class Droppable(TrainedSpace):
    """Cells of edges that can be dropped: random members were trained, and what is found is."""

    name = "droppable"
    source = TABLES["droppable"]
    random_draws = 16
    settings: ClassVar[Settings] = {"warmup_epochs": 3.0, "rounds": 6, "epochs": 0.9}
    quick: ClassVar[Settings] = {"warmup_epochs": 0.3, "rounds": 2, "epochs": 0.1}

    def member_name(self, member: Member) -> str:
        """That of the same network in the table, where there is one: 13 of its 101 are twice there.

        Operations that nothing reads make no other network.
        """
        name = name_of(self.compiled, self._life.living(member))
        return self._networks.get(name, name)

    @cached_property
    def _life(self) -> Life:
        graph = self.compiled.graph
        return Life(graph, member_space(graph))

    @cached_property
    def _networks(self) -> dict[str, str]:
        """Names in the table, by those without the operations that nothing reads."""
        members = {name: member_of(self.compiled, name) for name in reversed(self.table())}
        return {name_of(self.compiled, self._life.living(m)): name for name, m in members.items()}

    def train(self, member: Member, device: str, quick: bool) -> float:
        """By the table; trained as its members were, and kept in their log, where it is not there.

        To train one of the table's again would give another number by rounding alone. Quickly, it
        is trained for one epoch and not kept.
        """
        if (accuracy := self.worth(member)) is not None:
            return accuracy
        name, log = self.member_name(member), self.source.log
        scores = {row["member"]: row["test"] for row in logged(log)}
        if name not in scores:
            epochs = 1 if quick else None
            row = train_member(Job(self.source.name, name, self.source.seeds[0], epochs, device))
            scores[name] = row["test"]
            if not quick:
                append(log, row)
        return 100 * float(scores[name])


class Macro(JudgedSpace):
    """NAS-Bench-Macro: 6,561 chains, of which the published table has the accuracies.

    Searched in a quarter of the channels, with 25,000 CIFAR-10 training images.
    """

    name = "macro"
    budgets = ("none", "60M", "half", "quarter")
    random_draws = 6
    settings: ClassVar[Settings] = {"warmup_epochs": 1.8, "rounds": 4, "epochs": 0.3}
    quick: ClassVar[Settings] = {
        "warmup_epochs": 0.4,
        "rounds": 2,
        "epochs": 0.3,
        "curvature_examples": 256,
        "draws": 4,
    }
    proxy: ClassVar[Settings] = {"width": 8}

    @property
    def spec(self) -> str:
        """One of the package's."""
        return "nasbench_macro"

    @property
    def file(self) -> Path:
        """The published one."""
        return MACRO_TABLE

    def data(self, quick: bool) -> str:
        """Images of each class: 2,500, or 200."""
        return f"npz:{cifar_slice(200 if quick else 2500, 10, 32)}"

    @cached_property
    def _rows(self) -> dict[str, tuple[float, int]]:
        with need(self.file).open() as file:
            return {
                row["architecture"]: (float(row["test_accuracy_mean"]), int(row["flops"]))
                for row in csv.DictReader(file)
            }

    def table(self) -> Mapping[str, tuple[float, int]]:
        """The published one."""
        return self._rows

    def member_name(self, member: Member) -> str:
        """Of each layer, 0 identity, 1 or 2."""
        digits = []
        for options in self._layers:
            kept = [n for n, option in enumerate(options) if option in member]
            digits.append(str(kept[0] if kept else 0))
        return "".join(digits)

    def member(self, name: str) -> Member:
        """That of a name in the table."""
        chosen = (options[int(digit)] for digit, options in zip(name, self._layers, strict=True))
        return frozenset(option for option in chosen if option)

    @cached_property
    def _layers(self) -> list[list[str]]:
        """Of each layer its options; an empty one first where the residual alone may be left."""
        space = member_space(self.compiled.graph)
        return [[*([""] if space.droppable(c) else []), *c.options] for c in space.connections]


SPACES: dict[str, JudgedSpace] = {
    space.name: space for space in (SmallCell(), Macro(), Droppable())
}
