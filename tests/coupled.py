"""Networks of which each couples its channels in another way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from living import OTHERS, PACKAGED, found_network, packaged
from support import compile_text, network
from torch import nn

from bayesnas.compiler.pipeline import Compiled
from bayesnas.compiler.slices.ties import Strand
from bayesnas.runtime.weights.removal import Sliced

BODIES = {
    "residual": """
        a = x : conv(3, 6, bias = 1) >> bn
        b = a : conv(3, 6) >> bn >> relu
        c = sum(a, b)
        c -> y : conv(1, 4)
    """,
    "concatenation, summed with one tensor": """
        a = x : conv(3, 2) >> bn
        b = x : conv(3, 3)
        both = concat(a, b, a)
        node h
        both -> h
        x -> h : conv(1, 7)
        h -> y : relu >> conv(1, 4)
    """,
    "product": """
        a = x : conv(3, 5)
        b = x : conv(1, 5) >> sigmoid
        h = product(a, b)
        h -> y : conv(1, 4)
    """,
    "depthwise": "x -> y : conv(1, 6) >> depthwise_conv(3) >> bn >> conv(1, 4)",
    "depthwise by groups": "x -> y : conv(1, 6) >> conv(3, 12, groups = 6) >> bn >> conv(1, 4)",
    "groups": "x -> y : conv(1, 6) >> conv(3, 9, groups = 3, bias = 1) >> bn >> conv(1, 4)",
    "halves": "x -> y : conv(1, 6) >> factorized_reduce(6) >> bn >> upsample(2) >> conv(1, 4)",
    "zeros appended": """
        a = x : conv(3, 5) >> pad_channels(8)
        b = x : conv(3, 8)
        h = sum(a, b)
        h -> y : conv(1, 4)
    """,
    "transposed": "x -> y : conv(3, 6, 2) >> bn >> transposed_conv(3, 5, bias = 1) >> conv(1, 4)",
    "shuffled": "x -> y : conv(1, 6) >> bn >> channel_shuffle(2) >> bn >> conv(1, 4)",
    "chunks": """
        a = x : conv(1, 6) >> depthwise_conv(3, bias = 1)
        b = a : chunk(0) >> layer_scale
        c = a : chunk(1) >> conv(3, 3, kernel_width = 1)
        h = sum(b, c)
        h -> y : resize(4, 5) >> resize(8, smooth = 0) >> conv(1, 4)
    """,
    "excited": """
        a = x : conv(3, 6) >> bn
        v = a : global_avg_pool >> linear(3) >> linear(6)
        h = product(v, a)
        h -> y : conv(1, 4)
    """,
    "attention": """
        a = x : conv(1, 6) >> attention(2, 5, keys = 4, values = 6) >> bn
        a -> y : attention(1, 4, keys = 3, values = 2, bias = 0)
    """,
    "normalised": """
        a = x : conv(3, 5) >> bn >> conv(1, 6) >> layer_norm >> conv(1, 4) >> group_norm(2)
        a -> y : conv(1, 4)
    """,
    "branches": "x -> y : conv(1, 6) >> (skip + (conv(3) >> bn) + bn) >> conv(1, 4)",
    "branches alone": """
        a = x : conv(1, 6)
        b = a : skip + (bn >> (skip + conv(3)))
        b -> y : conv(1, 4)
    """,
}
FLAT = """
network net(x: [2, 4, 4]) -> (y: [3], z: [3]) {
    a = x : conv(3, 5) >> bn
    a -> y : flatten >> linear(6) >> bn >> linear(3)
    a -> z : global_avg_pool >> linear(3, bias = 0)
}
"""
STEPS = """
network net(x: [4, 3]) -> (y: [3]) {
    a = x : conv(1, 6)
    p = a : pick(0) >> complement
    q = a : pick(2)
    h = x : zeros(6)
    both = concat(p, q, h)
    both -> y : series(3) >> matrix(5) >> global_avg_pool >> linear(9) >> highway(1) >> linear(3)
}
"""
SCAN = """
motif step(x, mask, before; width) -> (shown, after) {
    kept = product(before, mask)
    both = concat(x, kept)
    a = both : linear(6) >> tanh
    after = a : linear(width) >> tanh
    shown = a : linear(3)
}
network net(x: [4, 3]) -> (y: [3]) {
    a = x : conv(1, 6)
    start = x : zeros(5)
    mask = start : complement
    shown, states = scan step(a, mask; width = 5) from start
    both = concat(shown, states)
    both -> y : global_avg_pool >> linear(3)
}
"""
WORDS = """
network net(x: [5]) -> (y: [3]) {
    x -> y : sigmoid >> embedding(4, 6) >> position >> conv(3) >> global_avg_pool >> linear(3)
}
"""
TEXTS = {name: network(body) for name, body in BODIES.items()} | {
    "vectors": FLAT,
    "words": WORDS,
    "steps": STEPS,
    "scan": SCAN,
}
# Specs that other tests leave out, narrow and on small images.
REST: dict[str, dict[str, int]] = {
    "bayesnas_cells": {"cells": 3, "width": 2},
    "bayesnas_imagenet": {"cells": 3, "width": 4, "classes": 3},
    "darts_rnn": {"words": 5, "width": 4, "nodes": 3, "steps": 4},
    "darts_v2": {"cells": 3, "width": 2},
    "darts_v2_imagenet": {"cells": 3, "width": 4, "classes": 3},
    "pgnas_densenet121": {"growth": 2, "p": 2, "q": 1, "r": 2, "s": 2, "classes": 3},
    "pgnas_resnet50": {"width": 8, "p": 2, "q": 1, "r": 1, "s": 1, "classes": 3},
    "proxylessnas": {"classes": 3},
    "shake_shake": {"width": 4, "blocks": 1},
    "text": {"length": 6, "words": 5, "width": 8, "blocks": 1},
    "treecell_a": {"blocks": 1, "widening": 3},
    "two_tasks": {"width": 4},
}
SPECS = Path(__file__).parents[1] / "specs"
NETWORKS = (*PACKAGED, *OTHERS, *REST)


@cache
def network_of(name: str, seed: int = 0) -> Compiled:
    """A network found in a spec of the package."""
    if name not in REST:
        return found_network(packaged(name), seed)
    text = (SPECS / f"{name}.nas").read_text("utf-8")
    if name == "proxylessnas":  # has no parameters for that
        text = re.sub(r"width = (\d\d+)", lambda found: f"width = {int(found[1]) // 8}", text)
        text = text.replace("1280", "16")
    if name != "darts_v2_imagenet":  # whose other output wants a map
        text = text.replace("224, 224", "32, 32")
    return found_network(compile_text(text, **REST[name]), seed)


def twin(module: nn.Module, sliced: Iterable[Sliced], strand: Strand) -> None:
    """Make the last channel of a strand as its first one."""
    state = module.state_dict()
    for tensor in sliced:
        if tensor.maker >= len(tensor.axes):
            continue
        values, start = state[tensor.name].movedim(tensor.maker, 0), 0
        for run in tensor.axes[tensor.maker]:
            if run.strand is strand:
                last = start + len(run) - run.stretch
                values[last : last + run.stretch] = values[start : start + run.stretch].clone()
            start += len(run)
