"""Specs of one construct, nested or repeated ``n`` times, and of very large numbers."""

from __future__ import annotations

from collections.abc import Callable

from support import network

Build = Callable[[int], str]
HUGE = 10**12
STEP = "motif s(a) -> (b) { a -> b : relu }\n"
CELL = "motif cell(a; width = 4, stride = 1, lag = 1) -> (b) { a -> b : conv(1, width, stride) }\n"


def _nest(before: str, inside: str, after: str) -> Callable[[int], str]:
    return lambda n: before * n + inside + after * n


def _rows(line: str) -> Callable[[int], str]:
    """Lines in which ``{k}`` counts from 0 and ``{j}`` is one more."""
    return lambda n: "".join(line.format(k=k, j=k + 1) for k in range(n))


def _joined(part: str, sign: str) -> Callable[[int], str]:
    return lambda n: sign.join(part.format(k=k) for k in range(n + 1))


def _op(term: Callable[[int], str]) -> Build:
    return lambda n: f"op f = {term(n)}\n" + network("x -> y : f")


def _edge(term: Callable[[int], str], arrow: str = "->") -> Build:
    return lambda n: network(f"x {arrow} y : {term(n)}")


def _number(expression: Callable[[int], str]) -> Build:
    return lambda n: network(f"x -> y : conv({expression(n)})")


def _body(statements: Callable[[int], str], rest: str = "x -> y") -> Build:
    return lambda n: network(f"{statements(n)}\n{rest}")


def _top(definitions: Callable[[int], str], first: str = "", body: str = "x -> y") -> Build:
    return lambda n: first + definitions(n) + network(body.format(n=n))


DEEP: dict[str, Build] = {
    "parentheses of a number": _number(_nest("(", "3", ")")),
    "parentheses of an operation": _op(_nest("(", "relu", ")")),
    "parentheses of a pipeline": _op(_nest("(relu >> ", "relu", ")")),
    "choices inside sums": _edge(_nest("(relu + (skip | ", "relu", "))"), "~>"),
    "operations inside conditions": _op(_nest("if 1 then relu else ", "relu", "")),
    "conditions inside conditions": _op(_nest("if 1 then (", "relu", ") else skip")),
    "not": _number(_nest("not ", "1", "")),
    "minus": _number(_nest("-", "1", "")),
    "minus of parentheses": _number(_nest("-(", "1", ")")),
    "if": _body(_nest("if 1 { ", "x -> y", " }"), ""),
    "else": _body(_nest("if 0 { } else { ", "x -> y", " }"), ""),
    "for": _body(_nest("for k in 0..1 { ", "x -> y", " }"), ""),
    "loops of two turns": _body(_nest("for k in 0..2 { ", "", " }")),
    "brackets of an index": lambda n: network(f"node h[1]\nh{'[' * n}0{']' * n} -> y"),
    "braces at the top": _nest("{", "", "}"),
    "braces never closed": lambda n: network("x -> y")[:-2] + "{" * n,
    "brackets of all kinds": _nest("([{", "", "}])"),
    "brackets that close nothing": _nest("", "network", ")"),
    "texts": _nest('"', "", "\n"),
    "operations of operations": _top(_rows("op f{j} = f{k}\n"), "op f0 = relu\n", "x -> y : f{n}"),
    "operations of later operations": _top(
        lambda n: _rows("op f{k} = f{j}\n")(n) + f"op f{n} = relu\n", "", "x -> y : f0"
    ),
    "operations of two": _top(_rows("op f{j} = f{k} >> f{k}\n"), "op f0 = relu\n", "x -> y : f{n}"),
    "sums of two": _top(_rows("op f{j} = f{k} + f{k}\n"), "op f0 = relu\n", "x -> y : f{n}"),
    "choices of two": _top(
        _rows("choice f{j} = f{k} | f{k}\n"), "choice f0 = relu\n", "x ~> y : f{n}"
    ),
    "choices that differ": _top(
        _rows("choice f{j}(k) = f{k}(2 * k) | f{k}(2 * k + 1)\n"),
        "choice f0(k) = relu | conv(k)\n",
        "x ~> y : f{n}(1)",
    ),
    "operations in a circle": lambda n: _rows("op f{k} = f{j}\n")(n) + f"op f{n} = f0\n",
    "motifs of motifs": _top(
        _rows("motif m{j}(a) -> (b) {{ b = m{k}(a) }}\n"),
        STEP.replace("s", "m0", 1),
        "y = m{n}(x)",
    ),
    "motifs of two motifs": _top(
        _rows("motif m{j}(a; p) -> (b) {{ c = m{k}(a; p = 2 * p) b = m{k}(c; p = 2 * p + 1) }}\n"),
        "motif m0(a; p) -> (b) { a -> b }\n",
        "y = m{n}(x; p = 1)",
    ),
    "chains of chains": _top(
        _rows("motif m{j}(a) -> (b) {{ c = chain m{k}(a) times 1000 c -> b }}\n"),
        "motif m0(a) -> (b) { a -> b }\n",
        "y = m{n}(x)",
    ),
    "tied motifs of tied motifs": _top(
        _rows("motif m{j}(a) -> (b) {{ c = tied m{k}(a) b = tied({k}) m{k}(c) }}\n"),
        "motif m0(a) -> (b) { a ~> b : skip | relu }\n",
        "y = m{n}(x)",
    ),
    "a motif passed to itself": _top(
        lambda n: "motif m(a; motif f) -> (b) {" + " b = f(a; f = f)" * (n % 3 + 1) + " }\n",
        "",
        "y = m(x; f = m)",
    ),
    "defaults of defaults": lambda n: (
        f"op f(p0 = 2{_rows(', p{j} = p{k} * p{k}')(n)}) = conv(p{n})\n" + network("x -> y : f")
    ),
    "numbers that double": lambda n: (
        f"motif m(a; p0 = 1{_rows(', p{j} = p{k} + p{k}')(n)}) -> (b) {{ a -> b }}\n"
        + network("y = m(x)")
    ),
}

