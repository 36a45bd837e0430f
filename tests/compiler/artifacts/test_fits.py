"""The test made of a schema against `jsonschema`, on graphs and on what is nearly one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support import graph_of, network

from bayesnas.compiler.artifacts.fits import compiled
from bayesnas.compiler.artifacts.graph_file import graph_schema, graph_to_json

SCHEMA = graph_schema()
FITS = compiled(SCHEMA)
GRAPH = json.loads(
    graph_to_json(
        graph_of(
            "op two = conv(3) + skip\n"
            + network("budget flops <= 3M\nretain 1 into y\nx ~> y : conv(3) | two")
        )
    )
)
SIMPLE: list[Any] = [None, True, False, 0, 1, 1.0, 1.5, -1, 10**13, "", "x", "a:1:1", "\n"]
NESTED: list[Any] = [[], [1], [[]], [1] * 9, {}, {"a": 1}, {"a": None}, {"parallel": []}]
VALUES = st.sampled_from([*SIMPLE, "inner", *NESTED, {"parallel": [[]], "primitive": "x"}])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All paths into a JSON value."""
    if not isinstance(value, dict | list):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(p for key, item in inner for p in places(item, (*path, key)))]


PLACES = [path for path in places(GRAPH) if path]


@given(st.sampled_from(PLACES), VALUES, st.sampled_from(["put", "delete", "add"]))
def test_both_say_the_same(path: tuple[Any, ...], value: Any, how: str) -> None:
    data = json.loads(json.dumps(GRAPH))
    around = data
    for key in path[:-1]:
        around = around[key]
    if how == "put":
        around[path[-1]] = value
    elif how == "delete":
        del around[path[-1]]
    elif isinstance(around, dict):
        around["more"] = value
    else:
        around.append(value)
    assert FITS(data) == Draft202012Validator(SCHEMA).is_valid(data)


def test_a_graph_fits() -> None:
    assert FITS(GRAPH)


def test_keywords_that_nobody_tests_are_named() -> None:
    with pytest.raises(ValueError, match="no test for \\['multipleOf'\\]"):
        compiled({"type": "integer", "multipleOf": 2})
