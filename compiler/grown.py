"""A cell that a search has found, in the network that it is trained in for a result.

Such a network is text with a motif ``cell`` that it does not define (`dsl/library/networks`). The
spec that comes of both holds every operation it needs, so that it can be read and changed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import evolve

from bayesnas.compiler.artifacts.literals import literal_number
from bayesnas.compiler.pipeline import Compiled, compile_loaded
from bayesnas.compiler.program.definitions import OperationLike, declarations, operations_of, walk
from bayesnas.compiler.program.names import given_nodes
from bayesnas.dsl import tree
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, quote, suggest
from bayesnas.dsl.loader import Loaded, load_text, network_around
from bayesnas.dsl.printing.printer import print_spec

CELL = "cell"  # what networks call the motif that they do not define
SEARCHED = "<library>/ops/darts.nas"  # operations as they are searched: networks have their own


def grown(
    found: Compiled, around: str, cell: str = "", values: Mapping[str, int] | None = None
) -> Compiled:
    """The network called ``around`` with a cell of another one.

    Args:
        found: the network with the cell.
        around: a packaged network, or a file of one.
        cell: the motif; empty: the one that the network makes its chain of.
        values: numbers that become defaults of the network's parameters.

    Raises:
        DiagnosticError: D424 (it has no such cell, or that does not fit), and what is wrong with
            the file.
    """
    outer = network_around(around)
    network = _network_of(outer)
    motif = cell or _cell_of(found, network)
    if motif not in found.program.motifs:
        message = f"`{found.network.name}` has no motif `{motif}`"
        raise _no_cell(message, suggest(motif, found.program.motifs, _motif_remedy(found, network)))
    motifs = _motifs_from(found, motif)
    network = evolve(network, body=tuple(_renamed(network.body, motif)))
    theirs = [d for d in _own(outer) if isinstance(d, tree.Motif)]
    operations = _operations(found, outer, [*motifs, network, *theirs])
    recipes, blocks = _learned(outer)
    definitions: list[tree.Definition] = [*recipes, *operations, *motifs, network, *theirs]
    spec = tree.Spec((*definitions, *blocks), span=outer.main.span)
    compiled = _compiled(spec, motif, network.name, values or {})
    numbers = dict(compiled.graph.root.parameters)
    sized = evolve(
        network,
        parameters=tuple(
            evolve(p, default=literal_number(numbers[p.name], p.span))
            if isinstance(p, tree.Parameter)
            else p
            for p in network.parameters
        ),
    )
    spec = evolve(spec, definitions=tuple(sized if d is network else d for d in spec.definitions))
    return _compiled(spec, motif, network.name, {})


def _imported(outer: Loaded) -> list[tree.Definition]:
    """The definitions of its user's files that a file imports."""
    own = (s for s in outer.imported if not s.span.source.name.startswith("<library>/"))
    return [d for spec in own for d in spec.definitions]


def _own(outer: Loaded) -> list[tree.Definition]:
    """Those, and then the file's."""
    return [*_imported(outer), *outer.main.definitions]


def _learned(outer: Loaded) -> tuple[list[tree.Import], list[tree.Settings | tree.Learn]]:
    """The recipes that stay imports, and one block of each kind of what else is said.

    Where a file of one's own says some, all is joined, in the order in which it is imported.
    """
    told = tree.Settings | tree.Learn | tree.Import
    if any(isinstance(d, told) for d in _imported(outer)):
        return [], _joined(outer.definitions())
    library = {spec.span.source.name for spec in outer.imported}
    recipes = [
        d
        for d in outer.main.definitions
        if isinstance(d, tree.Import)
        and d.path.startswith("recipes/")
        and f"<library>/{d.path}" in library
    ]
    return recipes, _joined(outer.main.definitions)


def _joined(own: Iterable[tree.Definition]) -> list[tree.Settings | tree.Learn]:
    """One block of each kind; what a file says stands over what it imports."""
    blocks: dict[str, tree.Settings | tree.Learn] = {}
    for block in own:
        match block:
            case tree.Settings(kind=kind):
                before = blocks.get(kind)
                entries = before.entries if isinstance(before, tree.Settings) else ()
                settings = {entry.name: entry for entry in (*entries, *block.entries)}
                blocks[kind] = evolve(block, entries=(*settings.values(),))
            case tree.Learn():
                before = blocks.get("learn")
                learned = before.entries if isinstance(before, tree.Learn) else ()
                objectives = {entry.port: entry for entry in (*learned, *block.entries)}
                blocks["learn"] = evolve(block, entries=(*objectives.values(),))
    return [*blocks.values()]


def _network_of(outer: Loaded) -> tree.Network:
    definitions = outer.main.definitions
    if any(isinstance(d, tree.Motif) and d.name == CELL for d in _own(outer)):
        message = f"`{outer.source.name}` has a motif `{CELL}` of its own"
        remedy = f"take `motif {CELL}` out of it: the found one comes in its place"
        raise DiagnosticError(Diagnostic("D424", message, help=remedy))
    networks = [d for d in definitions if isinstance(d, tree.Network)]
    if len(networks) == 1 and any(_calls(s) == CELL for s in walk(networks[0].body)):
        return networks[0]
    message = f"`{outer.source.name}` is no network around a cell"
    remedy = f"write one network that makes instances or a chain of `{CELL}`, without that motif"
    raise DiagnosticError(Diagnostic("D424", message, help=remedy))


