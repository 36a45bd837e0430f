"""The syntax tree as JSON, and back: ``tree_from_json(tree_to_json(spec)) == spec``.

A node is an object of its ``type`` (its class in `tree`), its fields, and its ``place``. What that
may be is published as ``tree.schema.json`` and checked on the way out and in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final, NoReturn

import attrs
import jsonschema
from jsonschema.protocols import Validator

from bayesnas.dsl import tree
from bayesnas.dsl.amounts import MAX_DIGITS
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span

_NODES: Final[Mapping[str, Any]] = {
    name: kind
    for name, kind in vars(tree).items()
    if isinstance(kind, type) and issubclass(kind, tree.Node) and kind is not tree.Node
}
_REAL: Final = {"Setting": "value", "Objective": "weight"}  # fields that may be real numbers


@cache
def tree_schema() -> dict[str, Any]:
    """The JSON Schema of a syntax tree, published with the package."""
    text = files("bayesnas.dsl").joinpath("tree.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def tree_to_json(spec: tree.Spec) -> str:
    """The tree of one file as JSON text that fits `tree_schema`."""
    data = _plain(spec)
    if (violation := _violation(data)) is not None:
        raise violation
    text = json.dumps(data, indent=1)
    # JSON has no infinity; like the language it has numbers that are read as one. A line is one
    # value, so that no text in quotes can be mistaken for it.
    infinite = r'^( *"(?:value|weight)": -?)Infinity'
    return re.sub(infinite, r"\g<1>1e999", text, flags=re.MULTILINE) + "\n"


def tree_from_json(text: str, name: str = "ast.json") -> tree.Spec:
    """The syntax tree of a JSON text called ``name``.

    Spans point to the place where the node began; the text of the spec is not kept in JSON.

    Raises:
        DiagnosticError: D404 (no JSON, or not of the schema).
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
        if (violation := _violation(data)) is not None:
            reason = f"at {violation.json_path}: {_shorten(violation.message)}"
            raise _not_a_tree(name, reason)
        spec: tree.Spec = _built(data)
        return spec
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _not_a_tree(name, f"no JSON at {place}: {error.msg.lower()}") from None
    except ValueError as error:  # a constant, or a number of thousands of digits
        raise _not_a_tree(name, f"no number: {str(error).lower()}") from None
    except RecursionError:
        raise _not_a_tree(name, "nested too deeply") from None


def _not_a_tree(name: str, reason: str) -> DiagnosticError:
    remedy = "write one with `bayesnas compile SPEC -o DIR --emit ast`"
    return DiagnosticError(
        Diagnostic("D404", f"`{name}` is no syntax tree of bayesnas", notes=(reason,), help=remedy)
    )


def _shorten(message: str) -> str:
    """A sentence of jsonschema, which begins with the value in question, however large."""
    return message if len(message) <= 200 else f"{message[:60]} ... {message[-120:]}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}`")


# ------------------------------------------------------------------------------------- validation


def _reference(
    _validator: Validator, reference: str, _instance: object, _schema: object
) -> Iterator[jsonschema.ValidationError]:
    """A ``$ref`` is not followed but handed to `_violation`, which walks without recursion.

    jsonschema by itself needs a dozen frames a level, and fails on trees that the parser reads.
    """
    yield jsonschema.ValidationError(reference)


_Shallow = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"$ref": _reference}
)


@cache
def _validators() -> dict[str, Validator]:
    """A validator for each definition, by the reference to it."""
    definitions = {f"#/$defs/{name}": part for name, part in tree_schema()["$defs"].items()}
    return {reference: _Shallow(part) for reference, part in definitions.items()}


def _violation(data: Any) -> jsonschema.ValidationError | None:
    """The first place in a tree that does not fit the schema, with its path; None if all fits."""
    waiting: list[tuple[Any, str, tuple[str | int, ...]]] = [(data, tree_schema()["$ref"], ())]
    while waiting:
        instance, reference, path = waiting.pop()
        wrong = []
        for error in _validators()[reference].iter_errors(instance):
            error.path.extendleft(reversed(path))
            if error.validator != "$ref":
                return error
            wrong.append((error.instance, error.message, tuple(error.path)))
        waiting += reversed(wrong)
    return None


# --------------------------------------------------------------------------- nodes as plain values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    kind = type(value)
    if kind.__name__ not in _NODES:
        return value
    names = [field.name for field in attrs.fields(_NODES[kind.__name__]) if field.name != "span"]
    fields = {name: _plain(getattr(value, name)) for name in names}
    return {"type": kind.__name__, **fields, "place": _place(value.span)}


def _place(span: Span) -> str:
    """File, line and column, without the folders of the machine."""
    return str(span).rsplit("/", 1)[-1]


def _built(value: Any) -> Any:
    """The node of plain values that fit the schema."""
    if isinstance(value, list):
        return tuple(map(_built, value))
    if not isinstance(value, dict):
        return value
    fields = {key: _built(part) for key, part in value.items() if key not in ("type", "place")}
    # JSON has numbers of one kind; the language has whole ones, not below zero, and real ones.
    if value["type"] == "Number":
        fields["value"] = int(fields["value"])
    elif value["type"] in _REAL:
        name = _REAL[value["type"]]
        fields[name] = _real(fields[name])
    return _NODES[value["type"]](**fields, span=_span(value["place"]))


def _real(value: Any) -> Any:
    """A number as the language reads it: what is no whole one of it is a real one."""
    if not isinstance(value, int) or 0 <= value < 10**MAX_DIGITS:
        return value
    return float(str(value))


def _span(place: str) -> Span:
    name, line, column = place.rsplit(":", 2)
    return Span(Source(name, ""), int(line), int(column), int(line), int(column) + 1)
