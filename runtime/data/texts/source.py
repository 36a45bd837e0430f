"""The data `text:PATH`: windows of tokens, and what follows them.

``PATH`` is a text file, or a folder with ``train.txt`` and ``test.txt``; ``valid.txt`` stands in
for a missing test part. Of a single file the last fifth is the test part.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor

from bayesnas.compiler.operations.primitives import Shape
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.conventions.files import parts_of
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.examples import Part
from bayesnas.runtime.data.registry import Request
from bayesnas.runtime.data.splits import TEST_SHARE
from bayesnas.runtime.data.texts.tokens import Vocabulary, split_text
from bayesnas.runtime.tasks.interface import Task
from bayesnas.runtime.tasks.next_token import NextToken
from bayesnas.runtime.tasks.parts import Array, wrong

ENDINGS: Final = (".txt", ".text", ".md")
_MOST: Final = 2**17  # windows of a part where each learns a single token


@frozen
class _Windows:
    """How a text is cut.

    Args:
        length: tokens of a window.
        every: whether the token behind each of a window is learned; else that behind the window.
    """

    length: int
    every: bool

    @classmethod
    def of(cls, shape: Shape, outputs: Shape) -> _Windows:
        """As a network takes and gives them.

        Raises:
            DiagnosticError: D505 (it takes no series of tokens).
        """
        if len(shape) != 1:
            raise DiagnosticError(
                Diagnostic(
                    "D505",
                    f"windows of a text are [length], the network takes {list(shape)}",
                    help="declare the input as `tokens: [64]`, and look them up: `embedding`",
                )
            )
        return cls(shape[0], len(outputs) == 2)

    def step(self, count: int) -> int:
        """From one window to the next, in a text of so many tokens."""
        return self.length if self.every else max(1, -(-(count - self.length) // _MOST))

    def part(self, numbers: Array, task: NextToken, place: str) -> Part:
        """Windows of a text, and what follows.

        Raises:
            DiagnosticError: D512 (fewer tokens than a window and the next).
        """
        if len(numbers) <= self.length:
            has = f"has {len(numbers):,} token{'s' * (len(numbers) != 1)}"
            what = f"{has}, and a window and what follows has {self.length + 1:,}"
            raise wrong(place, "D512", what, "give a longer text, or declare a shorter window")
        starts = np.arange(0, len(numbers) - self.length, self.step(len(numbers)))
        inputs = numbers[starts[:, None] + np.arange(self.length)]
        behind = np.arange(1, self.length + 1) if self.every else np.array([self.length])
        targets = task.targets(numbers[starts[:, None] + behind], place)
        return Part(torch.from_numpy(inputs.astype(np.float32)), targets)


def load(request: Request) -> Data:
    """Windows [length] as float32, since networks take no other numbers, and the next tokens.

    Raises:
        DiagnosticError: D505 (the network's input), D510 (file), D512 (too short a text).
    """
    windows = _Windows.of(request.shape, request.outputs)
    if isinstance(request.learned, NextToken):
        return _to_judge(request, windows, request.learned)
    level = request.options.level
    paths = parts_of(Path(request.argument), ENDINGS)
    tokens = _read(paths.train, level)
    if paths.test is None:
        stop = len(tokens) - round(TEST_SHARE * len(tokens))
        texts = tokens[:stop], tokens[stop:]
        note = f"its last {len(texts[1]):,} {level}s are the test part"
    else:
        texts, note = (tokens, _read(paths.test, level)), paths.note
    most = request.outputs[0] if request.outputs else 0
    vocabulary = Vocabulary.of(texts[0], most)
    place = f"`{paths.train}`"
    task = evolve(NextToken.of_targets(np.empty(0), place, vocabulary.tokens), level=level)
    numbers = [vocabulary.numbers(text) for text in texts]
    places = place, f"`{paths.test or paths.train}`"
    train, test = (windows.part(n, task, p) for n, p in zip(numbers, places, strict=True))
    notes = [_told(place, level, numbers[0], texts[0], vocabulary), note]
    plain = torch.zeros(windows.length), torch.ones(windows.length)
    return Data(request.name, task, train, test, *plain, "none", "; ".join(filter(None, notes)))


def read_end(path: Path, task: Task, length: int) -> Tensor:
    """The last tokens of a text as a window [1, length].

    Raises:
        DiagnosticError: D510 (file), D512 (too short a text), D516 (the run learned no text).
    """
    if not isinstance(task, NextToken):
        remedy = "name files as the training had them"
        raise wrong(f"`{path}`", "D516", "is a text, and the run was trained on none", remedy)
    numbers = Vocabulary(task.tokens).numbers(_read(path, task.level)[-length:])
    if len(numbers) < length:
        what = f"has {len(numbers):,} tokens, the network reads {length:,}"
        raise wrong(f"`{path}`", "D512", what, "give a longer text")
    return torch.from_numpy(numbers.astype(np.float32))[None]


def _to_judge(request: Request, windows: _Windows, learned: NextToken) -> Data:
    """The test part of a folder, or all of a file, by the vocabulary of the training."""
    paths = parts_of(Path(request.argument), ENDINGS)
    path = paths.test or paths.train
    tokens = _read(path, learned.level)
    vocabulary = Vocabulary(learned.tokens)
    numbers = vocabulary.numbers(tokens)
    place = f"`{path}`"
    part = windows.part(numbers, learned, place)
    note = _told(place, learned.level, numbers, tokens, vocabulary)
    return Data.to_judge(request.name, learned, part, note)


def _read(path: Path, level: str) -> list[str]:
    """The tokens of a file: one at least.

    Raises:
        DiagnosticError: D510 (it cannot be read), D512 (it has none).
    """
    try:
        packed = path.suffix.lower() == ".xz"
        with lzma.open(path) if packed else path.open("rb") as stream:
            text = stream.read().decode("utf-8-sig")
        tokens = split_text(text.replace("\r\n", "\n"), level)
    except FileNotFoundError:
        remedy = "name a text file"
        raise DiagnosticError(Diagnostic("D510", f"no file `{path}`", help=remedy)) from None
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        reason = str(error).lower()
        remedy = "save it as text in UTF-8"
        raise wrong(f"`{path}`", "D510", "cannot be read", remedy, reason) from None
    if not tokens:
        raise wrong(f"`{path}`", "D512", "has no tokens", "give a text that is not empty")
    return tokens


def _told(
    place: str, level: str, numbers: Array, tokens: Sequence[str], vocabulary: Vocabulary
) -> str:
    count, kinds = len(tokens), len(vocabulary.tokens)
    said = f"{place}: {count:,} {level}s of {kinds:,} kinds"
    unknown = int((numbers == 0).sum())
    return f"{said}, {unknown / count:.2%} of them unknown" if unknown else said
