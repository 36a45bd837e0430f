"""Recipes: how networks are trained, as text: a file of a ``train`` block."""

from __future__ import annotations

from bayesnas.compiler.program.resolve import put_settings
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Findings
from bayesnas.dsl.loader import recipe


def recipe_settings(name: str) -> dict[str, int | float | str]:
    """The settings of a recipe, by its file or its name in the packaged library.

    Raises:
        DiagnosticError: D401 (no such recipe), D402 (unreadable), D113 (it has no ``train`` block),
            D201, D230, D231 (settings, all of them in one go), or the parser's.
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
    settings, findings = dict[str, tree.Setting](), Findings()
    for block in blocks:
        put_settings(settings, block, findings)
    findings.refuse()
    return {name: entry.value for name, entry in settings.items()}
