"""What is wrong with a primitive that is to be registered, in words; empty where nothing is."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import TypeAlias

from bayesnas.compiler.operations.primitives import PRIMITIVES, SAME, Domain
from bayesnas.dsl.words import KEYWORDS

Ends: TypeAlias = tuple[int | None, int | None]


def wrong_name(name: str, cls: type) -> str:
    """Why this cannot be the name of a class's primitive."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None or name in KEYWORDS:
        return f"`{name}` cannot be a name"
    if name in PRIMITIVES and PRIMITIVES[name].module != cls.__module__:
        return f"there is a primitive `{name}` already"
    return ""


def wrong_class(owner: type, *classes: type) -> str:
    """Which class stands where emitted source cannot import it from."""
    for cls in classes:
        if cls.__qualname__ != cls.__name__:
            return f"`{cls.__qualname__}` does not stand at the top of its module"
        if cls.__module__ != owner.__module__:  # the one module that emitted source imports
            return f"`{cls.__qualname__}` does not stand in `{owner.__module__}`"
    return ""


def wrong_parameters(defaults: Mapping[str, int | None], ends: Mapping[str, Ends]) -> str:
    """What is wrong with the parameters of a primitive, or with their domains."""
    for name, default in defaults.items():
        # `channels` is what the class gets first.
        if not name.isidentifier() or name in KEYWORDS or keyword.iskeyword(name):
            return f"`{name}` cannot be a parameter's name"
        if name == "channels":
            return "the parameter `channels` is given by the input"
        if default is not None and type(default) is not int:
            return f"the default of `{name}` is no whole number"
    for name, pair in ends.items():
        if name not in defaults:
            return f"`{name}` of `domains` is no parameter"
        if not _is_range(pair):
            return f"the domain of `{name}` is no pair of whole numbers, least and most"
        default = defaults[name]
        if default is None or (name == "width" and default == SAME):
            continue
        if Domain(*pair).remedy(default):
            return f"the default of `{name}` lies outside its domain"
    return ""


def wrong_traits(**traits: object) -> str:
    """Which trait is no truth value."""
    for name, trait in traits.items():
        if type(trait) is not bool:  # the text "no" would be taken for a yes
            return f"`{name}` is neither True nor False"
    return ""


def _is_range(pair: object) -> bool:
    if not isinstance(pair, tuple) or len(pair) != 2:
        return False
    if any(end is not None and type(end) is not int for end in pair):
        return False
    least, most = pair
    return least is None or most is None or least <= most


def wrong_norm(*classes: type) -> str:
    """Which class is no normalisation over a batch."""
    from torch import nn  # a plugin's module has imported it already

    for cls in classes:
        norms = [norm for norm in (nn.BatchNorm1d, nn.BatchNorm2d) if issubclass(cls, norm)]
        if not any(getattr(cls, "forward", None) is norm.forward for norm in norms):
            return (
                f"`{cls.__name__}` does not normalise: it is no nn.BatchNorm1d or nn.BatchNorm2d "
                "with their own forward pass"
            )
    return ""
