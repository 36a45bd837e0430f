"""Hypothesis strategies, in one place for every law.

`specs` draws arbitrary syntax trees, sensible or not: for the laws of printing and parsing.
`spaces` draws the text of a valid search space: motifs inside motifs, tied or passed to each other,
chains that reduce, scans, budgets, objectives; its networks read images, series or vectors, one or
two of them, and say one thing or two.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from hypothesis import strategies as st
from support import KEYWORDS

from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Source, Span

# ------------------------------------------------------------------------------ syntax trees

SPAN = Span(Source("drawn", ""), 1, 1, 1, 1)

names = st.sampled_from(["a", "b", "h", "conv", "k", "width", "ifs", "in_", "_", "X1"]) | (
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
        lambda name: name not in KEYWORDS
    )
)
texts = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters='"'), max_size=12)


def _some(items: st.SearchStrategy, most: int = 3, least: int = 1) -> st.SearchStrategy:
    return st.lists(items, min_size=least, max_size=most).map(tuple)


def _recursive(base: st.SearchStrategy, extend: Callable, leaves: int) -> st.SearchStrategy:
    # Deferred, because hypothesis warns of strategies whose repr is long.
    strategy = st.recursive(base, extend, max_leaves=leaves)
    return st.deferred(lambda: strategy)


def _node(cls: type, *fields: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(cls, *fields, span=st.just(SPAN))


_numbers = _node(tree.Number, st.integers(0, 3) | st.integers(0, 10**15))
_binary = ["+", "-", "*", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"]
expressions = _recursive(
    _numbers | _node(tree.Name, names),
    lambda inner: (
        _node(tree.Unary, st.sampled_from(["-", "not"]), inner)
        | _node(tree.Binary, st.sampled_from(_binary), inner, inner)
    ),
    6,
)
arguments = _node(tree.Argument, st.none() | names, expressions)
terms = _recursive(
    _node(tree.Call, names, _some(arguments, 2, 0)),
    lambda inner: (
        _node(tree.Pipeline, _some(inner, 3, 2))
        | _node(tree.Parallel, _some(inner, 3, 2))
        | _node(tree.Alternatives, _some(inner, 3, 2))
        | _node(tree.Conditional, expressions, inner, inner)
    ),
    6,
)

_bounds = st.none() | expressions
_indices = st.none() | _node(tree.Index, expressions) | _node(tree.Slice, _bounds, _bounds)
references = st.deferred(lambda: _node(tree.Reference, names, _indices))
_declared = _node(tree.Declared, names, st.none() | expressions)
_ties = st.none() | _node(tree.Tie, st.none() | expressions) | _node(tree.Share)
_amounts = _node(
    tree.Amount, st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4})?([KMG]| (us|ms|s))", fullmatch=True)
)
_simple_statements = st.one_of(
    _node(tree.NodeDeclaration, _some(_declared)),
    _node(
        tree.Merge,
        references,
        st.sampled_from(["sum", "concat", "product"]),
        _some(references, 3, 0),
    ),
    _node(tree.Transform, references, references, terms),
    _node(tree.Connect, _some(references), _some(references), st.booleans(), st.none() | terms),
    _node(
        tree.Instantiation,
        _some(references),
        names,
        _some(references),
        _some(arguments, 2, 0),
        _ties,
    ),
    _node(
        tree.Scan,
        _some(references),
        names,
        _some(references),
        _some(arguments, 2, 0),
        _some(references),
        _ties,
    ),
    _node(
        tree.Chain,
        _some(references),
        names,
        _some(references),
        _some(arguments, 2, 0),
        expressions,
        _some(expressions, 2, 0),
        _ties,
    ),
    _node(tree.Retain, expressions, _some(references)),
    _node(tree.Budget, names, expressions | _amounts),
)
statements = _recursive(
    _simple_statements,
    lambda inner: (
        _node(tree.Loop, names, expressions, expressions, _some(inner, 3, 0))
        | _node(tree.Branch, expressions, _some(inner, 3, 0), _some(inner, 3, 0))
    ),
    4,
)

_parameters = _some(_node(tree.Parameter, names, st.none() | expressions), 2, 0)
_ports = _some(_node(tree.Port, names, st.none()), 2)
_shaped_ports = _some(_node(tree.Port, names, _some(expressions)), 2)
_body = _some(statements, 3, 0)
_motif_parameters = _some(
    _node(tree.Parameter, names, st.none() | expressions)
    | _node(tree.MotifParameter, names, st.none() | names),
    3,
    0,
)
_numbers = st.integers(0, 10**9) | st.floats(allow_nan=False, allow_infinity=False)
_values = (
    _numbers
    | st.sampled_from(["bayesnas", "shift_flip", "", "a b", "3", "x#y", "{"])
    | texts.filter(lambda text: text not in KEYWORDS)
)
_settings = _node(tree.Setting, names, _values)
definitions = st.one_of(
    _node(tree.Import, texts),
    _node(tree.OperationDefinition, names, _parameters, terms),
    _node(tree.ChoiceDefinition, names, _parameters, terms),
    _node(tree.Motif, names, _ports, _motif_parameters, _ports, _body),
    _node(tree.Network, names, _shaped_ports, _motif_parameters, _shaped_ports, _body),
    _node(
        tree.Settings,
        st.sampled_from(["search", "train"]),
        _some(_settings, 3, 0),
    ),
    _node(
        tree.Learn,
        _some(
            _node(tree.Objective, names, names, _some(_settings, 2, 0), st.none() | _numbers), 3, 0
        ),
    ),
)
specs = _node(tree.Spec, _some(definitions, 3, 0))


# ------------------------------------------------------------------------------ search spaces


@frozen
class _Data:
    """What a network reads, and the operations that keep its shape where it has `width` channels.

    ``align`` brings channels to `width`, and the resolution down by a stride.
    """

    shape: str
    same: tuple[str, ...]
    align: str
    last: str
    choice: str = "two"

    def definition(self) -> str:
        """The choice of that name."""
        first, second, *_ = self.same
        return f"choice {self.choice}(width) = {first} | {second} >> bn | skip"


_MAP_OPERATIONS = (
    "conv(1)",
    "conv(3)",
    "max_pool(3)",
    "skip",
    "relu >> conv(3) >> bn",
    "conv(1) + skip",
    "conv(1, expand = 2) >> conv(1, width)",
    "pad_channels(2 * width) >> conv(3, width)",
    "layer_norm >> channel_shuffle(2) >> depthwise_conv(3, bias = 1) >> layer_scale(1)",
    "chunk(1) >> conv(1, width)",
    "if width > 4 then conv(3) else skip",
)
_VECTOR_OPERATIONS = (
    "linear(width)",
    "bn",
    "tanh",
    "skip",
    "relu >> linear(width) >> bn",
    "linear(width) + skip",
    "linear(2 * width) >> linear(width)",
    "dropout(20)",
    "if width > 4 then linear(width) else skip",
)
_IMAGE = _Data("[4, 8, 8]", _MAP_OPERATIONS, "conv(1, width, {})", "global_avg_pool >> linear(3)")
_SERIES = _Data("[4, 8]", _MAP_OPERATIONS, "conv(1, width, {})", "global_avg_pool >> linear(3)")
_VECTOR = _Data("[4]", _VECTOR_OPERATIONS, "linear(width)", "linear(3)", "pair")


@frozen
class _MotifText:
    name: str
    inputs: int
    outputs: int
    text: str
    passed: tuple[str, ...] = ()  # what may be given as `part`; none: it takes no motif


@st.composite
def _flows(
    draw: st.DrawFn,
    data: _Data,
    start: list[str],
    motifs: list[_MotifText],
    most: int,
    turn: _MotifText | None = None,
) -> tuple[list[str], list[str]]:
    """Statements that read the nodes of ``start``, and the nodes that nothing reads yet.

    ``turn`` is a motif that series may be scanned by.
    """
    lines: list[str] = []
    nodes, unread = list(start), list(start)

    def pick(count: int) -> list[str]:
        # The newest nodes, so that graphs grow deep; what stays unread is joined at the end.
        chosen = draw(st.lists(st.sampled_from(nodes[-3:]), min_size=count, max_size=count))
        unread[:] = [n for n in unread if n not in chosen]
        return chosen

    def add(made: list[str], *statements: str) -> None:
        lines.extend(statements)
        nodes.extend(made)
        unread.extend(made)

    for step in range(draw(st.integers(1, most))):
        kinds = ["list", "fixed", "searched", "searched", "merge", "concat"]
        kinds += ["instance"] * 2 * bool(motifs) + ["weighed"] * (data is not _VECTOR)
        kinds += ["recurrent"] * 3 * bool(turn)
        kind = draw(st.sampled_from(kinds))
        name = f"{kind[0]}{step}"
        if kind == "list":
            size = draw(st.integers(1, 3))
            read = ", ".join([*dict.fromkeys(pick(2)), f"{name}[..k]"])
            searched = f"{{{read}}} ~> {name}[k] : {draw(_candidates(data))}"
            loop = f"for k in 0..{size} {{ {searched} }}"
            retain = f"retain {draw(st.integers(1, 2))} into {name}"
            add([f"{name}[{size - 1}]"], f"node {name}[{size}]", loop, retain)
        elif kind == "fixed":
            add([name], f"{name} = {pick(1)[0]} : {draw(st.sampled_from(data.same))}")
        elif kind == "searched":
            merge = draw(st.sampled_from([f"node {name}", f"{name} = product()"]))
            edges = [f"{source} ~> {name} : {draw(_candidates(data))}" for source in pick(2)]
            add([name], merge, *edges)
        elif kind == "merge":
            merge = draw(st.sampled_from(["sum", "product"]))
            add([name], f"{name} = {merge}({', '.join(pick(draw(st.integers(1, 3))))})")
        elif kind == "weighed":  # a map by a number per channel
            [one, other] = pick(2)
            mean = f"{name}_mean = {one} : global_avg_pool"
            add([name], mean, f"{name} = product({name}_mean, {other})")
        elif kind == "recurrent" and turn is not None:
            states = draw(st.integers(1, min(turn.inputs - 1, turn.outputs)))
            read = pick(turn.inputs - states)
            if len(read) > 1 and draw(st.booleans()):
                add([], f"{name}_mean = {read[1]} : global_avg_pool >> linear(width)")
                read[1] = f"{name}_mean"
            starts = ", ".join([f"{name}_start"] * states)
            made = [f"{name}_{k}" for k in range(turn.outputs)]
            call = f"scan turn({', '.join(read)}; width = width) from {starts}"
            zeros = f"{name}_start = {pick(1)[0]} : zeros(width)"
            add([], zeros, f"{', '.join(made)} = {draw(st.sampled_from(['', *_TIES]))}{call}")
            joined = f"{name}_all = sum({', '.join(made)})"
            add([name], joined, f"{name} = {name}_all : conv(1, width)")
        elif kind == "concat":
            wide = f"{name}_wide = concat({', '.join(pick(2))})"
            add([name], wide, f"{name} = {name}_wide : {data.align.format(1)}")
        else:
            motif = draw(st.sampled_from(motifs))
            made = [f"{name}_{k}" for k in range(motif.outputs)]
            call = draw(_calls(motif, pick(motif.inputs)))
            add(made, f"{', '.join(made)} = {call}")
    return lines, unread


@st.composite
def _candidates(draw: st.DrawFn, data: _Data) -> str:
    plain = [operation for operation in data.same if not operation.startswith("if")]
    options = draw(st.lists(st.sampled_from(plain), min_size=1, max_size=3))
    return draw(st.sampled_from([f"{data.choice}(width)", " | ".join(options)]))


_TIES = ("tied ", "shared ")
_TURNS = [_MotifText("", 2, 1, ""), _MotifText("", 2, 2, ""), _MotifText("", 3, 3, "")]


@st.composite
def _calls(draw: st.DrawFn, motif: _MotifText, inputs: list[str], chain: str = "") -> str:
    """An instance of a motif or a chain of it, perhaps tied, perhaps given another motif."""
    tied = draw(st.sampled_from(["", "", *_TIES, *(() if chain else ("tied(1) ", "tied(2) "))]))
    arguments = ["width = width"]
    if motif.passed and tied != "shared " and draw(st.booleans()):
        arguments.append(f"part = {draw(st.sampled_from(motif.passed))}")
    return f"{tied}{chain}{motif.name}({', '.join(inputs)}; {', '.join(arguments)})"


@st.composite
def _motif_texts(
    draw: st.DrawFn, data: _Data, name: str, motifs: list[_MotifText], like: _MotifText | None
) -> _MotifText:
    """A motif that takes part in reducing chains: its inputs are brought to `width` and stride.

    It has as many inputs and outputs as ``like``. One that makes instances of others may take any
    motif alike as its `part`.
    """
    inputs = like.inputs if like else draw(st.integers(1, 3))
    outputs = like.outputs if like else draw(st.sampled_from(sorted({1, inputs})))
    ports = [f"p{k}" for k in range(inputs)]
    # In a chain of one output the inputs are states, the oldest first: only it may lag behind.
    lags = ["stride * lag"] + ["stride"] * (inputs - 1) if outputs == 1 else ["stride"] * inputs
    aligned = [f"i{k} = p{k} : {data.align.format(lag)}" for k, lag in enumerate(lags)]
    passed = tuple(motif.name for motif in motifs) if motifs and draw(st.booleans()) else ()
    known = [*motifs, evolve(motifs[0], name="part")] if passed else motifs
    lines, unread = draw(_flows(data, [f"i{k}" for k in range(inputs)], known, 3))
    merge = draw(st.sampled_from(["sum", "product", "concat"]))
    ends = [f"o0 = {merge}({', '.join(unread)})"]
    ends += [f"o{k} = i{k} : skip" for k in range(1, outputs)]
    if merge == "concat":
        ends[0] = f"all = concat({', '.join(unread)})"
        ends.append(f"o0 = all : {data.align.format(1)}")
    parameters = "width = 4, stride = 1, lag = 1" + (
        f", motif part = {passed[0]}" if passed else ""
    )
    made = ", ".join(f"o{k}" for k in range(outputs))
    head = f"motif {name}({', '.join(ports)}; {parameters}) -> ({made})"
    return _MotifText(name, inputs, outputs, _block(head, [*aligned, *lines, *ends]), passed)


def _block(head: str, lines: list[str]) -> str:
    return "\n".join([f"{head} {{", *(f"    {line}" for line in lines), "}"])


@st.composite
def _chains(draw: st.DrawFn, motif: _MotifText) -> list[str]:
    """A chain from node `stem`, its last outputs summed into node `last`."""
    made = [f"chain{k}" for k in range(motif.outputs)]
    length = draw(st.integers(1, 3))
    call = draw(_calls(motif, ["stem"] * motif.inputs, "chain "))
    # Three states at two resolutions cannot be aligned by one lag.
    may_reduce = motif.outputs > 1 or motif.inputs < 3
    reduced = may_reduce and "shared" not in call and draw(st.booleans())
    tail = f" reduce at {draw(st.integers(0, length - 1))}" if reduced else ""
    return [
        f"{', '.join(made)} = {call} times {length}{tail}",
        f"last = sum({', '.join(made)})",
    ]


@st.composite
def _networks(
    draw: st.DrawFn,
    data: _Data,
    name: str,
    motifs: list[_MotifText],
    turn: _MotifText | None,
    two: bool,
) -> str:
    """One that has one input and one output, or ``two`` of each."""
    lines = draw(st.sampled_from([[], [], ["budget parameters <= 9.5M", "budget flops <= 90G"]]))
    inputs = ["image", "other"][: 1 + two]
    made, unread = draw(_flows(data, inputs, motifs, 2, turn))
    always = dict.fromkeys([*unread, *inputs[: 2 * two]])  # of two inputs no member may lose one
    stem = f"stem = sum({', '.join(always)})"
    chain = draw(_chains(draw(st.sampled_from(motifs))))
    ports = ", ".join(f"{port}: {data.shape}" for port in inputs)
    outputs = ", ".join(["logits: [3]", "numbers: [3]"][: 1 + two])
    ends = [f"last -> logits : {data.last}", f"stem -> numbers : {data.last}"][: 1 + two]
    head = f"network {name}({ports}; width = 4) -> ({outputs})"
    return _block(head, [*lines, *made, stem, *chain, *ends])


_LEARNED = (
    "",
    "learn { logits = classification(smoothing = 0.1) }",
    "learn { logits = regression(sigma = 0.5) }",
)
_LEARNED_OF_TWO = (
    *_LEARNED,
    "learn { numbers = regression * 0.5 }",
    "learn { logits = multilabel; numbers = auxiliary * 0.4 }",
)


@st.composite
def spaces(draw: st.DrawFn) -> str:
    """A search space that compiles, each network mostly of fewer than 150 edges."""
    data = draw(st.sampled_from([_IMAGE, _IMAGE, _SERIES, _VECTOR]))
    leaf = draw(_motif_texts(data, "leaf", [], None))
    bud = draw(_motif_texts(data, "bud", [], leaf))
    cell = draw(_motif_texts(data, "cell", [leaf, bud], None))
    motifs = [leaf, bud, cell]
    turn = None
    if data is _SERIES:
        turn = draw(_motif_texts(_VECTOR, "turn", [], draw(st.sampled_from(_TURNS))))
    names = draw(st.sampled_from([["net"], ["net"], ["net", "second"]]))
    two = draw(st.booleans())
    networks = [draw(_networks(data, name, motifs, turn, two)) for name in names]
    learned = draw(st.sampled_from(_LEARNED_OF_TWO if two else _LEARNED))
    choices = [data.definition(), *([_VECTOR.definition()] if turn else [])]
    texts = [m.text for m in [*motifs, turn] if m]
    return "\n\n".join(filter(None, [*choices, *texts, *networks, learned])) + "\n"
