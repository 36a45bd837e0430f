"""What the files of a run hold that are written once: its settings and its result."""

from __future__ import annotations

from typing import Any, Final

from attrs import Attribute, fields

from bayesnas.compiler.objectives import readable
from bayesnas.compiler.settings import SearchSettings, TrainSettings
from bayesnas.runtime.data.registry import FITS, LEVELS, STANDARDISE
from bayesnas.runtime.runs.reading import (
    COUNT,
    DURATION,
    FLAG,
    NAMES,
    NUMBER,
    TEXT,
    Schema,
    agreeing,
    between,
    both,
    listed,
    maybe,
    one_of,
    open_record,
    record,
    table,
)
from bayesnas.runtime.tasks.registry import task_class, tasks

_WHOLE: Final[Schema] = {"type": "integer"}
_TYPES: Final = ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


OBJECTIVE: Final = agreeing(lambda text: None if readable(text) else "it is no objective")


def settings_schema(command: str) -> Schema:
    """``settings.json`` of a run of ``search`` or ``train``; a run is evaluated without some."""
    settings = fields(SearchSettings if command == "search" else TrainSettings)
    names = [a.name for a in settings]
    return open_record(
        {
            "file": TEXT,
            "copies": NAMES,
            "spec_hash": TEXT,
            "network": maybe(TEXT),
            "values": table(_WHOLE),
            "objectives": table(OBJECTIVE),
            "data": TEXT,
            "data_paths": NAMES,
            "data_root": TEXT,
            "resize": FLAG,
            "fit": {"enum": list(FITS)},
            "standardise": {"enum": list(STANDARDISE)},
            "target": NAMES,
            "level": {"enum": list(LEVELS)},
            "seed": between(0, 2**64),
            "settings": open_record({a.name: _setting(a) for a in settings}, optional=names),
            "plugins": NAMES,
            "versions": table(TEXT),
        },
        optional=(
            *("copies", "spec_hash", "objectives", "seed", "settings"),
            *("standardise", "target", "level", "versions"),
        ),
    )


def _setting(attribute: Attribute[Any]) -> Schema:
    about = attribute.metadata
    if "words" in about:
        return {"enum": list(about["words"])}
    if "pattern" in about:
        return {"type": "string", "pattern": f"^({about['pattern']})?$"}
    kind = "integer" if isinstance(attribute.default, int) else "number"
    return between(about["least"], about["most"], kind)


# Of ``result.json``, what others than people read.
SEARCHED: Final = open_record(
    {
        "images_trained": COUNT,
        "images_evaluated": COUNT,
        "seconds": DURATION,
        "found_hash": TEXT,  # of the spec of what was found
    },
    optional=("found_hash",),  # of runs that began before it was written
)
TRAINED: Final = open_record(
    {
        "metric": one_of([task.metric for task in tasks()]),
        "parameters": COUNT,
        "flops": COUNT,
        "test_loss": NUMBER,
    }
)

_NUMBERS: Final = record({"name": TEXT, "median": NUMBER, "marked": FLAG})
_CATEGORIES: Final = record({"name": TEXT, "categories": NAMES, "numbered": FLAG})
_PICTURES: Final = record({"name": TEXT, "picture": FLAG})
_INPUT: Final = open_record(
    {
        "shape": listed(COUNT),
        "layout": TEXT,
        "dtype": {"enum": _TYPES},
        "scale": TEXT,
        "columns": listed({"anyOf": [_NUMBERS, _CATEGORIES, _PICTURES]}),  # of a table
    },
    optional=("columns",),
)
_LEARNED: Final = {  # of those tasks that have them
    "classes": NAMES,
    "labels": NAMES,
    "targets": table(record({"mean": NUMBER, "deviation": NUMBER})),
    "sigma": NUMBER,
    "tokens": NAMES,
    "level": {"enum": list(LEVELS)},
    "smoothing": NUMBER,
    "map": listed(COUNT),
    "ignored": COUNT,
    "single": FLAG,
    "channels": listed(record({"mean": NUMBER, "deviation": NUMBER})),
    "peak": NUMBER,
    "bytes": FLAG,
}
_OUTPUT: Final = open_record(
    {
        **_LEARNED,
        "metric": one_of([task.metric for task in tasks()]),
        "weight": NUMBER,
        "size": COUNT,
        "target": open_record({"shape": listed(COUNT), "dtype": {"enum": _TYPES}}),
    },
    optional=_LEARNED,
)

# Of a training's ``result.json``, what is needed to ask its network.
DESCRIBED: Final = both(
    open_record(
        {
            **_LEARNED,
            "class_name": TEXT,
            "input": _INPUT,  # of a network of one input, or of several by port:
            "inputs": table(_INPUT),
            "outputs": table(_OUTPUT),  # of a network of several outputs
            "weights_hash": TEXT,
            "metric": one_of([task.metric for task in tasks()]),
        },
        optional=(*_LEARNED, "input", "inputs", "outputs"),
    ),
    agreeing(
        lambda entries: None if "input" in entries or "inputs" in entries else "it has no input"
    ),
)

# Of a search's ``result.json``, what it says of the weights that it may have kept.
SHARED: Final = open_record({"found_hash": TEXT, "shared": DESCRIBED}, optional=("shared",))


def tested(metric: str) -> Schema:
    """Of a training's ``result.json``, its score by the metric that it names."""
    return open_record(dict.fromkeys(task_class(metric).entry_names("test"), NUMBER))
