"""What is printed: texts of others, such as names, neither steer a terminal nor end a line."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import Final, TextIO

# Controls, formats (such as the order of letters reversed), line and paragraph ends, halves.
_STEERING: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
_BYTE: Final = 0xDC00  # of a name of a file that is not UTF-8, Python makes such halves
_PLAIN: Final = {"±": "+-"}  # what a command prints; other characters become escapes
_HANDLER: Final = "bayesnas.plain"


def visible(text: str) -> str:
    r"""The text on one line, each character that a terminal would obey as its escape: ``\x1b``.

    What is visible already stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _STEERING else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if _BYTE + 0x80 <= code <= _BYTE + 0xFF:
        code -= _BYTE
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print lines, each of them one line on a terminal; ``file`` is stdout unless given."""
    text = "\n".join(map(visible, lines))
    if file is sys.stderr:
        tell(text)
    else:
        print(text, file=file)


def tell(text: str) -> None:
    """Print a text on stderr; where its disk is full, the work goes on and nobody is told.

    Raises:
        BrokenPipeError: who read it has gone.
    """
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass


def put(text: str) -> None:
    """Write a whole text to stdout as files have it, in UTF-8, whatever the terminal's encoding.

    Bytes of names of files that are not UTF-8 come out as they are.
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def accept_any_text(*streams: TextIO) -> None:
    """Let streams of few characters, such as ASCII alone, show the others in other words."""
    codecs.register_error(_HANDLER, _in_plain_words)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _in_plain_words(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    return _PLAIN.get(character) or _escape(character), error.start + 1
