"""Files of runs with a bit flipped or a sector of zeros: the same answer, or a diagnostic."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Final

from campaign.runs import SCENES, Workshop, verdict

SECTOR: Final = 512
_OFTEN: Final = ("weights.pt", "checkpoint.pt", "settings.json", "result.json", "pruned.nas")
_SCENES: Final = (*SCENES, SCENES[0], SCENES[0], SCENES[1])  # the first ones more often


def flip(workshop: Workshop, number: int, seed: int) -> tuple[str, str]:
    """Damage a file of a scene; what comes of it (see `verdict`), and which it is."""
    chance = random.Random(f"flip {seed} {number}")
    scene = chance.choice(_SCENES)
    bench = scene.set_up(workshop)
    files = [path for path in sorted(bench.glob("run/**/*")) if path.is_file()]
    files = [path for path in files if path.stat().st_size]
    weights = [3 if path.name in _OFTEN else 1 for path in files]
    [file] = chance.choices(files, weights)
    name = str(file.relative_to(bench))
    place = f"{scene.name}: {name}, {_damage(file, chance)}"
    came = verdict(workshop, scene, bench, name)
    if came in ("same", "refused", "told"):
        shutil.rmtree(bench)
    return came, f"{place} ({bench.name})"


def _damage(file: Path, chance: random.Random) -> str:
    """Damage it: in words."""
    data = bytearray(file.read_bytes())
    if chance.random() < 0.75:
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        data[at] ^= 1 << bit
        words = f"bit {bit} of byte {at}"
    else:
        at = chance.randrange(0, len(data), SECTOR)
        data[at : at + SECTOR] = bytes(len(data[at : at + SECTOR]))
        words = f"zeros from {at}"
    file.write_bytes(data)
    return words
