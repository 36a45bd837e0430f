"""The syntax tree as JSON: it fits its schema, comes back, and what does not fit is refused."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

import attrs
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import specs
from support import KEYWORDS, assert_style, network, parse_text

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import load, packaged_specs
from bayesnas.dsl.parsing.parser import MAX_DEPTH
from bayesnas.dsl.printing.printer import print_spec
from bayesnas.dsl.tree_json import tree_from_json, tree_schema, tree_to_json

CLASSES = {
    name: kind
    for name, kind in vars(tree).items()
    if attrs.has(kind) and kind.__module__ == tree.__name__ and kind is not tree.Node
}
PUBLISHED = jsonschema.Draft202012Validator(tree_schema())  # as anybody would use the schema
DEFINITIONS: dict[str, Any] = tree_schema()["$defs"]
UNIONS = {name for name, part in DEFINITIONS.items() if "allOf" in part}
TEXTS = {"name", "text", "place"}

# ------------------------------------------------------------------------- the schema and tree.py


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(tree_schema())


def test_the_schema_has_a_definition_for_each_class_and_no_other() -> None:
    assert set(DEFINITIONS) == set(CLASSES) | UNIONS | TEXTS


@pytest.mark.parametrize("name", CLASSES)
def test_a_definition_has_the_fields_of_its_class(name: str) -> None:
    fields = [f.name for f in attrs.fields(CLASSES[name]) if f.name != "span"]
    part = DEFINITIONS[name]
    assert list(part["properties"]) == ["type", *fields, "place"]
    assert part["required"] == ["type", *fields, "place"]
    assert part["additionalProperties"] is False
    assert part["properties"]["type"] == {"const": name}
    assert part["description"]


@pytest.mark.parametrize("name", CLASSES)
def test_a_field_holds_in_json_what_it_holds_in_the_tree(name: str) -> None:
    hints = typing.get_type_hints(CLASSES[name])
    for field, schema in DEFINITIONS[name]["properties"].items():
        if field not in ("type", "place"):
            assert set(_allowed(schema)) == set(_annotated(hints[field])), field


def _annotated(hint: Any) -> Iterator[str]:
    """Classes and plain types that a type annotation names."""
    if typing.get_origin(hint) in (tuple, types.UnionType, typing.Union):
        for part in typing.get_args(hint):
            yield from () if part is ... else _annotated(part)
    else:
        yield hint.__name__


def _allowed(schema: dict[str, Any]) -> Iterator[str]:
    """The same of a schema."""
    plain = {"string": "str", "integer": "int", "boolean": "bool", "null": "NoneType"}
    for found in (
        [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    ):
        if found == "number":
            yield from ("int", "float")
        elif found != "array":
            yield plain[found]
    yield from {"str"} & {type(value).__name__ for value in schema.get("enum", ())}
    if "items" in schema:
        yield from _allowed(schema["items"])
    if "else" in schema:
        assert schema["if"] == {"type": "null"}
        yield "NoneType"
        yield from _allowed(schema["else"])
    if "$ref" in schema:
        target = schema["$ref"].removeprefix("#/$defs/")
        if target in UNIONS:
            yield from DEFINITIONS[target]["properties"]["type"]["enum"]
        else:
            yield "str" if target in TEXTS else target


@pytest.mark.parametrize("name", sorted(UNIONS))
def test_unions_are_closed(name: str) -> None:
    members = DEFINITIONS[name]["properties"]["type"]["enum"]
    assert DEFINITIONS[name]["required"] == ["type"]
    assert DEFINITIONS[name]["allOf"] == [
        {"if": {"properties": {"type": {"const": m}}}, "then": {"$ref": f"#/$defs/{m}"}}
        for m in members
    ]
    if hasattr(tree, name):
        assert members == list(_annotated(getattr(tree, name)))


def test_no_keyword_is_a_name() -> None:
    assert DEFINITIONS["name"]["not"]["enum"] == KEYWORDS


# ------------------------------------------------------------------------------------- round trip


@settings(max_examples=settings().max_examples // 4)
@given(specs)
def test_json_and_back_is_the_identity(spec: tree.Spec) -> None:
    text = tree_to_json(spec)
    PUBLISHED.validate(json.loads(text))
    back = tree_from_json(text)
    assert back == spec
    assert tree_to_json(back) == text  # places come back too


@pytest.mark.parametrize("name", packaged_specs())
def test_packaged_specs_come_back(name: str) -> None:
    spec = load(name).main
    text = tree_to_json(spec)
    assert tree_from_json(text) == spec
    assert tree_to_json(tree_from_json(text)) == text


def test_what_a_node_looks_like() -> None:
    spec = parse_text("op twice(k = 3) = conv(k) + skip")
    expected = {
        "type": "OperationDefinition",
        "name": "twice",
        "parameters": [
            {
                "type": "Parameter",
                "name": "k",
                "default": {"type": "Number", "value": 3, "place": "spec.nas:1:14"},
                "place": "spec.nas:1:10",
            }
        ],
        "place": "spec.nas:1:4",
    }
    [written] = json.loads(tree_to_json(spec))["definitions"]
    body = written.pop("body")
    assert written == expected
    assert [branch["name"] for branch in body["branches"]] == ["conv", "skip"]


def test_places_leave_out_folders() -> None:
    place = json.loads(tree_to_json(load("specs/digits_cell.nas").main))["place"]
    assert place == "digits_cell.nas:3:1"


def test_a_span_points_where_the_node_began() -> None:
    spec = tree_from_json(tree_to_json(parse_text("\n  op f = skip")))
    [operation] = spec.definitions
    assert str(operation.span) == "spec.nas:2:6"


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1.0", "-1.0", "3", "1e22", '"Infinity"'])
def test_numbers_keep_their_kind(value: str) -> None:
    spec = parse_text(f"search {{ x = {value} }}")
    [settings] = tree_from_json(tree_to_json(spec)).definitions
    assert isinstance(settings, tree.Settings)
    [written] = parse_text(print_spec(spec)).definitions
    assert settings == written
    assert isinstance(written, tree.Settings)
    assert type(settings.entries[0].value) is type(written.entries[0].value)


BLOCKS = f"motif m(a) -> (b) {{ {'if 1 { ' * 95} a -> b {'} ' * 95} }}"
STAGES = f"op f = {'(skip >> skip + ' * 95} skip {')' * 95}"


def test_as_deep_as_the_parser_reads() -> None:
    """Deeper than jsonschema's own recursion goes."""
    nested = "(" * 95 + "1" + " + 1)" * 95
    long = "1" + " + 1" * (MAX_DEPTH - 5)
    for text in (f"op f(k = {nested}) = skip", f"op f(k = {long}) = skip", BLOCKS, STAGES):
        spec = parse_text(text)
        assert tree_from_json(tree_to_json(spec)) == spec


