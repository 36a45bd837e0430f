"""Tables of latencies as JSON, and back."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from bayesnas.compiler.space.latencies import Latencies, Measured, Whole
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import read_source

FORMAT: Final = "bayesnas-latencies"
VERSION: Final = 1
MAX_TABLE_BYTES: Final = 20_000_000
_LONGEST_REASON: Final = 300


@cache
def latencies_schema() -> dict[str, Any]:
    """The JSON Schema of tables, published with the package."""
    file = files("bayesnas.compiler.space").joinpath("latencies.schema.json")
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def latencies_json(latencies: Latencies) -> str:
    """A table as text that fits `latencies_schema`: a line for each operation."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "about": dict(latencies.about),
        "batch": latencies.batch,
        "call": asdict(latencies.call),
        "error": latencies.error,
    }
    lists = {
        "wholes": [{**asdict(whole), "error": round(whole.error, 4)} for whole in latencies.wholes],
        "operations": [
            {"operation": text, "inputs": inputs, **asdict(measured)}
            for (text, inputs), measured in latencies.operations.items()
        ],
    }
    parts = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    for key, rows in lists.items():
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        parts.append(f' "{key}": [\n{lines}\n ]' if rows else f' "{key}": []')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def read_latencies(path: Path) -> Latencies:
    """The table in a file.

    Raises:
        DiagnosticError: D402 (unreadable or too large), D440 (no table, with the first place that
            is wrong).
    """
    text = read_source(path, MAX_TABLE_BYTES, "a table of latencies").text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_table(path, f"no JSON: {str(error).lower()}") from None
    if (reason := _misfit(data)) is not None:
        raise _no_table(path, reason)
    operations = {
        (row["operation"], tuple(tuple(map(int, shape)) for shape in row["inputs"])): _measured(row)
        for row in data["operations"]
    }
    wholes = [Whole(row["member"], int(row["sum"]), int(row["whole"])) for row in data["wholes"]]
    return Latencies(
        str(path),
        data["about"],
        int(data["batch"]),
        _measured(data["call"]),
        operations,
        (*wholes,),
    )


def _measured(row: dict[str, Any]) -> Measured:
    return Measured(int(row["median"]), int(row["low"]), int(row["high"]))


def _misfit(data: Any) -> str | None:
    from jsonschema import Draft202012Validator  # for who reads a table alone: it takes a while

    for wrong in Draft202012Validator(latencies_schema()).iter_errors(data):
        reason = wrong.message.rstrip(".")
        if len(reason) > _LONGEST_REASON:  # it begins with all that is wrong
            reason = f"not so: `{wrong.validator}: {json.dumps(wrong.validator_value)}`"
        return f"at {wrong.json_path}: {reason}"
    return None


def _no_table(path: Path, reason: str) -> DiagnosticError:
    return DiagnosticError(
        Diagnostic(
            "D440",
            f"`{path}` is no table of latencies",
            notes=(reason,),
            help="give a file that `bayesnas measure` wrote",
        )
    )
