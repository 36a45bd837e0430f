"""Primitives of one's own, written in Python and registered by a decorator.

A spec never names Python: whoever runs the compiler names the modules to load (``--plugin``).
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from attrs import frozen

from bayesnas.compiler.operations.coupling import Coupling
from bayesnas.compiler.operations.coupling import channelwise as by_channel
from bayesnas.compiler.operations.layers import Layer, Texts
from bayesnas.compiler.operations.plugin_checks import (
    Ends,
    wrong_class,
    wrong_name,
    wrong_norm,
    wrong_parameters,
    wrong_traits,
)
from bayesnas.compiler.operations.primitives import (
    PRIMITIVES,
    Arguments,
    Domain,
    Primitive,
    Shape,
    ShapeError,
)
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError

Module = TypeVar("Module", bound=type)

_ANY_COUNT: Final = (0, None)
_EMITTED: Final = ("network", "supernet")  # modules that runs write, and that import plugins
_OTHERS: Final[set[str]] = set()  # modules that have registered no primitive


class ShapeRule(Protocol):
    """Output shape without the batch, from the input's and the arguments by name."""

    def __call__(self, shape: Shape, /, **arguments: int) -> Shape:
        """The rule."""


class FlopRule(Protocol):
    """Multiply-accumulates of one example, from both shapes and the arguments by name."""

    def __call__(self, shape: Shape, output: Shape, /, **arguments: int) -> int:
        """The rule."""


def primitive(
    name: str,
    *,
    shape: ShapeRule,
    flops: FlopRule,
    parameters: Mapping[str, int | None] | None = None,
    summary: str = "",
    domains: Mapping[str, Ends] | None = None,
    pure: bool = False,
    channelwise: bool = False,
    normalises: bool = False,
    overwritable: bool = False,
    in_place: type | None = None,
    fast: type | None = None,
    indices: bool | None = None,
) -> Callable[[Module], Module]:
    """Register a class of modules as a primitive of the language.

    The class is made as ``Class(channels, **arguments)``: the channels (or features) that come in,
    and the whole-number arguments of the spec by name. Trainable numbers are counted on it, and the
    shape rule is checked against what it returns, both without memory for the numbers.

    Args:
        name: as written in specs.
        shape: the output's shape; raises `ShapeError` for an input it refuses.
        flops: multiply-accumulates of one example, as the field counts them.
        parameters: defaults by name; None where a value is required.
        summary: one line for the reference.
        domains: least and most number of a parameter, None for no end; 0 and more where not said.
        pure: same tensor in, same tensor out: no parameters, no buffers, no chance. It may run
            once for several readers.
        channelwise: each channel that goes out is made of the same one that comes in, and whatever
            parameters and buffers have axes have the channels as their first. Channels of it can
            be removed, as the class is made for any number of them.
        normalises: the class is one of PyTorch's batch normalisations with its forward pass; a
            gate is multiplied into its scale.
        overwritable: it needs nothing of its output for its backward pass, so that what follows
            may write over it.
        in_place: a class made alike whose module writes over its input; it runs after primitives
            that are overwritable.
        fast: a class made alike, with the same parameters and the same function, that runs
            in scheduled networks.
        indices: it looks up what it is given: whole numbers that name something, such as words.
            Where it reads the network's input, they stay as they are. None is found out: whether
            an example reaches an ``nn.Embedding`` of the class.

    Raises:
        DiagnosticError: D433 (the name is taken or no name, a class is not at the top of its
            module, a default is no whole number, a domain or trait does not fit).
    """

    def register(cls: Module) -> Module:
        defaults = dict(parameters or {})
        ends = {**dict.fromkeys(defaults, _ANY_COUNT), **(domains or {})}
        forms = [form for form in (in_place, fast) if form is not None]
        reason = (
            wrong_name(name, cls)
            or wrong_class(cls, cls, *forms)
            or wrong_parameters(defaults, ends)
            or wrong_traits(
                pure=pure,
                channelwise=channelwise,
                normalises=normalises,
                overwritable=overwritable,
                indices=False if indices is None else indices,
            )
            or (wrong_norm(cls, *forms) if normalises else "")
        )
        if reason:
            message = f"cannot register `{name}`: {reason}"
            remedy = "see docs/language.md, `Primitives from Python`"
            raise DiagnosticError(Diagnostic("D433", message, help=remedy))
        made = _Made(cls, pure, channelwise)
        fast_layer = None if fast is None else _layer(fast)
        PRIMITIVES[name] = Primitive(
            name,
            defaults,
            made.checked(name, shape),
            _layer(cls),
            made.weights,
            lambda source, target, arguments: _flops(name, flops, source, target, arguments),
            module=cls.__module__,
            summary=summary or (inspect.getdoc(cls) or name).splitlines()[0],
            domains={parameter: Domain(*pair) for parameter, pair in ends.items()},
            pure=pure,
            normalises=normalises,
            overwritable=overwritable,
            in_place=None if in_place is None else _layer(in_place),
            fast=lambda _numbers, _rank: fast_layer,
            coupling=made.coupling if channelwise else None,
            indices=made.looks_up if indices is None else lambda _shape, _arguments: indices,
        )
        return cls

    return register


