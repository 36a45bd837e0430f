"""Emitted source: it stands alone, computes what the graph says, and survives any name.

The law is `assert_sound`: every graph that compiles is emitted as a module that a plain
interpreter of the graph (`reference`) agrees with in float64.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from living import (
    EXAMPLES,
    PACKAGED,
    gates_of,
    inputs_of,
    module_of,
    packaged,
    run_python,
    with_known_weights,
)
from odd import ODD
from reference import OPERATIONS, run_graph
from strategies import spaces
from support import NOWHERE, graph_of, network
from torch import Tensor, nn

from bayesnas.compiler.emit.pytorch import Emitted, emit_torch
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.graph.sharing import owner_edges
from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.compiler.pipeline import compile_loaded
from bayesnas.dsl.diagnostics import Source
from bayesnas.dsl.loader import load_text


def outputs_of(module: nn.Module, graph: Graph, gates: Tensor | None) -> list[Tensor]:
    given_ = inputs_of(graph) if not graph.searched() else [*inputs_of(graph), gates]
    result = module(*given_)
    return list(result) if isinstance(result, tuple) else [result]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, equal_nan=True)


def assert_sound(graph: Graph, origin: str = "spec.nas") -> tuple[nn.Module, Emitted]:
    """Everything that holds of every emitted network."""
    emitted = emit_torch(graph, origin)
    assert_imports_torch_alone(emitted.source)
    assert [line for line in emitted.source.splitlines() if len(line) > 100] == []
    module = with_known_weights(module_of(emitted))
    trained = sum(p.numel() for p in module.parameters())
    assert trained == graph_cost(graph).parameters
    assert_gates_are_found(module, emitted, graph)
    gates = gates_of(graph)
    found = outputs_of(module, graph, gates)
    shapes = [(EXAMPLES, *(graph.node(o).shape or ())) for o in graph.root.outputs]
    assert [tuple(y.shape) for y in found] == shapes
    assert_close(found, run_graph(graph, inputs_of(graph), gates))
    return module, emitted


def assert_imports_torch_alone(source: str) -> None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert [alias.name for alias in node.names] == ["torch"]
        elif isinstance(node, ast.ImportFrom):
            assert node.module == "torch"


def assert_gates_are_found(module: nn.Module, emitted: Emitted, graph: Graph) -> None:
    assert len(emitted.gates) == len(graph.searched())
    own = owner_edges(graph)  # calls of one module have its candidates, others their own
    modules = [own[edge.id] for edge in graph.searched()]
    owned = dict(zip(modules, emitted.gates, strict=True))
    assert [owned[module] for module in modules] == list(emitted.gates)
    assert len(set(emitted.gates)) == len(owned)
    for path, candidate in emitted.gates:
        assert candidate in module.get_submodule(path).candidates


# ------------------------------------------------------------------------------------ the law


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_specs(name: str) -> None:
    assert_sound(packaged(name).graph, f"{name}.nas")


@given(spaces())
def test_any_space_computes_what_its_graph_says(text: str) -> None:
    assert_sound(graph_of(text))


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_spaces(text: str) -> None:
    assert_sound(graph_of(text))


def test_the_reference_knows_every_primitive() -> None:
    assert set(OPERATIONS) == set(PRIMITIVES)


def test_ranks_share_no_function() -> None:
    source = emit_torch(graph_of(ODD["one operation at every rank"]), "spec.nas").source
    assert re.findall(r"nn\.(Conv..|AdaptiveAvgPool..)\(", source) == [
        "Conv2d",
        "AdaptiveAvgPool2d",
        "Conv1d",
        "AdaptiveAvgPool1d",
    ]
    names = ["norm", "norm_1d", "norm_vector"]
    assert re.findall(r"^def (norm\w*)\(.*\):$", source, re.M) == names


def test_an_expanded_width_leaves_no_parameter() -> None:
    source = emit_torch(graph_of(ODD["inverted bottlenecks"]), "spec.nas").source
    assert "expand" not in source
    [head] = re.findall(r"^def mbconv\((.*)\):$", source, re.M)
    assert head == "width, kernel, stride, width_2"


def test_many_layers_keep_lines_short() -> None:
    assert_sound(graph_of(Path("specs/dense_motif.nas").read_text(), layers=12, growth=2))


def test_many_ports_keep_lines_short() -> None:
    names = [f"port_of_number_{k}" for k in range(9)]
    body = f"""
        motif many({", ".join(f"in_{n}" for n in names)}) -> ({", ".join(names)}) {{
            {" ".join(f"in_{n} ~> {n} : conv(3) | skip;" for n in names)}
        }}
        network net({", ".join(f"in_{n}: [4, 8, 8]" for n in names)})
        -> ({", ".join(f"{n}: [4, 8, 8]" for n in names)}) {{
            {", ".join(names)} = many({", ".join(f"in_{n}" for n in names)})
        }}"""
    assert_sound(graph_of(body))


def test_a_long_origin_keeps_lines_short() -> None:
    assert_sound(graph_of(network("x ~> y : conv(3) | skip")), "a/long/way/" * 12 + "spec.nas")


# -------------------------------------------------------------------------------------- gates


@pytest.mark.parametrize("name", PACKAGED)
def test_gates_by_example(name: str) -> None:
    """Equal rows give what one row for all gives; different rows are each example's own."""
    graph = packaged(name).graph
    module = with_known_weights(module_of(emit_torch(graph, "spec.nas")))
    gates = gates_of(graph)
    assert_close(
        outputs_of(module, graph, gates.expand(EXAMPLES, -1)), outputs_of(module, graph, gates)
    )
    rows = torch.stack([gates, gates.flip(0), gates.abs()])
    assert_close(outputs_of(module, graph, rows), run_graph(graph, inputs_of(graph), rows))


