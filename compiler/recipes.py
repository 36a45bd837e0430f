"""Recipes: how networks are trained, as text: a file of a ``train`` block."""

from __future__ import annotations

from bayesnas.compiler.settings import check_setting
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.dsl.loader import recipe


def recipe_settings(name: str) -> dict[str, int | float | str]:
    """The settings of a recipe, by its file or its name in the packaged library.

    Raises:
        DiagnosticError: D401 (no such recipe), D402 (unreadable), D113 (it has no ``train`` block),
            D230, D231 (a setting), or the parser's.
    """
    spec = recipe(name)
    blocks = [d for d in spec.definitions if isinstance(d, tree.Settings) and d.kind == "train"]
    if not blocks:
        raise DiagnosticError(
            Diagnostic(
                "D113",
                f"the recipe `{name}` has no `train` block",
                help="write one: `train { epochs = 30 }`",
            )
        )
    entries = [entry for block in blocks for entry in block.entries]
    for entry in entries:
        check_setting("train", entry.name, entry.value, entry.span)
    return {entry.name: entry.value for entry in entries}