def load_plugin(name: str) -> None:
    """Import a module that registers something, from the working directory or the path.

    Raises:
        DiagnosticError: D432 (no such module, it fails, it registers nothing, or is called like
            what runs write).
    """
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name) is None or name.endswith(".py"):
        stem = Path(name).stem
        remedy = f"write the module's name: `--plugin {stem if stem.isidentifier() else 'my_ops'}`"
        raise DiagnosticError(Diagnostic("D432", f"`{name}` is no module", help=remedy))
    if (top := name.partition(".")[0]) in _EMITTED:
        remedy = f"rename it: trained networks and supernets are `{top}.py` in their folders"
        message = f"a plugin cannot be called `{name}`"
        raise DiagnosticError(Diagnostic("D432", message, help=remedy))
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        importlib.import_module(name)
    except DiagnosticError:
        raise
    except (Exception, SystemExit) as error:  # what a user's module does wrong is theirs to read
        raise DiagnosticError(_not_imported(name, error)) from None
    if name not in loaded_plugins():
        remedy = (
            "decorate its modules with `@bayesnas.primitive(...)`, or a function that loads data "
            "with `@bayesnas.data_source(...)`"
        )
        message = f"the plugin `{name}` registers nothing"
        raise DiagnosticError(Diagnostic("D432", message, help=remedy))


def _not_imported(name: str, error: BaseException) -> Diagnostic:
    notes = [f"{type(error).__name__}: {error}"]
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        remedy = "check the name; it is looked up in the working directory and on PYTHONPATH"
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = (last.filename, last.lineno)
        if isinstance(error, SyntaxError) and error.filename:
            place = (error.filename, error.lineno)
        notes.append(f"at {place[0]}:{place[1]}")
        remedy = "mend the module; `python -c 'import ...'` shows the same"
    message = f"cannot import the plugin `{name}`"
    return Diagnostic("D432", message, notes=tuple(notes), help=remedy.replace("...", name))


def note_plugin(module: str) -> None:
    """A module has registered something else than a primitive."""
    _OTHERS.add(module)


def loaded_plugins() -> list[str]:
    """Names of the modules that have registered something."""
    return sorted({p.module for p in PRIMITIVES.values() if p.module} | _OTHERS)


