"""Every packaged space: as short as promised, of the published counts, trained and drawn."""

from __future__ import annotations

import csv
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from bayesnas.commands.tables import number
from bayesnas.compiler.artifacts.figure import draw, write_figure
from bayesnas.compiler.graph.cost import Cost, edge_cost, graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.walks import looked_up
from bayesnas.compiler.pipeline import Compiled, compile_loaded, compile_spec
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.members import prune_to, reach
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load, load_text, packaged_specs
from bayesnas.runtime.data.registry import Ports
from bayesnas.runtime.network.modules import build, outputs_of

ROOT = Path(__file__).parent.parent
TABLE = ROOT.parent / "shared" / "data" / "nas-bench-macro.csv"

# Lines without comments at most, and parameters that make it small enough to train here.
SPACES = {
    "darts_cell": (30, {"cells": 2, "width": 4}),
    "darts_rnn": (45, {"nodes": 2, "steps": 3, "words": 5, "width": 4}),
    "dense_motif": (30, {"layers": 2, "growth": 4}),
    "densenet": (30, {"layers": 3}),
    "digits_cell": (40, {"cells": 2, "width": 4}),
    "hierarchical": (35, {"motifs": 2, "width": 4, "nodes": 3}),
    "multiscale": (40, {"width": 4, "times_exchanged": 2}),
    "nasbench201": (30, {"cells": 1, "width": 4}),
    "nasbench_macro": (25, {"width": 8}),
    "nasnet": (35, {"cells": 3, "width": 4}),
    "pgnas_densenet121": (55, {"growth": 4, "p": 2, "q": 1, "r": 1, "s": 1, "classes": 4}),
    "pgnas_resnet50": (45, {"width": 4, "p": 1, "q": 1, "r": 1, "s": 1, "classes": 4}),
    "proxylessnas": (40, {"classes": 10}),
    "quick_images": (40, {"width": 4}),
    "sequence_tcn": (25, {"blocks": 3, "width": 8}),
    "table": (25, {"outputs": 3}),
    "siamese": (30, {"width": 8, "nodes": 2}),
    "tabular_mlp": (25, {}),
    "transformer": (35, {"width": 16, "blocks": 1}),
    "text": (35, {"width": 8, "words": 5}),
    "treecell_pyramidnet": (60, {"blocks": 1, "widening": 6}),
    "two_tasks": (30, {"width": 4}),
    "unet": (40, {"width": 4}),
    "vision_blocks": (40, {"width": 8, "blocks": 1}),
}


# Networks without a choice: the parameters of the authors' models, without auxiliary heads.
NETWORKS = {
    "darts_v2": 3_349_342,
    "darts_v2_imagenet": 4_718_752,
    "bayesnas_cells": 2_575_702,
    "bayesnas_imagenet": 4_008_928,
    "treecell_a": 5_724_330,  # 5.7M, and 14.3M widened by 150
    "shake_shake": 26_192_922,  # 26.2M
}


def test_every_packaged_spec_is_here() -> None:
    assert set(packaged_specs()) == {*SPACES, *NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_have_the_published_parameters(name: str) -> None:
    assert graph_cost(graph_of(name)).parameters == NETWORKS[name]


# Table 1 of BayesNAS: 2.59 +- 0.23, 3.10 +- 0.15 and 3.40 +- 0.62 million; what their code has.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lambda_010", 2_575_702), ("lambda_007", 3_197_350), ("lambda_005", 2_512_198)],
)
def test_cells_of_bayesnas_have_the_parameters_of_their_code(name: str, parameters: int) -> None:
    assert graph_cost(compile_spec("bayesnas_cells", network=name).graph).parameters == parameters


def test_networks_of_posterior_guided_nas_have_the_published_parameters() -> None:
    """SupNet-M and MI have 26.2 and 72.7 M; DenseNet-121 has 7,978,856 behind its own stem."""
    wide = compile_spec("shake_shake", {"width": 160})
    assert round(graph_cost(wide.graph).parameters / 1e6, 1) == 72.7
    dense = graph_cost(compile_spec("pgnas_densenet121").graph).parameters
    stem = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64)
    assert dense - stem == 7_978_856 - (49 * 3 * 64 + 2 * 64)


