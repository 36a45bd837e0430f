"""Specs in colours, where Pygments is installed."""

from __future__ import annotations


def coloured(text: str) -> str:
    """A spec as markup whose classes `style` describes; the empty text without Pygments."""
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter

        from bayesnas.dsl.highlighting import NasLexer
    except ModuleNotFoundError:
        return ""
    return str(highlight(text, NasLexer(), HtmlFormatter(nowrap=True)))


def style() -> str:
    """Rules for these classes on white and on black."""
    try:
        from pygments.formatters import HtmlFormatter
    except ModuleNotFoundError:
        return ""
    light, dark = (
        HtmlFormatter(style=name, nobackground=True).get_style_defs(".code")  # type: ignore[no-untyped-call]
        for name in ("default", "github-dark")
    )
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"
