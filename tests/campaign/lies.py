"""Files of runs that say what no run says: each entry in turn becomes each of many wrong values."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from attrs import frozen
from torch import Tensor

from bayesnas.runtime.runs.seals import SEAL, sealed
from campaign.runs import SCENES, Scene, Workshop, verdict

_ABSENT: Final = object()
_READ: Final = ("settings.json", "result.json", "compare.json", "checkpoint.pt", "weights.pt")

# What a run might have saved, whoever wrote it: an optimizer keeps nothing of what was not trained
# yet, and a report not every column; a reason may be any text, a result any number.
_BELIEVED: Final = re.compile(
    r"optimizer\.state\.\d+(\.momentum_buffer)? becomes (absent|nothing|an empty table)"
    r"|report\..* becomes (absent|an empty table)"
    r"|report\..*\.\w+ becomes (-1|10\*\*9|NaN|infinity)"
    r"|removed\..* becomes (no text|a text)"
    r"|(loss|losses|accuracy|seconds|images_\w+|evaluated|trained) becomes (-1|10\*\*9)"
    r"|holdout_\w+ becomes (NaN|infinity)"
    r"|result\.json, (test_\w+|images_\w+|parameters|flops) becomes (-1|10\*\*9)"
)

# What an entry becomes, made of what it was.
VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "nothing": lambda _: None,
    "absent": lambda _: _ABSENT,
    "true": lambda _: True,
    "-1": lambda _: -1,
    "10**9": lambda _: 10**9,
    "10**400": lambda _: 10**400,
    "NaN": lambda _: math.nan,
    "infinity": lambda _: math.inf,
    "no text": lambda _: "",
    "a text": lambda _: "../../\x1b[31m`x`\n",
    "an empty list": lambda _: [],
    "a list": lambda _: [1, [2, None]],
    "an empty table": lambda _: {},
    "a table": lambda _: {"x": {"y": 1}},
    "itself in a list": lambda old: [old],
}
TENSORS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "a tensor": lambda _: torch.zeros(3),
    "a tensor of no numbers": lambda _: torch.zeros(0),
    "other bytes": lambda _: torch.full((5056,), 255, dtype=torch.uint8),
    "another type": lambda old: old.to(torch.complex64) if isinstance(old, Tensor) else old,
    "another shape": lambda old: old[None] if isinstance(old, Tensor) else old,
    "one that expands": lambda _: torch.zeros(1).expand(10**12),
    "of NaN": lambda old: _filled(old, math.nan),
    "sparse": lambda old: old.to_sparse() if isinstance(old, Tensor) else old,
}
# What a whole file becomes.
FILES: Final[Mapping[str, bytes]] = {
    "empty": b"",
    "a number": b"5\n",
    "a list": b"[]",
    "nested": b"[" * 100_000,
    "not UTF-8": b'{"a": "\xff"}',
    "an archive of nothing": b"PK\x05\x06" + bytes(18),
}


def _filled(old: Any, value: float) -> Any:
    fits = isinstance(old, Tensor) and old.is_floating_point()
    return torch.full_like(old, value) if fits else old


@frozen
class Lie:
    """An entry of a file in a scene that becomes another value; the whole file without a path."""

    scene: Scene
    file: str
    path: tuple[Any, ...]
    value: str

    def __str__(self) -> str:
        place = ".".join(map(str, self.path)) or "the file"
        return f"{self.scene.name}: {self.file}, {place} becomes {self.value}"

    def tell(self, bench: Path) -> None:
        """Write the file with the lie."""
        file = bench / self.file
        if not self.path:
            file.write_bytes(FILES[self.value])
            return
        data = _load(file)
        made = {**VALUES, **TENSORS}[self.value]
        *before, last = self.path
        place = data
        for key in before:
            place = place[key]
        value = made(copy.deepcopy(place[last]))
        if value is _ABSENT:
            del place[last]
        else:
            place[last] = value
        _save(data, file)


def _load(file: Path) -> Any:
    if file.suffix == ".pt":
        return copy.deepcopy(torch.load(file, weights_only=True))
    return json.loads(file.read_text("utf-8"))


def _save(data: Any, file: Path) -> None:
    """As bayesnas writes it, with a seal that fits."""
    if file.suffix == ".pt":
        torch.save(data, file)
    else:
        file.write_text(json.dumps(sealed(data) if SEAL in data else data), encoding="utf-8")


def _paths(data: Any) -> Iterator[tuple[Any, ...]]:
    """Of all entries; of lists the first and the last."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(data, Mapping):
        entries = list(data.items())
    elif isinstance(data, list):
        entries = list(enumerate(data))[:: max(1, len(data) - 1)]
    for key, value in entries:
        yield (key,)
        yield from ((key, *rest) for rest in _paths(value))


@cache
def lies(workshop: Workshop, scene: Scene) -> Mapping[str, tuple[Lie, ...]]:
    """All that there are in a scene, by file."""
    found = {}
    bench = scene.set_up(workshop)
    for file in sorted(path for path in bench.glob("run/**/*") if path.name in _READ):
        name = str(file.relative_to(bench))
        values = [*VALUES, *TENSORS] if file.suffix == ".pt" else list(VALUES)
        paths = [path for path in _paths(_load(file)) if path != (SEAL,)]
        entries = [Lie(scene, name, path, value) for path in paths for value in values]
        entries = [entry for entry in entries if not _BELIEVED.search(str(entry))]
        found[name] = (*(Lie(scene, name, (), value) for value in FILES), *entries)
    shutil.rmtree(bench)
    return found


def lie(workshop: Workshop, number: int, seed: int) -> tuple[str, str]:
    """Tell a lie; what comes of it, and which it is.

    Every scene and each of its files is drawn as often, whatever their length.
    """
    chance = random.Random(f"lie {seed} {number}")
    scene = chance.choice(SCENES)
    every = lies(workshop, scene)
    told = chance.choice(every[chance.choice(list(every))])
    bench = scene.set_up(workshop)
    told.tell(bench)
    came = verdict(workshop, scene, bench, told.file)
    if came in ("same", "refused", "told"):
        shutil.rmtree(bench)
    return came, f"{told} ({bench.name})"
