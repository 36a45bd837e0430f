"""Files of runs are read as what anybody may have written: each entry is checked against a schema.

Schemas are JSON Schemas in the words of this module. They hold for checkpoints as well: a tensor is
described by its type, its shape and whether it is finite, and keys are texts.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.runs.ownership import FOUND, RESULT
from bayesnas.runtime.runs.seals import RESTORE, check_seal, file_hash

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema: TypeAlias = Mapping[str, Any]
Fault: TypeAlias = Callable[[Any], str | None]

_LONGEST_REASON: Final = 200
_WORDS: Final = 624  # of the state of Python's generator

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "number"}  # finite
ANY_NUMBER: Final[Schema] = {"type": "float"}
DURATION: Final[Schema] = {"type": "number", "minimum": 0}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
NAMES: Final[Schema] = {"type": "array", "items": TEXT}


def between(least: float, most: float, kind: str = "integer") -> Schema:
    """Numbers from ``least`` to ``most``."""
    return {"type": kind, "minimum": least, "maximum": most}


def one_of(names: Collection[str]) -> Schema:
    """A text that is one of very many."""
    return {"type": "string", "names": frozenset(names)}


def listed(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def agreeing(fault: Fault) -> Schema:
    """What has no ``fault``: it says what does not fit together, or None."""
    return {"fault": fault}


def pair(first: Schema, second: Schema) -> Schema:
    """A list of two."""
    return {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [first, second]}


def table(values: Schema, keys: Schema = TEXT) -> Schema:
    """Any number of entries, all alike."""
    return {"type": "object", "additionalProperties": values, "propertyNames": keys}


def record(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    """These entries and no others."""
    return open_record(properties, optional) | {"additionalProperties": False}


def open_record(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> dict[str, Any]:
    """These entries, and any others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


def both(*schemas: Schema) -> Schema:
    """What is of all of them."""
    return {"allOf": list(schemas)}


def maybe(schema: Schema) -> Schema:
    """That, or nothing."""
    return {"anyOf": [schema, {"type": "null"}]}


def like(tensor: Tensor, finite: bool = True) -> Schema:
    """Tensors of the type and shape of this one."""
    wanted: dict[str, Any] = {"tensor": _kind(tensor), "shape": list(tensor.shape)}
    wanted |= {"finite": True} if finite else {}
    return open_record({name: {"const": value} for name, value in wanted.items()})


def like_all(tensors: Mapping[str, Tensor], finite: bool = True) -> Schema:
    """Tables of tensors such as these, as of a module's state."""
    return record({name: like(tensor, finite) for name, tensor in tensors.items()})


