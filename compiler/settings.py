"""What a ``search`` or ``train`` block may set, with defaults and domains.

They stand in the compiler so that a wrong setting is refused with its place in the spec before
anything runs; the runtime reads the same classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar

from attrs import evolve, field, fields_dict, frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Span, quote, suggest


@frozen
class StrategyEntry:
    """What is known of a strategy before anything runs.

    Args:
        place: module and class in `runtime/strategies/`: named, since nothing here imports torch.
        settings: those it uses; another one is refused or noted.
    """

    place: str
    settings: tuple[str, ...]


_TRAINING = (
    "warmup_epochs", "rounds", "epochs", "batch_size", "learning_rate", "momentum",
    "weight_decay", "augment", "class_weights", "recompute", "precision",
)  # fmt: skip
_CURVATURE = ("curvature", "curvature_examples")
_POSTERIOR = (*_TRAINING, *_CURVATURE, "discretize", "draws")
_PUBLISHED = ("gate_learning_rate", "lambda_w", "dependency", "prune_fraction", "compress")

# A strategy is a file in `runtime/strategies/` and a line here.
STRATEGIES: Final[Mapping[str, StrategyEntry]] = {
    "posterior": StrategyEntry(
        "posterior.strategy:Posterior",
        (*_TRAINING, *_CURVATURE, "draws", "operation_drop", "wanted_epochs"),
    ),
    "evidence": StrategyEntry("evidence:Evidence", (*_POSTERIOR, "operation_drop", "compress")),
    "bayesnas": StrategyEntry("bayesnas.published:Published", (*_POSTERIOR, *_PUBLISHED)),
    "random": StrategyEntry("random_members:RandomChoice", (*_TRAINING, "draws")),
    "darts": StrategyEntry("darts:Darts", _TRAINING),
    "magnitude": StrategyEntry("magnitude:Magnitude", (*_TRAINING, "gate_learning_rate")),
    "pgnas": StrategyEntry(
        "pgnas:Pgnas", (*_TRAINING, "gate_learning_rate", "discretize", "draws", "result")
    ),
    "largest": StrategyEntry("largest:Largest", ()),
}
COMPRESSING: Final = "bayesnas"  # searches widths, where no strategy is named
CURVATURES = ("ggn", "ggn_diagonal", "fisher_monte_carlo", "fisher_empirical", "hessian")
WEIGHT_CURVATURES = ("sampled", "exact")  # of `compress`, in each weight
AUGMENTATIONS = ("auto", "none", "flip", "shift", "shift_flip")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = (
    "cosine", "cosine_epoch", "linear", "linear_tail", "exponential", "steps", "constant",
)  # fmt: skip
_OF_SCHEDULES = ("rate_decay", "rate_steps")
PRECISIONS = ("float32", "bfloat16")
POLICIES = ("none", "trivial", "rand")
CLASS_WEIGHTS = ("none", "balanced")
RESULTS = ("scratch", "shared")
COMPRESSED_RESULTS = ("trained", "shared")
_ELSEWHERE: Final = {  # what others call settings
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
}
EPOCHS: Final = r"[0-9]{1,6}( *, *[0-9]{1,6})*"  # as text


def _number(default: float, least: float, most: float, about: str) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "about": about})


def _epochs(about: str) -> Any:
    return field(default="", metadata={"pattern": EPOCHS, "about": about})


def _word(default: str, words: Collection[str], about: str) -> Any:
    return field(default=default, metadata={"words": words, "about": about})


@frozen
class SearchSettings:
    """Settings of ``bayesnas search``; an epoch is a pass over the part that trains weights."""

    strategy: str = _word("posterior", STRATEGIES, "how operations are judged and removed")
    discretize: str = _word("yes", ("yes", "no"), "no: several operations may stay on one edge")
    warmup_epochs: float = _number(10.0, 0, 10_000, "epochs before the first update")
    rounds: int = _number(8, 1, 1000, "updates, each after its training")
    epochs: float = _number(2.0, 0, 10_000, "epochs of training before each update")
    batch_size: int = _number(64, 1, 100_000, "examples a step")
    learning_rate: float = _number(0.05, 1e-8, 100, "of the weights, at the start of a cosine")
    momentum: float = _number(0.9, 0, 0.999, "of the weights")
    weight_decay: float = _number(3e-4, 0, 1, "lambda of (16): times half the squared weights")
    augment: str = _word("auto", AUGMENTATIONS, "augmentation of training images")
    class_weights: str = _word("none", CLASS_WEIGHTS, "balanced: rare classes count like others")
    recompute: str = _word("no", ("yes", "no"), "yes: cells are computed twice, in less memory")
    precision: str = _word("float32", PRECISIONS, "of products and convolutions in training steps")
    curvature: str = _word("ggn", CURVATURES, "how the curvature in the gates is estimated")
    curvature_examples: int = _number(1024, 1, 10**7, "examples the curvature is computed from")
    draws: int = _number(
        0,
        0,
        100_000,
        "members judged at last; 1: none (posterior: 6), 0: 24 (posterior: 40, bayesnas: none)",
    )
    wanted_epochs: int = _number(
        0, 0, 10**6, "of the result's training, all examples; 0: as the train block says"
    )
    operation_drop: float = _number(0.3, 0, 1, "chance to leave an option out of a step")
    gate_learning_rate: float = _number(0.01, 0, 100, "of the architecture weights w")
    result: str = _word("scratch", RESULTS, "shared: the network keeps the weights of the search")
    lambda_w: float = _number(0.01, 1e-9, 1000, "of (16), in units of the mean loss")
    dependency: str = _word("local", ("local", "recursive"), "which gamma expression")
    prune_fraction: float = _number(
        0.25, 0, 1, "largest share of the living operations removed in one round"
    )
    compress: str = _word(
        "no", ("yes", "no"), "yes: widths are searched as well; by bayesnas, unless told otherwise"
    )


@frozen
class TrainSettings:
    """Settings of ``bayesnas train``."""

    epochs: int = _number(60, 1, 100_000, "passes over the training part")
    batch_size: int = _number(64, 1, 100_000, "examples a step")
    optimizer: str = _word("sgd", OPTIMIZERS, "how weights follow gradients")
    learning_rate: float = _number(
        0.05, 1e-8, 100, "the highest of the schedule; adamw wants 0.001"
    )
    schedule: str = _word("cosine", SCHEDULES, "of the learning rate: cosine and linear end at 0")
    rate_decay: float = _number(
        0.97, 1e-6, 1, "factor of the rate: an epoch of `exponential`, a step of `steps`"
    )
    rate_steps: str = _epochs("epochs after which `steps` lowers the rate, such as 30,60")
    warmup_epochs: int = _number(0, 0, 100_000, "in which the learning rate rises to its highest")
    momentum: float = _number(0.9, 0, 0.999, "of SGD; of AdamW the first beta")
    nesterov: str = _word("yes", ("yes", "no"), "the form of SGD's momentum")
    weight_decay: float = _number(3e-4, 0, 1, "times half the squared weights")
    decay_norms: str = _word("yes", ("yes", "no"), "no: no decay on normalisations and biases")
    gradient_clip: float = _number(5.0, 0, 1e9, "largest gradient norm; 0 is none")
    accumulate: int = _number(1, 1, 10_000, "batches whose gradients make one step")
    average: float = _number(0.0, 0, 0.99999, "decay a step of a running mean of weights; 0: none")
    drop_path: float = _number(0.0, 0, 0.95, "chance to drop an operation of a sum, at the end")
    augment: str = _word("auto", AUGMENTATIONS, "augmentation of training images")
    crop: float = _number(1.0, 0.01, 1, "least share of an image that is cut out and enlarged")
    policy: str = _word("none", POLICIES, "TrivialAugmentWide or RandAugment of images of bytes")
    rotate: float = _number(0.0, 0, 180, "degrees that an image is turned by at most")
    color_jitter: float = _number(0.0, 0, 1, "of brightness, contrast, saturation; hue half of it")
    cutout: int = _number(0, 0, 10_000, "side of a square that is blanked, pixels")
    erase: float = _number(0.0, 0, 1, "chance that a random rectangle is blanked")
    mixup: float = _number(0.0, 0, 100, "alpha of the mixtures of examples; 0: none")
    cutmix: float = _number(0.0, 0, 100, "alpha of rectangles of other images; 0: none")
    label_smoothing: float = _number(0.0, 0, 0.999, "share of a label spread over all classes")
    class_weights: str = _word("none", CLASS_WEIGHTS, "balanced: rare classes count like others")
    holdout: float = _number(0.0, 0, 0.9, "share of the training part that is held out and watched")
    keep: str = _word("last", ("last", "best"), "best: the weights that were best on the held-out")
    carry_state: str = _word(
        "no",
        ("yes", "no"),
        "yes: scans of a text go on from window to window, in training and tests",
    )
    precision: str = _word("float32", PRECISIONS, "of products and convolutions in training steps")


@frozen
class CompressSettings(TrainSettings):
    """Settings of ``bayesnas compress``: of the training on, and of what is learned of channels."""

    lambda_w: float = _number(
        0.0, 0, 1000, "strength of the penalty of `bayesnas`; 0: as the budget asks"
    )
    draws: int = _number(
        0, 0, 100_000, "masks that `pgnas` draws and judges on held-out examples; 0: 24"
    )
    curvature: str = _word(
        "sampled", WEIGHT_CURVATURES, "how `bayesnas` takes that of the loss in each weight"
    )
    result: str = _word(
        "trained", COMPRESSED_RESULTS, "shared: nothing is trained on after the removal"
    )


S = TypeVar("S", SearchSettings, TrainSettings, CompressSettings)
KINDS: Mapping[str, type[SearchSettings] | type[TrainSettings]] = {
    "search": SearchSettings,
    "train": TrainSettings,
}
# What `--option` of a command sets; a spec has blocks of the first two.
OPTIONS: Mapping[str, type[SearchSettings] | type[TrainSettings]] = {
    **KINDS,
    "compress": CompressSettings,
}


def check_setting(kind: str, name: str, value: int | float | str, span: Span | None) -> None:
    """Refuse an unknown setting or a value outside its domain.

    Raises:
        DiagnosticError: D230 (unknown name), D231 (value).
    """
    settings = fields_dict(OPTIONS[kind])
    if name not in settings:
        raise DiagnosticError(
            Diagnostic(
                "D230",
                f"unknown {kind} setting `{name}`",
                span,
                notes=(f"{kind} settings are {quote(settings)}",),
                help=_meant(name, settings),
            )
        )
    meta = settings[name].metadata
    whole = isinstance(settings[name].default, int)
    if "words" in meta:
        if value not in meta["words"]:
            remedy = suggest(str(value), meta["words"], f"write {quote(meta['words'], 'or')}")
            raise _bad_value(name, value, span, remedy)
        return
    if "pattern" in meta:
        if not re.fullmatch(meta["pattern"], str(value)) or not _rise(epochs_of(str(value))):
            remedy = f'write rising epochs, as in `{name} = "30, 60"`'
            raise _bad_value(name, value, span, remedy)
        return
    domain = f"a {'whole ' if whole else ''}number from {meta['least']} to {meta['most']}"
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        raise _bad_value(name, f'"{value}"', span, f"remove the quotes: `{name} = {value}`")
    fraction = isinstance(value, float) and not value.is_integer()
    if not isinstance(value, int | float) or (whole and fraction):
        raise _bad_value(name, value, span, f"write {domain}")
    if not meta["least"] <= value <= meta["most"]:
        raise _bad_value(name, value, span, f"write {domain}")


def epochs_of(text: str) -> tuple[int, ...]:
    """The epochs of a setting such as `rate_steps`; none of the empty text."""
    return tuple(int(number) for number in text.split(",") if number)


def shortened(settings: TrainSettings, epochs: int) -> TrainSettings:
    """Those of a part of a training, whose rate falls at the same shares of its epochs."""
    share = epochs / settings.epochs
    steps = (max(1, round(step * share)) for step in epochs_of(settings.rate_steps))
    return evolve(settings, epochs=epochs, rate_steps=", ".join(map(str, steps)))


def _meant(name: str, settings: Collection[str]) -> str:
    """The help line for an unknown setting."""
    if name == "seed":
        return "a seed is no setting: give it on the command line, `--seed 1`"
    alias = _ELSEWHERE.get(name)
    if alias in settings:
        return f"did you mean `{alias}`?"
    return suggest(name, settings, "use one of the settings above")


def _rise(numbers: Sequence[int]) -> bool:
    """Whether each number is above the one before it, the first above 0."""
    return all(a < b for a, b in pairwise((0, *numbers)))


def _bad_value(
    name: str, value: int | float | str, span: Span | None, remedy: str
) -> DiagnosticError:
    return DiagnosticError(
        Diagnostic("D231", f"invalid value `{value}` of `{name}`", span, help=remedy)
    )


def check_training(settings: TrainSettings) -> None:
    """Refuse settings of a training that do nothing by what the others say.

    Raises:
        DiagnosticError: D232.
    """
    schedule = settings.schedule
    decayed = settings.rate_decay != TrainSettings().rate_decay
    idle = (
        (
            "`keep = best`",
            settings.keep == "best" and not settings.holdout,
            "hold examples out to judge by: `holdout = 0.1`",
        ),
        (
            "`rate_decay`",
            decayed and schedule not in ("exponential", "steps"),
            "write `schedule = exponential`, or `steps`",
        ),
        (
            "`rate_steps`",
            settings.rate_steps and schedule != "steps",
            "write `schedule = steps`",
        ),
        (
            "`schedule = steps`",
            schedule == "steps" and not settings.rate_steps,
            'say when and how far: `rate_steps = "30, 60"`, `rate_decay = 0.1`',
        ),
    )
    found = [
        Diagnostic("D232", f"{name} does nothing here", help=remedy)
        for name, nothing, remedy in idle
        if nothing
    ]
    if found:
        raise DiagnosticError(*found)


def users(name: str) -> tuple[str, ...]:
    """The strategies that use a search setting."""
    return tuple(
        strategy
        for strategy, entry in STRATEGIES.items()
        if name == "strategy" or name in entry.settings
    )


def unused_settings(names: Iterable[str], strategies: Collection[str]) -> tuple[str, ...]:
    """Of known search settings, those that none of these strategies uses."""
    return tuple(name for name in names if not {*users(name)} & {*strategies})


def check_use(names: Iterable[str], strategies: Collection[str]) -> None:
    """Refuse search settings that were asked for and do nothing.

    Args:
        names: of known settings.
        strategies: those that will run.

    Raises:
        DiagnosticError: D232, once a setting that none of them uses.
    """
    unused = unused_settings(names, strategies)
    if not unused:
        return
    said = f"{quote(strategies)} {'do' if len(strategies) > 1 else 'does'} not use"
    raise DiagnosticError(
        *(
            Diagnostic(
                "D232",
                f"{said} the setting `{name}`",
                help=f"leave it out, or search by {quote(users(name), 'or')}",
            )
            for name in unused
        )
    )


def searches_widths(settings: SearchSettings) -> bool:
    """Whether the strategy is asked to, and can."""
    return settings.compress == "yes" and settings.strategy in users("compress")


def completed(values: Mapping[str, int | float | str]) -> dict[str, int | float | str]:
    """Settings of a search with the strategy that they ask for, where they name none."""
    by = {"strategy": COMPRESSING} if values.get("compress") == "yes" else {}
    return {**by, **values}


def layered(*layers: Mapping[str, int | float | str]) -> dict[str, int | float | str]:
    """Settings of later layers over those of earlier ones.

    Another schedule leaves behind what belonged to the one before.
    """
    result: dict[str, int | float | str] = {}
    for layer in layers:
        for name in outdated(result.get("schedule"), layer.get("schedule")):
            result.pop(name, None)
        result |= layer
    return result


def outdated(before: int | float | str | None, after: int | float | str | None) -> tuple[str, ...]:
    """The settings that belonged to a schedule, where another one is named after it."""
    return () if after in (None, before) else _OF_SCHEDULES


def make_settings(cls: type[S], values: Mapping[str, int | float | str]) -> S:
    """Settings of checked values, each in its field's type; the rest are defaults."""
    kinds: dict[str, Any] = {name: type(f.default) for name, f in fields_dict(cls).items()}
    make: Callable[..., S] = cls
    return make(**{name: kinds[name](value) for name, value in values.items()})
