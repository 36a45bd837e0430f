"""Names in emitted source: legal, unlike what it uses itself, each once."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from typing import Final

from bayesnas.compiler.emit.helpers import helper_names

# Names that emitted source uses itself.
TAKEN: Final = helper_names() | {
    "self", "gates", "torch", "nn", "super", "outputs", "bool", "enumerate", "range", "zip", "_",
}  # fmt: skip
# Names that modules and their dictionaries keep for themselves, and those of our buffers.
RESERVED: Final = frozenset({
    "T_destination", "add_module", "append", "apply", "bfloat16", "buffers", "call_super_init",
    "candidates", "children", "clear", "compile", "cpu", "cuda", "double", "dump_patches",
    "eval", "extend", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "input_mean", "input_std", "insert", "ipu", "items",
    "keys",
    "load_state_dict", "modules", "mtia", "named_buffers", "named_children", "named_modules",
    "named_parameters", "parameters", "pop", "pruned", "register_backward_hook",
    "register_buffer", "register_forward_hook", "register_forward_pre_hook",
    "register_full_backward_hook", "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook", "register_module",
    "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to",
    "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad",
})  # fmt: skip


def identifier(name: str) -> str:
    """A Python name for a node, operation or instance: ``h[0]`` is ``h_0``."""
    result = re.sub(r"\W+", "_", name.replace("]", ""))
    if not result[:1].isalpha():  # a leading underscore means something to Python
        result = f"n{result}"
    return _legal(result)


def _legal(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) or name in TAKEN else name


def camel(name: str) -> str:
    """A class's name for a motif: ``dense_block`` is ``DenseBlock``."""
    parts = identifier(name).split("_")
    return _legal("".join(part[:1].upper() + part[1:] for part in parts))


def unique(name: str, taken: Iterable[str], separator: str = "_") -> str:
    """The name, or the first of ``name_2``, ``name_3``, ... that is not taken."""
    result, count = name, 1
    while result in taken:
        count += 1
        result = f"{name}{separator}{count}"
    return result
