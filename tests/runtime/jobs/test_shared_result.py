"""A network that keeps the weights of the search it was found by."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from living import images
from support import compile_text
from torch import nn

from bayesnas import cli
from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.settings import SearchSettings
from bayesnas.compiler.space.members import dead_groups, prune_to
from bayesnas.dsl.diagnostics import DiagnosticError, Source
from bayesnas.dsl.loader import load_text
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.jobs.trained import evaluate_run
from bayesnas.runtime.network.modules import build
from bayesnas.runtime.runs.record import RunOptions
from bayesnas.runtime.supernet.shared import shared_state
from bayesnas.runtime.supernet.supernet import Supernet

CPU = torch.device("cpu")
# What names and shapes may be mistaken by: several operations on an edge, edges between the same
# two nodes, equal operations, one that another is the beginning of, modules called several times.
SPACE = """\
op wide = conv(3) >> bn >> relu >> conv(1) >> bn
motif cell(a) -> (out) {
    node h[2]
    a ~> h[0] : conv(3) >> bn | wide | conv(1) >> bn | conv(3) >> bn | skip
    a -> h[0] : bn
    {a, h[0]} ~> h[1] : wide | conv(3) | skip
    out = sum(h)
}
network net(image: [1, 8, 8]; width = 3) -> (y: [3]) {
    stem = image : conv(3, width)
    body = tied chain cell(stem) times 2
    b = shared cell(stem)
    c = shared cell(b)
    both = sum(body, c)
    both -> y : bn >> relu >> global_avg_pool >> linear(3)
}
"""

# A concatenation that may lose parts, and what reads it: over several layers, flattened, in groups.
JOINED = """\
motif cell(a) -> (out) {
    node h[3]
    for k in 0..3 { {a, h[..k]} ~> h[k] : conv(3) >> bn | skip }
    out = concat(h)
}
network net(image: [1, 8, 8]; width = 3) -> (y: [3]) {
    stem = image : conv(3, width)
    c = cell(stem)
    d = c : bn >> relu >> depthwise_conv(3) >> (skip + bn) >> bn
    both = concat(c, d, stem)
    both -> y : conv(3, 4, 2) >> bn >> relu >> flatten >> linear(3)
}
"""


def found_network(space: Compiled, member: frozenset[str]) -> Compiled:
    text = print_spec(derive_spec(space, prune_to(space.graph, member)))
    return compile_loaded(load_text(Source("pruned.nas", text), Path()))


def several(space: Compiled, net: Supernet, seed: int) -> frozenset[str]:
    """Some of the groups, several of an edge, so that a network is left."""
    chance = random.Random(seed)
    while True:
        kept = frozenset(g for g in net.gates.groups if chance.random() < 0.6)
        kept -= {*dead_groups(space.graph, kept)}
        try:
            prune_to(space.graph, kept)
        except DiagnosticError:
            continue
        return kept


def supernet(text: str, data: Data, seed: int) -> tuple[Compiled, Supernet]:
    space = compile_text(text)
    settings = SearchSettings(strategy="pgnas", batch_size=16)
    return space, Supernet(space.graph, "net", data, settings, seed, CPU)


def with_its_weights(
    space: Compiled, net: Supernet, member: frozenset[str]
) -> tuple[Compiled, nn.Module]:
    """A member as a network of its own, with weights of the supernet."""
    network = found_network(space, member)
    module, emitted = build(network.graph, "pruned.nas", 0)
    state = shared_state(net, member, network.graph, emitted, [*module.state_dict()])
    module.load_state_dict(state)
    net.calibrate(module)
    return network, module.eval()


@pytest.mark.parametrize("seed", range(4))
def test_it_computes_what_the_supernet_computes_with_it(seed: int) -> None:
    data = images()
    space, net = supernet(SPACE, data, seed)
    member = several(space, net, seed)
    _, module = with_its_weights(space, net, member)
    inputs = data.normalize(data.test.inputs)
    gates = net.gates.at(dict.fromkeys(member, 1.0))
    with torch.no_grad(), net.recalibrated(gates):
        expected = net.module.eval()(inputs, gates)
        torch.testing.assert_close(module(inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 2}])
def test_a_concatenation_that_has_lost_parts(gone: set[int]) -> None:
    """Fewer channels are read, by the weights that read them before; what has gone read zero."""
    data = images()
    space, net = supernet(JOINED, data, 0)
    named = {name: z for name, z in net.module.named_parameters() if "bias" in name}
    for z in named.values():  # else channels of zeros would count, by the shift of their norms
        z.data.zero_()
    member = frozenset(g for g in net.gates.groups if not any(f"->h[{k}]:" in g for k in gone))
    member -= {*dead_groups(space.graph, member)}
    network, module = with_its_weights(space, net, member)
    [joined] = [node for node in network.graph.nodes() if node.id == "both"]
    assert joined.shape == (2 * 3 * (3 - len(gone)) + 3, 8, 8)
    inputs = data.normalize(data.test.inputs)
    gates = net.gates.at(dict.fromkeys(member, 1.0))
    net.keep(member)
    with torch.no_grad(), net.recalibrated(gates):
        expected = net.module.eval()(inputs, gates)
        torch.testing.assert_close(module(inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("discretize", ["yes", "no"])
def test_a_search_writes_weights_beside_what_it_found(
    discretize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.nas").write_text(
        SPACE.replace("y: [3]", "y: [10]").replace("linear(3)", "linear(10)")
    )
    options = f"result=shared discretize={discretize} warmup_epochs=0.5 rounds=1 epochs=0.2 draws=2"
    words = [word for option in options.split() for word in ("--option", option)]
    command = ["search", "net.nas", "--data", "digits", "-o", "run", "--strategy", "pgnas", *words]
    assert cli.main(command) == 0
    told = json.loads(Path("run/result.json").read_text("utf-8"))["shared"]
    monkeypatch.syspath_prepend(tmp_path / "run")
    sys.modules.pop("network", None)
    network = __import__("network")
    model = getattr(network, told["class_name"])().eval()
    model.load_state_dict(torch.load("run/weights.pt", weights_only=True))
    sys.modules.pop("network")
    assert model(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape == (2, 10)
    assert told["test_examples"] == 60
    assert 0 <= told["test_accuracy"] <= 1
    report, _ = evaluate_run(RunOptions("", Path("run"), device="cpu"))
    assert report.score.quality == told["test_accuracy"]
    assert cli.main(["export", "run", "-o", "net.pt2"]) == 0
    np.save("x.npy", np.zeros((2, 1, 8, 8), dtype=np.uint8))
    assert cli.main(["predict", "run", "x.npy"]) == 0
    on = ["train", "run/pruned.nas", "--data", "digits", "-o", "on", "--weights", "run"]
    assert cli.main([*on, "--option", "epochs=1"]) == 0
    assert (
        json.loads(Path("on/settings.json").read_text("utf-8"))["weights"] == told["weights_hash"]
    )


def test_weights_of_a_proxy_are_not_those_of_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "search digits_cell --data digits --strategy pgnas --option result=shared"
    words = [*command.split(), "--proxy", "width=4", "-o", str(tmp_path / "run")]
    assert cli.main(words) == 2
    assert "those are of the proxy" in capsys.readouterr().err