def test_gates_left_out_are_all_one() -> None:
    graph = packaged("digits_cell").graph
    module = with_known_weights(module_of(emit_torch(graph, "spec.nas")))
    ones = torch.ones(len(graph.searched()), dtype=torch.float64)
    assert_close([module(*inputs_of(graph))], outputs_of(module, graph, ones))


@pytest.mark.parametrize("name", PACKAGED)
def test_a_pruned_candidate_contributes_nothing(name: str) -> None:
    """Pruning by the emitted paths is what a gate of zero is in the graph, gate by gate."""
    graph = packaged(name).graph
    emitted = emit_torch(graph, "spec.nas")
    module = with_known_weights(module_of(emitted))
    for gate in range(0, len(emitted.gates), max(1, len(emitted.gates) // 7)):
        path, candidate = emitted.gates[gate]
        module.get_submodule(path).pruned.add(candidate)
        gates = gates_of(graph)
        found = outputs_of(module, graph, gates)
        gates[gate] = 0
        assert_close(found, run_graph(graph, inputs_of(graph), gates))
        module.get_submodule(path).pruned.clear()


def test_a_pruned_candidate_is_not_even_computed() -> None:
    graph = graph_of(network("x ~> y : conv(3) | skip"))
    emitted = emit_torch(graph, "spec.nas")
    module = with_known_weights(module_of(emitted))
    edge = module.get_submodule("y_from_x")
    edge.candidates["conv_3"].weight.data.fill_(torch.nan)
    edge.pruned.add("conv_3")
    assert_close(outputs_of(module, graph, torch.ones(2)), inputs_of(graph))


@pytest.mark.parametrize(("merge", "zero"), [("sum", False), ("product", True)])
def test_a_fully_pruned_edge_passes_zeros(merge: str, zero: bool) -> None:
    graph = graph_of(network(f"y = {merge}(x)\nx ~> y : conv(3) | max_pool(3)"))
    emitted = emit_torch(graph, "spec.nas")
    module = with_known_weights(module_of(emitted))
    for path, candidate in emitted.gates:
        module.get_submodule(path).pruned.add(candidate)
    [found] = outputs_of(module, graph, torch.ones(2))
    torch.testing.assert_close(found, inputs_of(graph)[0] * (0 if zero else 1))


def test_a_fully_pruned_edge_keeps_the_shape_it_had() -> None:
    graph = graph_of(network("y = concat(x)\nx ~> y : conv(3, 5)").replace("y: [4", "y: [9"))
    emitted = emit_torch(graph, "spec.nas")
    module = with_known_weights(module_of(emitted))
    module.get_submodule(emitted.gates[0][0]).pruned.add(emitted.gates[0][1])
    [found] = outputs_of(module, graph, torch.ones(1))
    [x] = inputs_of(graph)
    torch.testing.assert_close(found, torch.cat([x, torch.zeros(EXAMPLES, 5, 8, 8).double()], 1))


def test_gates_get_gradients() -> None:
    graph = packaged("digits_cell").graph
    module = with_known_weights(module_of(emit_torch(graph, "spec.nas")))
    gates = gates_of(graph).requires_grad_()
    [logits] = outputs_of(module, graph, gates)
    logits.square().sum().backward()
    assert gates.grad is not None
    assert (gates.grad != 0).all()


# -------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("name", PACKAGED)
def test_every_operation_has_weights_of_its_own(name: str) -> None:
    """Each module with weights is called once in a pass: none is shared, none is left over."""
    graph = packaged(name).graph
    module = with_known_weights(module_of(emit_torch(graph, "spec.nas")))
    calls: dict[str, int] = {}

    def count(name: str) -> None:
        calls[name] = calls.get(name, 0) + 1

    holders = {
        n: m for n, m in module.named_modules() if next(m.parameters(False), None) is not None
    }
    for holder, inner in holders.items():
        inner.register_forward_hook(lambda *_, holder=holder: count(holder))
    outputs_of(module, graph, gates_of(graph))
    assert calls == dict.fromkeys(holders, 1)


# -------------------------------------------------------------------------------------- reading


def test_source_stands_alone(tmp_path: Path) -> None:
    """Imported from a bare process without this package, it builds and runs."""
    lines = ["import sys", f"sys.path.insert(0, {str(tmp_path)!r})", "import torch"]
    for name in PACKAGED:
        graph = packaged(name).graph
        emitted = emit_torch(graph, f"{name}.nas")
        (tmp_path / f"{name}.py").write_text(emitted.source, encoding="utf-8")
        shape = (2, *(graph.node(graph.root.inputs[0]).shape or ()))
        lines += [
            f"import {name}",
            f"print(tuple({name}.{emitted.class_name}()(torch.zeros({shape})).shape))",
        ]
    lines.append("print(sorted(m for m in sys.modules if m.partition('.')[0] == 'bayesnas'))")
    done = run_python("-I", "-W", "error", "-c", "\n".join(lines), folder=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == ["(2, 10)"] * len(PACKAGED) + ["[]"]


@pytest.mark.parametrize("name", PACKAGED)
def test_every_searched_edge_names_its_line(name: str) -> None:
    graph = packaged(name).graph
    emitted = emit_torch(graph, f"{name}.nas")
    for edge, (path, _) in zip(graph.searched(), emitted.gates, strict=True):
        assert edge.span is not None
        attribute = path.rpartition(".")[2]
        pattern = rf"self\.{attribute} = .*  # {name}\.nas:{edge.span.line}$"
        assert re.search(pattern, emitted.source, re.MULTILINE), (path, edge.span.line)


def test_operations_name_their_line() -> None:
    text = "\n\nop twice(k) = conv(k) >> conv(k)\n" + network("x -> y : twice(3)")
    assert '    """`twice` (spec.nas:3)."""' in emit_torch(graph_of(text), "spec.nas").source


def test_the_same_graph_gives_the_same_source() -> None:
    first, second = (emit_torch(packaged("darts_cell").graph, "x") for _ in range(2))
    assert first == second


def test_cells_share_a_class_and_run_in_a_loop() -> None:
    """They differ in numbers and in what builds their parts: those are arguments."""
    graph = graph_of(Path("specs/digits_cell.nas").read_text(), cells=6)
    emitted = emit_torch(graph, "digits_cell.nas")
    assert re.findall(r'"""Motif `cell`: (.*)\."""', emitted.source) == [
        "body[0], body[1], body[2], body[3] and 2 more"
    ]
    assert re.findall(r"^ +(Cell\(.*\)),$", emitted.source, re.MULTILINE) == [
        "Cell(fit, 8, 8, 8, ops)",
        "Cell(fit, 8, 8, 24, ops)",
        "Cell(fit, 24, 16, 24, ops_stride_2)",
        "Cell(fit_stride_2, 24, 16, 48, ops)",
        "Cell(fit, 48, 32, 48, ops_stride_2)",
        "Cell(fit_stride_2, 48, 32, 96, ops)",
    ]
    assert (
        """\
        before, last = stem, stem
        for cell, cell_gates in zip(self.body, gates.split(45, dim=1)):
            before, last = last, cell(before, last, cell_gates)
"""
        in emitted.source
    )
    assert emitted.gates[45] == ("body.1.h_0_from_a", "sep_3")


LINK = "motif link(a) -> (out) { a ~> out : conv(3) | skip }\n"
PAIR = """\
motif pair(a, b) -> (c, d) {
    a ~> c : conv(3) | skip
    b ~> d : conv(1) | skip
}
"""
TRIPLE = "motif triple(a, b, c) -> (out) { node h  {a, b, c} ~> h : conv(3) | skip  h -> out }\n"


LOOPS = {
    LINK + network("z = chain link(x) times 3\nz -> y : relu"): """
        z = x
        for link, link_gates in zip(self.z, gates.split(2, dim=1)):
            z = link(z, link_gates)
        y = self.y(z)
        return y
""",
    LINK + network("z = chain link(x) times 3\nz ~> y : relu | skip"): """
        z = x
        for link, link_gates in zip(self.z, gates[:, 0:6].split(2, dim=1)):
            z = link(z, link_gates)
        y = self.y_from_z_2(z, gates[:, 6:8])
        return y
""",
    PAIR + network("p, q = chain pair(x, x) times 3\ny = sum(p, q)"): """
        a, b = x, x
        for pair, pair_gates in zip(self.p, gates.split(4, dim=1)):
            a, b = pair(a, b, pair_gates)
        y = a + b
        return y
""",
    TRIPLE + network("z = chain triple(x, x, x) times 4\nz -> y : relu"): """
        a, b, c = x, x, x
        for triple, triple_gates in zip(self.z, gates.split(6, dim=1)):
            a, b, c = b, c, triple(a, b, c, triple_gates)
        y = self.y(c)
        return y
""",
}


@pytest.mark.parametrize(("text", "loop"), LOOPS.items())
def test_loops_by_example(text: str, loop: str) -> None:
    _, emitted = assert_sound(graph_of(text))
    assert emitted.source.endswith(loop)


@pytest.mark.parametrize(
    "body",
    [
        "z = chain link(x) times 4\ny = sum(z[1], z)",
        "z = chain link(x) times 4\ny = sum(z[0], z[1], z[2], z)",
        "node z[5]\nx -> z[0]\nfor k in 1..5 { z[k] = link(z[k - 1]) }\ny = sum(z[2], z[4])",
        "node z[5]\nx -> z[0]\nfor k in 1..5 { z[k] = link(z[0]) }\ny = sum(z)",
        "a = link(x)\nb = link(a)\ny = link(b)",
    ],
)
def test_what_is_read_on_the_way_stays_within_reach(body: str) -> None:
    assert_sound(graph_of(LINK + network(body)))


def test_names_say_what_differs() -> None:
    graph = graph_of(
        """
        op fit(width, stride = 1) =
            (if stride == 1 then conv(1, width) else factorized_reduce(width)) >> bn
        op wide(k) = (if k == 1 then conv(1) >> bn else conv(k) >> bn >> relu)
        network n(x: [4, 8, 8]) -> (y: [4, 4, 4]) {
            a = x : fit(4)
            b = a : fit(4, 2)
            b ~> y : wide(1) | wide(3) | wide(5)
        }"""
    )
    _, emitted = assert_sound(graph)
    assert re.findall(r"^def ((?:fit|wide)\w*)\(", emitted.source, re.MULTILINE) == [
        "fit",
        "fit_stride_2",
        "wide",
        "wide_kernel_3_5",
    ]


def test_source_without_search_takes_no_gates() -> None:
    source = emit_torch(graph_of(network("x -> y : conv(3)")), "spec.nas").source
    assert "gates" not in source
    assert "MixedEdge" not in source


# ------------------------------------------------------------------------------ hostile names

HOSTILE = [
    '"""\nimport os\n"""',
    "'''\nimport os\n'''",
    "a\nimport os",
    "a\rimport os",
    "a\x0cimport os",
    "a\u2028import os",
    "a\x00b",
    "\\",
    'a"""',
    "{import_os}",
    "%s",
    "\u202eimport os",
]


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_hostile_file_name_stays_text(name: str) -> None:
    text = "op mine(k) = relu >> conv(k)\n" + network("a = x : mine(3)\na ~> y : mine(1) | skip")
    sources = []
    for origin in ("spec.nas", name):
        compiled = compile_loaded(load_text(Source(origin, text), NOWHERE))
        sources.append(emit_torch(compiled.graph, origin).source)
    benign, hostile = sources
    assert without_docstrings(hostile) == without_docstrings(benign)
    assert len(hostile.splitlines()) == len(benign.splitlines())


# -------------------------------------------------------------------------------------- any name

# Where a spec's author chooses a name.
ROLES: Mapping[str, str] = {
    "node": "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ {0} = x : conv(3); {0} ~> y : conv(1) | skip }}",
    "list": "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ node {0}[2]; x ~> {0}[0] : conv(3) | skip; {0}[0] -> {0}[1] : conv(3); {0}[1] -> y }}",
    "instance": "motif m(a) -> (b) {{ a ~> b : conv(3) | skip }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ {0} = m(x); {0} -> y : conv(1) }}",
    "chain": "motif m(a) -> (b) {{ a ~> b : conv(3) | skip }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ {0} = chain m(x) times 2; {0} -> y }}",
    "operation": "op {0}(k) = conv(k) >> bn "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ a = x : {0}(3); a ~> y : {0}(1) | skip }}",
    "bare operation": "op {0} = conv(3) >> bn "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ a = x : {0}; a ~> y : {0} | skip }}",
    "operation of several widths": "op {0}(k) = conv(k) >> bn "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ x ~> a : {0}(3) | {0}(1); node a; b = a : conv(1, 6); c = b : {0}(3); "
    "c -> y : conv(1, 4) }}",
    "choice": "choice {0}(k) = conv(k) | conv(k) >> bn "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ node a; x ~> a : {0}(3); a ~> y : {0}(5) }}",
    "choice of several widths": "choice {0} = conv(3) | conv(1) >> bn "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ node a, c; x ~> a : {0}; b = a : conv(1, 6); b ~> c : {0}; c -> y : conv(1, 4) }}",
    "operation and choice": "op {0} = conv(3) >> bn choice any = {0} | skip "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ node a, c; x ~> a : any; b = a : conv(1, 6); b ~> c : any; c -> y : conv(1, 4) }}",
    "motif": "motif {0}(a) -> (b) {{ a ~> b : conv(3) | skip }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ p = {0}(x); y = {0}(p) }}",
    "operation, motif and node": "op {0} = conv(3) >> bn "
    "motif {0}(a) -> (b) {{ a ~> b : {0} | skip }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ {0} = {0}(x); {0} -> y : {0} }}",
    "port": "motif m({0}) -> (out) {{ {0} ~> out : conv(3) | skip }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ y = m(x) }}",
    "output port": "motif m(a, b) -> ({0}, out) {{ a ~> {0} : conv(3) | skip; b -> out }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ p, q = m(x, x); y = sum(p, q) }}",
    "network input": "network net({0}: [4, 8, 8]) -> (y: [4, 8, 8]) "
    "{{ {0} ~> y : conv(3) | skip }}",
    "network output": "network net(x: [4, 8, 8]) -> ({0}: [4, 8, 8]) "
    "{{ x ~> {0} : conv(3) | skip }}",
    "network": "network {0}(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ x ~> y : conv(3) | skip }}",
    "parameter of a motif": "motif m(a; {0}) -> (b) {{ a ~> b : conv(3, {0}) | conv(1, {0}) }} "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ p = m(x; {0} = 5); y = m(p; {0} = 4) }}",
    "parameter of an operation": "op o({0}) = conv({0}) >> bn "
    "network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {{ a = x : o(3); a ~> y : o(1) | o(5) }}",
}
# Words of Python, of the emitted source, of nn.Module and its containers.
NAMES = [
    "lambda", "None", "true", "type", "train_", "forward", "gates", "self", "torch", "super",
    "set", "bool", "MixedEdge", "mixed_edge", "Sum", "candidates", "channels", "width",
    "y_from_x", "_", "__", "_1", "__init__", "named_modules", "training",
]  # fmt: skip