# ------------------------------------------------------------------------------------ broken json


def refused(text: str) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        tree_from_json(text, "some/ast.json")
    [found] = caught.value.diagnostics
    assert (found.code, caught.value.status) == ("D404", 2)
    assert found.message == "`some/ast.json` is no syntax tree of bayesnas"
    assert found.notes
    assert "--emit ast" in found.help
    assert_style(found)
    return found


NOT_JSON = ["", "{", '{"type": }', "op f = skip", "\x00", "[" * 100_000, '{"a": 1} {"b": 2}']
OTHER = ["[]", "3", "null", "{}", '{"type": "Spec"}', '{"type": ["Spec"]}', "NaN", "9" * 5000]


@pytest.mark.parametrize("text", NOT_JSON + OTHER, ids=lambda text: repr(text[:20]))
def test_what_is_no_tree(text: str) -> None:
    refused(text)


def test_broken_json_names_its_place() -> None:
    [note] = refused('{\n "type" 3').notes
    assert note == "no JSON at line 2, column 9: expecting ':' delimiter"


@pytest.mark.parametrize("depth", [1000, 100_000])
def test_json_nested_too_deeply(depth: int) -> None:
    number = '{"type": "Number", "value": 1, "place": "a:1:1"}'
    minus = '{"type": "Unary", "operator": "-", "place": "a:1:1", "operand": '
    data = json.loads(tree_to_json(parse_text("op f = if 1 then a else b")))
    part(data, 0, "body")["condition"] = "DEEP"
    refused(json.dumps(data).replace('"DEEP"', minus * depth + number + "}" * depth))


SMALL = network("retain 1 into y\nx ~> y : conv(3) | skip\nbudget flops <= 2.5K") + (
    'import "ops/basic.nas"\nsearch { rounds = 3 }\nmotif m(a; motif n = m) -> (b) { a -> b }'
)
NET, IMPORT, SEARCH, MOTIF = range(4)