def _calls(statement: tree.Statement) -> str | None:
    """The motif that a statement makes instances of."""
    return statement.motif if isinstance(statement, tree.MotifCall) else None


def _cell_of(found: Compiled, around: tree.Network) -> str:
    """The motif that the network makes its one chain of.

    Raises:
        DiagnosticError: D424 (no chain, or chains of several).
    """
    chains = (s.motif for s in walk(found.network.body) if isinstance(s, tree.Chain))
    motifs = list(dict.fromkeys(chains))
    if len(motifs) == 1:
        return motifs[0]
    what = f"chains of {quote(motifs)}" if motifs else "no chain of one cell"
    raise _no_cell(f"`{found.network.name}` has {what}", _motif_remedy(found, around))


def _motif_remedy(found: Compiled, around: tree.Network) -> str:
    """How to say which of the motifs is meant, of those with as many ports as the cells there."""
    calls = [s for s in walk(around.body) if _calls(s) == CELL and isinstance(s, tree.MotifCall)]
    ports = {(len(given_nodes(call)), len(call.targets)) for call in calls}
    lists = {name for name, node in declarations(around.body) if node.is_list}
    given = [reference for call in calls for reference in given_nodes(call)]
    counted = all(isinstance(r.index, tree.Index) or r.name not in lists for r in given)
    motifs = found.program.motifs.values()
    names = [m.name for m in motifs if not counted or {(len(m.inputs), len(m.outputs))} == ports]
    if not names:
        like = f"the ports that `{CELL}` has in `{around.name}`"
        return f"name a spec with a motif of {like}: this one has none"
    return f"name the motif: {quote([f'--cell {name}' for name in names], 'or')}"


def _motifs_from(found: Compiled, motif: str) -> list[tree.Motif]:
    """The motif and all that it is made of, in the order of the spec."""
    motifs, used, waiting = found.program.motifs, set[str](), [motif]
    while waiting:
        name = waiting.pop()
        if name in motifs and name not in used:
            used.add(name)
            waiting += _motif_names(motifs[name])
    return [definition for name, definition in motifs.items() if name in used]


def _motif_names(motif: tree.Motif) -> Iterator[str]:
    for parameter in motif.parameters:
        if isinstance(parameter, tree.MotifParameter) and parameter.default:
            yield parameter.default
    for statement in walk(motif.body):
        if isinstance(statement, tree.MotifCall):
            yield statement.motif
            for argument in statement.arguments:
                if isinstance(argument.value, tree.Name):
                    yield argument.value.name


def _renamed(body: Iterable[tree.Statement], motif: str) -> Iterator[tree.Statement]:
    """Statements with that motif for `CELL`."""
    for statement in body:
        match statement:
            case tree.Instantiation() | tree.Scan() | tree.Chain() if statement.motif == CELL:
                yield evolve(statement, motif=motif)
            case tree.Loop():
                yield evolve(statement, body=tuple(_renamed(statement.body, motif)))
            case tree.Branch():
                then, otherwise = statement.then, statement.otherwise
                yield evolve(
                    statement,
                    then=tuple(_renamed(then, motif)),
                    otherwise=tuple(_renamed(otherwise, motif)),
                )
            case _:
                yield statement


def _operations(
    found: Compiled, outer: Loaded, graphs: Iterable[tree.Motif | tree.Network]
) -> list[OperationLike]:
    """Definitions of all operations in use: those of the cell, unless they are for searches."""
    own = {
        d.name: d
        for d in outer.definitions()
        if isinstance(d, tree.OperationDefinition | tree.ChoiceDefinition)
    }
    theirs = {
        name: definition
        for name, definition in found.program.operations.items()
        if not (definition.span.source.name == SEARCHED and name in own)
    }
    return operations_of(graphs, own | theirs)


def _compiled(spec: tree.Spec, motif: str, network: str, values: Mapping[str, int]) -> Compiled:
    """The spec as it is printed, compiled.

    Raises:
        DiagnosticError: D410 (a value for no parameter), D424 (the cell or a value does not fit).
    """
    loaded = load_text(Source(f"{network}.nas", print_spec(spec)), Path("/"))
    try:
        return compile_loaded(loaded, values)
    except DiagnosticError as error:
        if any(d.code == "D410" for d in error.diagnostics):
            raise
        first = error.diagnostics[0]
        notes = (f"there, {first.code}: {first.message}",)
        fits = bool(values) and _compiles(loaded)
    message = f"`{motif}` does not fit into the network `{network}`"
    remedy = "it makes cells as `cell(before, last; width, stride = 1, lag = 1) -> (out)`"
    if fits:
        given = [f"{name} = {value}" for name, value in values.items()]
        message = f"the network `{network}` cannot be with {quote(given)}"
        remedy = "give another value, or leave `--set` out"
    raise DiagnosticError(Diagnostic("D424", message, notes=notes, help=remedy))


def _compiles(loaded: Loaded) -> bool:
    """Whether a network can be, with its defaults."""
    try:
        compile_loaded(loaded)
    except DiagnosticError:
        return False
    return True


def _no_cell(message: str, remedy: str) -> DiagnosticError:
    return DiagnosticError(Diagnostic("D424", message, help=remedy))