def test_wider_tree_cells_have_the_published_parameters() -> None:
    wide = compile_spec("treecell_a", {"widening": 150})
    assert round(graph_cost(wide.graph).parameters / 1e6, 1) == 14.3


def test_a_published_network_is_trained_as_published() -> None:
    small = compile_spec("darts_v2", {"cells": 3, "width": 4})
    assert small.settings("train")["drop_path"] == 0.2
    module, _ = build(small.graph, "spec.nas", seed=0)
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.fixture(scope="module", params=SPACES)
def space(request: pytest.FixtureRequest) -> Compiled:
    loaded, (_, parameters) = load(request.param), SPACES[request.param]
    if request.param == "proxylessnas":
        text = loaded.source.text.replace("[3, 224, 224]", "[3, 64, 64]")
        loaded = load_text(Source("spec.nas", text), ROOT)
    return compile_loaded(loaded, parameters)


@pytest.mark.parametrize("name", SPACES)
def test_spec_is_short_and_names_its_paper(name: str) -> None:
    lines = (ROOT / "specs" / f"{name}.nas").read_text("utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert len(code) <= SPACES[name][0]
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("name", SPACES)
def test_every_network_of_the_spec_compiles(name: str) -> None:
    loaded = load(name)
    for network in (d for d in loaded.main.definitions if type(d).__name__ == "Network"):
        compile_loaded(loaded, network=network.name)


def test_space_is_trained_for_a_few_steps(space: Compiled) -> None:
    graph = space.graph
    module, _ = build(graph, "spec.nas", seed=0)
    generator = torch.Generator().manual_seed(0)
    ports = Ports.of(graph)
    classes, *places = next(iter(ports.outputs.values()))
    inputs = [torch.randn(2, *shape, generator=generator) for shape in ports.inputs.values()]
    if looked_up(graph):
        inputs = [torch.randint(classes, x.shape, generator=generator).float() for x in inputs]
    labels = torch.randint(classes, (2, *places), generator=generator)
    gates = torch.ones(len(graph.searched()), requires_grad=True)
    optimizer = torch.optim.SGD([*module.parameters(), gates], lr=1e-3)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)  # drop the same
        optimizer.zero_grad()
        loss = cross_entropy(outputs_of(module(*inputs, gates))[0], labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert gates.grad is not None
    assert torch.isfinite(gates.grad).all()
    assert gates.grad.count_nonzero() > len(gates) // 2


def test_space_is_drawn(space: Compiled, tmp_path: Path) -> None:
    advice = write_figure(draw(space.graph), tmp_path / "space.svg")
    assert (tmp_path / "space.dot").stat().st_size > 500
    assert (advice is None) == (shutil.which("dot") is not None)


# ----------------------------------------------------------------------------- published counts


@cache
def graph_of(name: str, network: str | None = None) -> Graph:
    return compile_spec(name, network=network).graph


@pytest.mark.parametrize(
    ("name", "members"),
    [
        # Liu et al. 2019, section 3.4: 10^9 cells, 10^18 pairs of a normal and a reduction cell.
        ("darts_cell", (3 * 6 * 10 * 49**4) ** 2),
        # Liu et al. 2019, the authors' code: a predecessor and one of 4 activations for 8 nodes.
        ("darts_rnn", 40_320 * 4**8),
        # Dong and Yang 2020: 5^6 cells, those with `zeroize` counted.
        ("nasbench201", 15_625),
        # Su et al. 2021: 3^8 chains.
        ("nasbench_macro", 6_561),
        # 6 operations in the first layer of each of 6 stages, 7 in the 15 other layers.
        ("proxylessnas", 6**6 * 7**15),
        # Two (predecessor, operation) pairs a node, for 2 to 6 predecessors and 5 operations.
        ("nasnet", ((5**5 * 720) ** 2) ** 2),
        # 6 tied motifs of 6 edges, each of 6 operations or none; 10 edges of the cell carry one.
        ("hierarchical", 7 ** (6 * 6) * 6**10),
        ("treecell_pyramidnet", 7 ** (18 * 14)),
        ("densenet", 2 ** (3 * 16 * 17 // 2)),
    ],
)
def test_members(name: str, members: int) -> None:
    assert member_space(graph_of(name)).count() == members


def test_darts_cell_has_14_edges_of_7_operations() -> None:
    graph = graph_of("darts_cell")
    first = [c for c in graph.all_connections() if c.searched and c.source.startswith("body[0].")]
    assert [len(c.edges) for c in first] == [7] * 14


def test_densenet_with_every_skip_is_the_papers() -> None:
    """DenseNet-BC (L = 100, k = 12): 0.8M parameters; 769,162 in every reimplementation."""
    assert graph_cost(graph_of("densenet")).parameters == 769_162


def test_nasbench201_costs_what_the_paper_says() -> None:
    """From 0.073306M parameters and 7.78 MFLOPs to 1.531546M and 220.12 MFLOPs."""
    found = reach(graph_of("nasbench201"))
    assert (found.smallest.parameters, found.largest.parameters) == (73_306, 1_531_546)
    assert round(found.smallest.flops / 1e6, 2) == 7.78
    assert round(found.largest.flops / 1e6, 2) == 220.12


def test_pyramidnet_is_the_papers() -> None:
    """PyramidNet with bottlenecks, 164 layers, widened by 270: 27.0M parameters."""
    parameters = graph_cost(graph_of("treecell_pyramidnet", "pyramidnet")).parameters
    assert parameters == pytest.approx(27.0e6, rel=0.01)


@pytest.mark.skipif(not TABLE.exists(), reason="the table of NAS-Bench-Macro is not here")
def test_nasbench_macro_equals_the_published_table() -> None:
    graph = graph_of("nasbench_macro")
    layers = [c.edges for c in graph.all_connections() if c.searched]
    # The first layer of a stage chooses among three; the others keep one of two, or the identity.
    costs = [[Cost(0, 0)] * (3 - len(edges)) + [edge_cost(e) for e in edges] for edges in layers]
    fixed = [edge_cost(edge) for edge in graph.edges() if edge.gate is None]
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == member_space(graph).count()
    for row in rows:
        chosen = [
            layer[int(digit)] for layer, digit in zip(costs, row["architecture"], strict=True)
        ]
        assert sum(c.parameters for c in (*fixed, *chosen)) == int(row["parameters"])
        assert sum(c.flops for c in (*fixed, *chosen)) == int(row["flops"])


def test_cost_of_a_chain_is_that_of_its_pruned_graph() -> None:
    graph = graph_of("nasbench_macro")
    space = member_space(graph)
    member = frozenset(connection.options[1] for connection in space.connections)
    total = sum(
        edge_cost(e).parameters for e in graph.edges() if e.gate is None or e.gate.group in member
    )
    assert graph_cost(prune_to(graph, member)).parameters == total


def test_the_list_of_spaces_says_what_count_says() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(\.\./specs/.*?\) \| [^|]* \| ([^|]*) \| ([^|]*) \|$",
        (ROOT / "docs/spaces.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert {name for name, _, _ in rows} == set(SPACES)
    for name, members, parameters in rows:
        graph = graph_of(name)
        found = reach(graph)
        least, most = f"{found.smallest.parameters:,}", f"{found.largest.parameters:,}"
        assert members in number(member_space(graph).count())
        budgets = [b.limit for b in graph.budgets if b.cost == "parameters"]
        wanted = "".join(f", at most {limit:,} wanted" for limit in budgets)
        assert parameters in (f"{least} to {most}{wanted}", f"up to {most}{wanted}")