def test_names_are_worth_testing() -> None:
    assert {"lambda", "None"} <= set(keyword.kwlist)
    assert hasattr(nn.Module, "named_modules")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_any_name(role: str, name: str) -> None:
    assert_sound(graph_of(ROLES[role].format(name)))


METHODS = sorted(n for n in dir(nn.ModuleDict) if re.fullmatch("[A-Za-z]\\w*", n) and n != "train")


def test_nodes_named_like_methods_of_modules() -> None:
    names = METHODS
    lines = [f"{b} = {a} : conv(1, 2)" for a, b in zip(["x", *names], names, strict=False)]
    assert_sound(graph_of(network("\n".join([*lines, f"{names[-1]} -> y : conv(1, 4)"]))))


def test_candidates_named_like_methods_of_modules() -> None:
    definitions = [f"op {name} = conv(1)" for name in METHODS]
    assert_sound(graph_of("\n".join([*definitions, network(f"x ~> y : {' | '.join(METHODS)}")])))


def test_names_that_become_the_same_stay_apart() -> None:
    """`h[0]`, `h_0` and `_h_0_` are one name to a careless emitter."""
    assert_sound(
        graph_of(
            "op h_0 = conv(1) >> bn op _h_0_ = conv(3) >> bn\n"
            + network("""
            node h[2]
            x -> h[0] : conv(3)
            h_0 = h[0] : conv(1)
            _h_0_ = h_0 : conv(3)
            _h_0_ ~> h[1] : h_0 | _h_0_ | skip
            h_0_from_x = h[1] : conv(3)
            {x, h_0_from_x} -> y : conv(1) + h_0 + _h_0_""")
        )
    )