def plugin_source(name: str) -> str:
    """The text of a loaded module's file; empty where it has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file).read_text("utf-8", "surrogateescape") if file else ""


def _layer(cls: type) -> Layer:
    return Layer(lambda texts, _rank: _source(cls, texts))


def _source(cls: type, texts: Texts) -> str:
    arguments = [text if name == "channels" else f"{name}={text}" for name, text in texts.items()]
    return f"{cls.__module__}.{cls.__name__}({', '.join(arguments)})"


def _flops(name: str, rule: FlopRule, source: Shape, target: Shape, arguments: Arguments) -> int:
    try:
        flops = int(rule(source, target, **arguments))
    except Exception as error:
        message = f"the FLOP rule of `{name}` fails: {type(error).__name__}: {error}"
        raise DiagnosticError(Diagnostic("D433", message, help="mend the plugin")) from None
    if flops < 0:
        message = f"the FLOP rule of `{name}` says {flops:,} for {list(source)}"
        raise DiagnosticError(Diagnostic("D433", message, help="mend the plugin: 0 or more"))
    return flops


@frozen
class _Facts:
    """What a module makes of an input, and what it holds: ``tensors`` are those with axes."""

    shape: Shape
    weights: int
    looks_up: bool
    tensors: tuple[str, ...]


class _Made:
    """What a class of modules makes of an input, found out on tensors without memory."""

    def __init__(self, cls: type, pure: bool, channelwise: bool) -> None:
        self.cls = cls
        self.pure = pure
        self.channelwise = channelwise
        self.run = cache(self._run)

    def checked(self, name: str, rule: ShapeRule) -> Callable[[Shape, Arguments], Shape]:
        """The shape rule, compared with what the module returns."""

        def shape(source: Shape, arguments: Arguments) -> Shape:
            try:
                declared = tuple(int(size) for size in rule(source, **arguments))
                returned = self.run(source, tuple(arguments.items())).shape
            except ShapeError:
                raise
            except Exception as error:
                reason = f"`{name}` fails on {list(source)}: {type(error).__name__}: {error}"
                raise ShapeError(reason.splitlines()[0], "mend the plugin, or its input") from None
            if declared != returned:
                message = (
                    f"the shape rule of `{name}` says {list(declared)}, and its module returns "
                    f"{list(returned)}"
                )
                raise ShapeError(message, "mend the plugin")
            return declared

        return shape

    def weights(self, source: Shape, arguments: Arguments) -> int:
        """How many trainable numbers the module has."""
        return self.run(source, tuple(arguments.items())).weights

    def looks_up(self, source: Shape, arguments: Arguments) -> bool:
        """Whether a table in it is asked for something of each example."""
        return self.run(source, tuple(arguments.items())).looks_up

    def coupling(self, source: Shape, arguments: Arguments) -> Coupling:
        """How the channels of a class that is channelwise hang together."""
        return by_channel(source[0], *self.run(source, tuple(arguments.items())).tensors)

    def _run(self, source: Shape, arguments: tuple[tuple[str, int], ...]) -> _Facts:
        import torch  # a plugin's module has imported it already
        from torch import nn

        asked: list[Shape] = []

        def note(_table: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            asked.append(tuple((*given, *named.values())[0].shape))

        with torch.device("meta"), torch.no_grad():
            module: Any = self.cls(source[0], **dict(arguments))
            if self.pure and module.state_dict():
                message = f"`{self.cls.__name__}` is said to be pure and holds numbers of its own"
                raise ShapeError(message, "leave `pure` out of its registration")
            for inner in module.modules():
                if isinstance(inner, (nn.Embedding, nn.EmbeddingBag)):
                    inner.register_forward_pre_hook(note, with_kwargs=True)
            if any(nn.parameter.is_lazy(p) for p in (*module.parameters(), *module.buffers())):
                message = f"`{self.cls.__name__}` leaves sizes to the first input that it sees"
                raise ShapeError(message, "make its modules of `channels` instead of lazy ones")
            given = torch.empty(2, *source)
            before = given._version
            output = module(given)
            if given._version != before:
                message = f"`{self.cls.__name__}` writes over its input, which others may read"
                raise ShapeError(message, "leave it as it is: `nn.ReLU()` without `inplace=True`")
        tensors = {name: t.shape for name, t in module.state_dict().items() if t.dim()}
        if self.channelwise:
            _check_channelwise(self.cls, source[0], {**tensors, "output": output.shape[1:]})
        count = sum(prod(p.shape) for p in module.parameters() if p.requires_grad)
        # A table of positions is asked for the same by all examples, without their axis of 2.
        looks_up = any(shape[:1] == (2,) for shape in asked)
        return _Facts(tuple(output.shape[1:]), count, looks_up, tuple(tensors))


def _check_channelwise(cls: type, channels: int, shapes: Mapping[str, Sequence[int]]) -> None:
    for name, shape in shapes.items():
        if shape[0] != channels:
            message = (
                f"`{cls.__name__}` is said to be channelwise, and its {name} is {list(shape)} for "
                f"{channels} channels"
            )
            raise ShapeError(message, "leave `channelwise` out of its registration")
