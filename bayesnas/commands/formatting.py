"""``bayesnas fmt``: specs rewritten in canonical form, or told apart from it."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from pathlib import Path

from bayesnas.commands.arguments import Command
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, render_all
from bayesnas.dsl.files import write_text
from bayesnas.dsl.terminal import put, say

STDIN = "-"


def _add_fmt(parser: argparse.ArgumentParser) -> None:
    about = "a .nas file, or `-`: standard input to standard output"
    parser.add_argument("specs", metavar="SPEC", nargs="+", help=about)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; name what would change, with exit status 1",
    )
    parser.add_argument(
        "--diff", action="store_true", help="write nothing; show what would change as a diff"
    )


def _fmt(options: argparse.Namespace) -> int:
    """2 if a spec is wrong, 1 if ``--check`` and one would change.

    A wrong spec keeps no other from being formatted. With ``--check`` or ``--diff`` nothing is
    written.
    """
    from bayesnas.dsl.printing.formatter import format_source

    specs, check, diff = options.specs, options.check, options.diff
    changed = same = status = 0
    # What goes to stdout as text is not mixed with names.
    names = sys.stderr if diff or STDIN in specs else sys.stdout
    for spec in specs:
        try:
            source = _read(spec)
            text = format_source(source)
            _deliver(spec, source, text, check, diff)
        except DiagnosticError as error:
            print(render_all(error.diagnostics), file=sys.stderr)
            status = max(status, error.status)
            continue
        if text == source.text:
            same += 1
            continue
        changed += 1
        if check or diff or spec != STDIN:
            done = "would reformat" if check or diff else "reformatted"
            say(f"{done} {source.name}", file=names)
    if list(specs) != [STDIN]:
        done = "would be reformatted" if check or diff else "reformatted"
        say(f"{changed} {done}, {same} unchanged", file=sys.stderr)
    return status or int(check and changed > 0)


def _read(spec: str) -> Source:
    """The text of a file that may be rewritten, or of standard input.

    Raises:
        DiagnosticError: D401 (no such file), D402 (unreadable).
    """
    from bayesnas.dsl.loader import decode_source, packaged_specs, read_source

    if spec == STDIN:
        return decode_source("<stdin>", sys.stdin.buffer.read())
    if not os.path.exists(spec):  # noqa: PTH110 - no error for a name no file can have
        if spec in packaged_specs():
            message = f"`{spec}` is a spec of the package, which is not rewritten"
            raise DiagnosticError(Diagnostic("D401", message, help="name a file by its path"))
        remedy = "name a spec file, or `-` for standard input"
        raise DiagnosticError(Diagnostic("D401", f"no file at `{spec}`", help=remedy))
    path = Path(spec)
    if not path.is_file() and not path.is_dir():
        message = f"`{spec}` is no regular file"
        raise DiagnosticError(Diagnostic("D402", message, help="write `-` to read standard input"))
    return read_source(path)


def _deliver(spec: str, source: Source, text: str, check: bool, diff: bool) -> None:
    """Show the difference, or write the text where it belongs.

    Raises:
        DiagnosticError: D419 (cannot write).
    """
    if diff:
        _show(_difference(source, text))
    elif check:
        return
    elif spec == STDIN:
        put(text)
    elif text != source.text:
        _rewrite(Path(spec), text)


def _show(difference: str) -> None:
    """As ``patch`` takes it; on a terminal so that nothing in a comment steers that."""
    if sys.stdout.isatty():
        say(*difference.removesuffix("\n").replace("\t", "    ").split("\n"))
    else:
        put(difference)


def _rewrite(path: Path, text: str) -> None:
    """Replace a file whole or not at all, through links; a file that is protected stays."""
    try:
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "permission denied")
        write_text(path.resolve(), text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        remedy = "check permissions and free space"
        diagnostic = Diagnostic("D419", f"cannot write `{path}`: {reason}", help=remedy)
        raise DiagnosticError(diagnostic, status=1) from None


def _difference(source: Source, text: str) -> str:
    """A unified diff, as ``patch`` takes it."""
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", part) for part in (source.text, text))
    lines = difflib.unified_diff(before, after, source.name, source.name)
    unfinished = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + unfinished for line in lines)


FMT = Command("fmt", "Rewrite specs in canonical form; comments are kept.", _add_fmt, _fmt)