def part(data: dict[str, Any], *path: str | int) -> dict[str, Any]:
    found: Any = data["definitions"]
    for step in path:
        found = found[step]
    assert isinstance(found, dict)
    return found


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an unknown type": (
        lambda d: part(d, NET).update(type="Class"),
        "at $.definitions[0].type: 'Class' is not one of ['Import', 'OperationDefinition', "
        "'ChoiceDefinition', 'Motif', 'Network', 'Settings', 'Learn']",
    ),
    "a type out of place": (
        lambda d: part(d, NET, "body", 0, "count").update(type="Amount"),
        "at $.definitions[0].body[0].count.type: 'Amount' is not one of "
        "['Number', 'Name', 'Unary', 'Binary']",
    ),
    "a field less": (
        lambda d: part(d, NET, "body", 1).pop("searched"),
        "at $.definitions[0].body[1]: 'searched' is a required property",
    ),
    "a field more": (
        lambda d: part(d, NET, "body", 1, "operation").update(color="red"),
        "at $.definitions[0].body[1].operation: Additional properties are not allowed "
        "('color' was unexpected)",
    ),
    "a place less": (lambda d: d.pop("place"), "at $: 'place' is a required property"),
    "a place without a line": (
        lambda d: d.update(place="spec.nas:0:1"),
        "at $.place: 'spec.nas:0:1' does not match ':[1-9][0-9]{0,8}:[1-9][0-9]{0,8}$(?!\\\\n)'",
    ),
    "one candidate": (
        lambda d: part(d, NET, "body", 1, "operation")["options"].pop(),
        "at $.definitions[0].body[1].operation.options: ",
    ),
    "a network's port without shape": (
        lambda d: part(d, NET, "inputs", 0).update(shape=None),
        "at $.definitions[0].inputs[0].shape: None is not of type 'array'",
    ),
    "a motif's port with shape": (
        lambda d: part(d, MOTIF, "inputs", 0).update(shape=part(d, NET, "inputs", 0)["shape"]),
        "at $.definitions[3].inputs[0].shape: ",
    ),
    "a keyword for a name": (
        lambda d: part(d, NET).update(name="op"),
        "at $.definitions[0].name: 'op' should not be valid under ",
    ),
    "a name that ends its line": (
        lambda d: part(d, NET).update(name="net\n"),
        "at $.definitions[0].name: 'net\\n' does not match ",
    ),
    "a text with quotes": (
        lambda d: part(d, IMPORT).update(path='a"b'),
        "at $.definitions[1].path: 'a\"b' does not match ",
    ),
    "a number below zero": (
        lambda d: part(d, NET, "body", 0, "count").update(value=-1),
        "at $.definitions[0].body[0].count.value: -1 is less than the minimum of 0",
    ),
    "a truth for a number": (
        lambda d: part(d, SEARCH, "entries", 0).update(value=True),
        "at $.definitions[2].entries[0].value: True is not of type 'number', 'string'",
    ),
    "an unknown unit": (
        lambda d: part(d, NET, "body", 2, "limit").update(text="2T"),
        "at $.definitions[0].body[2].limit.text: '2T' does not match ",
    ),
    "a motif's default that is a number": (
        lambda d: part(d, MOTIF, "parameters", 0).update(default=3),
        "at $.definitions[3].parameters[0].default: 3 is not of type 'string'",
    ),
}


@pytest.mark.parametrize(("change", "note"), BROKEN.values(), ids=BROKEN)
def test_json_outside_the_schema(change: Callable[[dict[str, Any]], object], note: str) -> None:
    data = json.loads(tree_to_json(parse_text(SMALL)))
    change(data)
    assert refused(json.dumps(data)).notes[0].startswith(note)
    with pytest.raises(jsonschema.ValidationError):
        PUBLISHED.validate(data)


def _nodes(data: object) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        yield data
    if isinstance(data, dict | list):
        for inner in data.values() if isinstance(data, dict) else data:
            yield from _nodes(inner)


@settings(max_examples=settings().max_examples // 4)
@given(specs, st.data())
def test_a_node_with_a_field_less_or_more_is_refused(spec: tree.Spec, data: st.DataObject) -> None:
    written = json.loads(tree_to_json(spec))
    node = data.draw(st.sampled_from(list(_nodes(written))))
    field = data.draw(st.sampled_from([*node, "more"]))
    if field == "more":
        node["more"] = 1
    else:
        del node[field]
    refused(json.dumps(written))


VALUES = st.sampled_from(
    [None, True, 0, 3, -1, 2.0, 0.5, 10**100, 1e300, "", "a", "op", "a\n", '"', "2K", "-", [], {}]
)


@settings(max_examples=settings().max_examples // 4)
@given(specs, st.data())
def test_what_still_fits_after_a_change_can_be_printed(
    spec: tree.Spec, data: st.DataObject
) -> None:
    """The schema is as strict as the grammar: a tree that is read is the tree of some text."""
    written = json.loads(tree_to_json(spec))
    nodes = list(_nodes(written))
    node = data.draw(st.sampled_from(nodes))
    other = st.sampled_from([value for n in nodes for value in n.values()])
    node[data.draw(st.sampled_from(list(node)))] = data.draw(VALUES | other.map(deepcopy))
    with suppress(DiagnosticError):
        read = tree_from_json(json.dumps(written))
        assert parse_text(print_spec(read)) == read