def like_optimizer(optimizer: torch.optim.Optimizer) -> Schema:
    """States of an optimizer with the parameters and settings of this one; its rates are free."""
    groups = optimizer.state_dict()["param_groups"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    slots = {str(n): _slot(optimizer, parameter) for n, parameter in enumerate(parameters)}
    return record(
        {
            "state": record(slots, optional=slots),
            "param_groups": {
                "type": "array",
                "minItems": len(groups),
                "maxItems": len(groups),
                "prefixItems": [_settings_like(group) for group in groups],
            },
        }
    )


def _slot(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Schema:
    """What an optimizer keeps of a parameter: nothing before its first step."""
    if isinstance(optimizer, torch.optim.Adam):
        moments = {name: like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        kept = record({"step": like(torch.zeros(())), **moments})
        return {"anyOf": [{"type": "object", "maxProperties": 0}, kept]}
    velocity = {"momentum_buffer": maybe(like(parameter))}
    return record(velocity, optional=velocity)


def _settings_like(group: Mapping[str, Any]) -> Schema:
    described = _described(group)
    fixed = {name: {"const": value} for name, value in described.items() if name != "lr"}
    return record({**fixed, "lr": between(0, math.inf, "number")})


TORCH_STATE: Final[Schema] = {"generator": "torch"}
CUDA_STATE: Final[Schema] = open_record({"tensor": {"const": "torch.uint8"}})
PYTHON_STATE: Final[Schema] = {
    "type": "array",
    "minItems": 3,
    "maxItems": 3,
    "prefixItems": [
        {"const": 3},
        {
            "type": "array",
            "minItems": _WORDS + 1,
            "maxItems": _WORDS + 1,
            "prefixItems": [between(0, 2**32 - 1)] * _WORDS + [between(0, _WORDS)],
        },
        maybe(NUMBER),
    ],
}


# ----------------------------------------------------------------------------------------- judging


class _TensorEntry(dict[str, Any]):
    """How a schema sees a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        kind = _kind(tensor)
        finite = not tensor.is_floating_point()
        if kind == str(tensor.dtype) and not finite:
            finite = bool(tensor.isfinite().all())
        super().__init__(tensor=kind, shape=list(tensor.shape), finite=finite)
        self.tensor = tensor


def _kind(tensor: Tensor) -> str:
    """Its type of numbers, and what it is where it does not hold all of its numbers, each once.

    A few bytes may stand for any number of them.
    """
    kind = str(tensor.dtype)
    if tensor.layout is not torch.strided:
        return f"{kind}, {tensor.layout}"
    if tensor.is_meta or tensor.is_quantized:
        return f"{kind}, {'meta' if tensor.is_meta else tensor.qscheme()}"
    held = tensor.untyped_storage().nbytes()
    return f"{kind}, repeated" if tensor.numel() * tensor.element_size() > held else kind


def _described(value: Any) -> Any:
    """A value as a schema sees it."""
    if isinstance(value, Tensor):
        return _TensorEntry(value)
    if isinstance(value, Mapping):
        return {str(key): _described(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_described(entry) for entry in value]
    return value


def _is_integer(_checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(_checker: Any, value: Any) -> bool:
    if _is_integer(_checker, value):
        return bool(abs(value) <= sys.float_info.max)
    return isinstance(value, float)


def _is_number(_checker: Any, value: Any) -> bool:
    return _is_float(_checker, value) and math.isfinite(value)


@cache
def _validators() -> Any:
    """The class of validators that know the words of this module."""
    from jsonschema import Draft202012Validator, ValidationError, validators

    def names(_validator: Any, known: frozenset[str], value: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(value, str) and value not in known:
            yield ValidationError(f"{value!r} is unknown here")

    def generator(_validator: Any, _kind: str, value: Any, _schema: Any) -> Iterator[Any]:
        try:
            torch.Generator().set_state(value.tensor.cpu())
        except (AttributeError, RuntimeError, TypeError):
            yield ValidationError("it is no state of a generator")

    def fault(_validator: Any, fault: Fault, value: Any, _schema: Any) -> Iterator[Any]:
        if (reason := fault(value)) is not None:
            yield ValidationError(reason)

    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number, "float": _is_float}
    )
    words = {"names": names, "generator": generator, "fault": fault}
    extend: Any = validators.extend
    return extend(Draft202012Validator, words, type_checker=types)


def check_entries(data: Any, schema: Schema, path: Path, remedy: str) -> None:
    """Refuse what a file holds where it is not of the schema.

    Args:
        data: values of JSON, or what `torch.load` gives.
        schema: in the words of this module.
        path: of the file.
        remedy: what to do about it.

    Raises:
        DiagnosticError: D416; it names the file and the first entry that is wrong.
    """
    validator: Validator = _validators()(schema)
    for wrong in validator.iter_errors(_described(data)):
        reason = f"at {wrong.json_path}: {wrong.message.rstrip('.')}"
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]} and more"
        message = f"`{path}` holds what bayesnas does not write"
        raise DiagnosticError(Diagnostic("D416", message, notes=(reason,), help=remedy))


# ------------------------------------------------------------------------------------------- files


def load_tensors(
    path: Path, schema: Schema, remedy: str, device: torch.device | str
) -> dict[str, Any]:
    """A file of tensors and plain values on a device; no code that it may hold is run.

    Raises:
        DiagnosticError: D416 (missing, broken, or not of the schema), with this remedy.
    """
    try:
        check_whole(path)
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"cannot load `{path}`"
        raise DiagnosticError(Diagnostic("D416", message, notes=(reason,), help=remedy)) from None
    check_entries(state, schema, path, remedy)
    return state


def check_whole(path: Path) -> None:
    """Refuse a file of tensors that has changed since it was written; torch itself does not look.

    Raises:
        OSError: it is not there.
        ValueError: one of its parts is not what its checksum says, or is compressed, which torch
            never does and which may stand for any amount of memory.
    """
    with ZipFile(path) as archive:
        if any(part.compress_type != ZIP_STORED for part in archive.infolist()):
            raise ValueError("its parts are compressed")
        if (name := archive.testzip()) is not None:
            raise ValueError(f"`{name}` in it is damaged")


def read_result(out: Path, schema: Schema) -> dict[str, Any]:
    """What a finished run says in its ``result.json``: `SEARCHED` or `TRAINED`.

    Raises:
        DiagnosticError: D415 (none there), D416 (not of the schema, or changed).
    """
    path, remedy = out / RESULT, "finish the run with `--resume`, or name another folder"
    try:
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DiagnosticError(
            Diagnostic("D415", f"no finished run in `{out}`", help=remedy)
        ) from None
    check_entries(result, schema, path, RESTORE)
    check_seal(result, path)
    return result


def edited(spec: Path) -> str:
    """A remark on what a search found where it is not as the search wrote it."""
    try:
        expected = json.loads((spec.parent / RESULT).read_text("utf-8"))["found_hash"]
        if spec.name != FOUND or file_hash(spec) == expected:
            return ""
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return ""
    return f"`{spec}` is not as the search wrote it"