FLAT: dict[str, Build] = {
    "sum": _number(_joined("1", " + ")),
    "product": _number(_joined("1", " * ")),
    "power": _number(_joined("10", "*")),
    "and": _number(_joined("1", " and ")),
    "comparisons": _number(_joined("1", " < ")),
    "pipeline": _op(_joined("relu", " >> ")),
    "pipeline of unknown operations": _op(_joined("operation{k}", " >> ")),
    "parallel": _edge(_joined("relu", " + ")),
    "candidates": _edge(_joined("conv(3, {k})", " | "), "~>"),
    "candidates alike": _edge(_joined("relu", " | "), "~>"),
    "arguments": _edge(lambda n: f"conv({_joined('1', ', ')(n)})"),
    "named arguments": _edge(lambda n: f"conv({_joined('a{k} = 1', ', ')(n)})"),
    "arguments named alike": _edge(lambda n: f"conv({_joined('kernel = 1', ', ')(n)})"),
    "statements": _body(_joined("x -> y : relu", "\n"), ""),
    "unknown nodes": _body(_joined("node{k} -> y : relu", "\n")),
    "unknown nodes among many": lambda n: network(
        f"node {_joined('node{k}', ', ')(n)}\n" + _joined("nude{k} -> y", "\n")(n)
    ),
    "unknown operations among many": lambda n: (
        _rows("op operation{k} = relu\n")(n) + network(_joined("x -> y : aperation{k}", "\n")(n))
    ),
    "unknown motifs among many": lambda n: (
        _rows("motif motif{k}(a) -> (b) {{ a -> b }}\n")(n)
        + network(_joined("z{k} = matif{k}(x)", "\n")(n))
    ),
    "unknown numbers": lambda n: network(_joined("x -> y : conv(number{k})", "\n")(n)),
    "unknown arguments": lambda n: (
        f"op f({_joined('name{k} = 1', ', ')(n)}) = relu\n"
        + network(f"x -> y : f({_joined('nome{k} = 1', ', ')(n)})")
    ),
    "unknown settings": lambda n: f"search {{ {_joined('epocs{k} = 1', ' ')(n)} }}",
    "long unknown names": lambda n: network(f"{'node' * n} -> y : {'relu' * n}"),
    "nodes": _body(lambda n: f"node {_joined('h{k}', ', ')(n)}"),
    "nodes declared twice": _body(lambda n: f"node {_joined('h', ', ')(n)}"),
    "nodes never used": _body(_joined("h{k} = x : relu", "\n")),
    "a long path": lambda n: network(
        f"node h[{n + 1}]\nx -> h[0]\n"
        f"for k in 0..{n} {{ h[k] ~> h[k + 1] : relu | skip }}\nh[{n}] -> y"
    ),
    "sources": _body(lambda n: f"{{{_joined('x', ', ')(n)}}} -> y", ""),
    "many to many": lambda n: network(f"node h[{n}], g[{n}]\nx -> h\nh ~> g : relu\ng -> y"),
    "all earlier ones": lambda n: network(
        f"node h[{n}]\nx -> h\nfor k in 0..{n} {{ h[..k] ~> h[k] : relu | skip }}\nh -> y"
    ),
    "retain": _body(_joined("retain 1 into y", "\n")),
    "objectives": lambda n: f"learn {{ {_joined('y{k} = regression', '; ')(n)} }}",
    "objectives alike": lambda n: (
        network("x -> y") + f"learn {{ {_joined('y = regression', '; ')(n)} }}"
    ),
    "budgets": _body(_joined("budget parameters <= 1M", "\n")),
    "motifs defined twice": _top(_joined("motif m(a) -> (b) {{ a -> b }}", "\n")),
    "networks": lambda n: _rows("network n{k}(x: [4]) -> (y: [4]) {{ x -> y }}\n")(n),
    "ports": lambda n: f"network n({_joined('x{k}: [4]', ', ')(n)}) -> (y: [4]) {{ x0 -> y }}",
    "ports alike": lambda n: f"network n({_joined('x: [4]', ', ')(n)}) -> (y: [4]) {{ x -> y }}",
    "sizes": lambda n: f"network n(x: [{_joined('4', ', ')(n)}]) -> (y: [4]) {{ x -> y }}",
    "parameters": lambda n: f"op f({_joined('p{k}', ', ')(n)}) = relu",
    "imports": lambda n: _joined('import "ops/darts.nas"', "\n")(n),
    "imports of nothing": lambda n: _joined('import "ops/{k}.nas"', "\n")(n),
    "reductions": lambda n: (
        CELL
        + network(f"c = chain cell(x) times {n + 1} reduce at {_joined('{k}', ', ')(n)}\nc -> y")
    ),
    "instances": lambda n: STEP + network(_rows("z{k} = s(x)\n")(n) + "x -> y"),
    "comments": lambda n: "# x\n" * n + network("x -> y"),
    "a long comment": lambda n: "#" * n * 100 + "\n" + network("x -> y"),
    "blank lines": lambda n: "\n \t\n" * n + network("x -> y"),
    "a long name": lambda n: network(
        f"node {'h' * n * 20}\nx -> {'h' * n * 20}\n{'h' * n * 20} -> y"
    ),
    "digits": _number(lambda n: "9" * n),
    "a long text": lambda n: f'import "{"x" * n}"',
    "semicolons": _body(lambda n: ";" * n),
    "nothing but numbers": lambda n: "1 " * n,
    "nothing but names": lambda n: "network " * n,
    "many words": lambda n: network("x -> y\n" * n * 6),
}