def test_motifs_that_become_the_same_class_stay_apart() -> None:
    assert_sound(
        graph_of("""
        motif a_b(a) -> (b) { a -> b : conv(3) }
        motif aB(a) -> (b) { a -> b : conv(1) }
        motif AB(a) -> (b) { a -> b : conv(5) }
        network aB2(x: [4, 8, 8]) -> (y: [4, 8, 8]) { p = a_b(x); q = aB(p); y = AB(q) }""")
    )


def test_an_operation_named_like_the_class_of_a_motif() -> None:
    assert_sound(
        graph_of("""
        op Cell(k) = conv(k) >> bn
        motif cell(a) -> (b) { a ~> b : Cell(3) | skip }
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) { p = cell(x); p -> y : Cell(1) }""")
    )


def test_a_parameter_named_like_an_operation() -> None:
    """`def __init__(self, layer): self.a = layer(layer)` cannot work."""
    assert_sound(
        graph_of("""
        op layer(width) = conv(3, width) >> bn
        motif m(a; layer) -> (b) { a ~> b : layer(layer) | conv(1, layer) }
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) { p = m(x; layer = 6); y = m(p; layer = 4) }""")
    )


@pytest.mark.parametrize("length", range(5, 61, 5))
def test_a_list_of_equal_links_is_python_however_long_its_names(length: int) -> None:
    """A generator that is the only argument takes no comma behind it."""
    name = "c" * length
    text = f"""\
motif {name}(x; width) -> (out) {{ out = x : conv(3, width) >> relu }}
network net(image: [3, 8, 8]; width = 4) -> (logits: [2]) {{
    stem = image : conv(1, width)
    layers = chain {name}(stem; width = width) times 3
    layers -> logits : global_avg_pool >> linear(2)
}}
"""
    assert_sound(graph_of(text))
