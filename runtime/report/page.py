"""One page of any number of runs: a file that needs no network, and no other file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from bayesnas.dsl import __version__
from bayesnas.dsl.files import write_text
from bayesnas.runtime.report.blocks import Cell, Section, Table
from bayesnas.runtime.report.colours import style
from bayesnas.runtime.report.files import ComparisonFiles, RunFiles, open_files
from bayesnas.runtime.report.sections.comparison import comparison_sections
from bayesnas.runtime.report.sections.making import making
from bayesnas.runtime.report.sections.search import search_sections
from bayesnas.runtime.report.sections.several import several_sections
from bayesnas.runtime.report.sections.training import training_sections
from bayesnas.runtime.runs.ownership import REPORT, RESULT

_ASSETS: Final = files("bayesnas.runtime.report").joinpath("assets")
_SCRIPTS: Final = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "page.js")
_ROWS: Final = 300  # of a table that the page shows; its CSV has all


@frozen
class Part:
    """One run on a page."""

    title: str
    sections: tuple[Section, ...]


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write a page of runs and comparisons.

    Raises:
        DiagnosticError: D415, D416 (no run, or one that is not as it was written), and what opening
            their specs raises.
    """
    runs = [open_files(folder) for folder in folders]
    for run in runs:
        if isinstance(run, ComparisonFiles):
            _write_cells(run)
    _write(out, report_page(folders, out.parent))


def _write_cells(files: ComparisonFiles) -> None:
    """A page of each search and its training, where there is none that is newer."""
    for cell in files.cells:
        runs, page = [cell / "search", cell / "train"], cell / REPORT
        results = [run / RESULT for run in runs]
        if cell.parent != files.folder or not all(result.is_file() for result in results):
            continue
        latest = max(result.stat().st_mtime_ns for result in results)
        if not page.is_file() or page.stat().st_mtime_ns < latest:
            _write(page, report_page(runs))


def _write(out: Path, page: str) -> None:
    """Write a page; bytes of names that are no text are written out: `\\udce9`."""
    write_text(out, page.encode("utf-8", "backslashreplace").decode("utf-8"))


def report_page(folders: Sequence[Path], place: Path | None = None) -> str:
    """The page as HTML; see `write_report`.

    ``place`` is the folder that it will lie in: links to other pages start there.
    """
    runs = [open_files(folder) for folder in folders]
    parts = [_part(run, place) for run in runs]
    if len(runs) > 1:
        parts.insert(0, Part("All runs", tuple(several_sections(runs))))
    return _rendered(parts)


def _part(run: RunFiles | ComparisonFiles, place: Path | None) -> Part:
    if isinstance(run, ComparisonFiles):
        return Part(run.name, tuple(comparison_sections(run, place)))
    sections = search_sections(run) if run.made == "search" else training_sections(run)
    return Part(run.name, (*sections, making(run)))


def _rendered(parts: Sequence[Part]) -> str:
    from jinja2 import Environment

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "json": _script_json,
        "shown": _shown,
        "address": _csv_address,
        "numeric": _numeric,
    }
    template = environment.from_string(_asset("page.html.jinja"))
    title = parts[0].title if len(parts) == 1 else f"{len(parts) - 1} runs"
    return template.render(
        title=f"BayesNAS, {title}",
        parts=parts,
        version=__version__,
        style=_asset("page.css") + style(),
        scripts=[_asset(name) for name in _SCRIPTS],
        rows=_ROWS,
    )


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text("utf-8")


def _script_json(value: Any) -> str:
    """JSON that may stand in a script: no tag can end it, numbers that are none are null."""
    text = json.dumps(_finite(value), separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(cell: Cell) -> str:
    """A cell for people: four digits, thousands apart."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and not cell.is_integer():
        return f"{cell:.4g}"
    return f"{cell:,.0f}" if isinstance(cell, int | float) and math.isfinite(cell) else str(cell)


def _numeric(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _csv_address(table: Table) -> str:
    """A table's CSV as an address that holds it."""
    data = base64.b64encode(table.csv.encode("utf-8", "surrogateescape")).decode("ascii")
    return f"data:text/csv;charset=utf-8;base64,{data}"