LARGE: dict[str, Build] = {
    "a list": lambda n: network(f"node h[{n * HUGE}]\nx -> y"),
    "a loop": lambda n: network(f"for k in 0..{n * 1000} {{ }}\nx -> y"),
    "a loop over all": lambda n: network(f"for k in -{HUGE}..{HUGE // n} {{ x -> y }}"),
    "loops in loops": lambda n: network(
        f"for i in 0..{n} {{ for j in 0..{n} {{ for k in 0..{n} {{ x -> y }} }} }}"
    ),
    "a chain": lambda n: STEP + network(f"c = chain s(x) times {n * 1000}\nc -> y"),
    "a reducing chain": lambda n: (
        CELL + network(f"c = chain cell(x) times {n} reduce at 0, {n // 2}, {n - 1}\nc -> y")
    ),
    "a tied chain of choices": lambda n: (
        "motif m(a) -> (b) { a ~> b : relu | skip }\n"
        + network(f"c = tied chain m(x) times {n}\nc -> y")
    ),
    "width": lambda n: network(f"x -> y : conv(3, {HUGE}) >> conv(1, {n})"),
    "a kernel": lambda n: network(f"x -> y : conv({2 * n + 1}) >> max_pool({HUGE - 1})"),
    "stride": lambda n: network(f"x -> y : conv(3, 4, {n * 10**8})"),
    "retained": lambda n: network(f"node h[{n}]\nx ~> h : relu\nretain {HUGE} into h\nh -> y"),
    "a tie": lambda n: STEP + network(f"y = tied({n} * 10000 * 10000) s(x)"),
    "sizes": lambda n: f"network n(x: [{n}, {HUGE}, {HUGE}]) -> (y: [{n}]) {{ y = x : flatten }}",
    "channels that grow": _edge(_joined("conv(1, expand = 1000000000)", " >> ")),
    "resolution that grows": _edge(_joined("upsample(1000000000)", " >> ")),
    "budget": lambda n: network(f"budget flops <= {'9' * n}G\nx -> y"),
    "below zero": lambda n: network(f"node h[-{n}]\nx -> y : conv(-{n}, 0 - {n}, stride = -{n})"),
    "division": lambda n: network(f"x -> y : conv({n} // (1 - 1), {n} % 0)"),
    "real": lambda n: f"search {{ epochs = {'9' * n}.0 seed = 1e{n} }}",
}

FLAT_AND_DEEP = {
    f"{group}: {name}": build
    for group, builds in (("deep", DEEP), ("flat", FLAT), ("large", LARGE))
    for name, build in builds.items()
}
