"""Graph to PyTorch source that reads as if a person had written it.

The source imports torch alone. Operations of the spec become functions, motifs become classes:
instances that differ in numbers alone, or in the functions that build their parts, share one, whose
parameters are what differs. Chains of them become loops.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from bayesnas.compiler.emit.edge_sources import EdgeSources
from bayesnas.compiler.emit.helpers import helper_source
from bayesnas.compiler.emit.motifs.classes import Classes
from bayesnas.compiler.emit.motifs.writing import Common
from bayesnas.compiler.emit.names import TAKEN
from bayesnas.compiler.emit.schedule import Schedule
from bayesnas.compiler.emit.source import imported_modules
from bayesnas.compiler.emit.texts import printable
from bayesnas.compiler.graph.model import Graph
from bayesnas.dsl import __version__
from bayesnas.dsl.collector import without_collector


@frozen
class Emitted:
    """Source of a network.

    ``class_name`` is the network's class; ``gates`` tells, for each gate, the path of the mixed
    edge in the module and the name of the candidate. ``operations`` is the path of the module that
    runs an edge, by the edge's id; identities have none.
    """

    source: str
    class_name: str
    gates: tuple[tuple[str, str], ...]
    operations: Mapping[str, str] = field(factory=dict, repr=False)


@without_collector()
def emit_torch(
    graph: Graph,
    origin: str,
    plan: Schedule | None = None,
    statistics: str | None = None,
    carrying: bool = False,
) -> Emitted:
    """PyTorch source of a graph whose shapes are known; ``origin`` says where it comes from.

    Without a plan, every operation runs by itself. With one, the network is the same function of
    the same parameters, under the same names, and faster.

    With ``statistics``, a type such as ``float32``, a network takes inputs as the data have them,
    bytes as shares of 255: it standardises them itself, by its buffers ``input_mean`` and
    ``input_std`` of that type, [C, 1, 1] for images and [C] for vectors; of several inputs by
    ``input_mean_PORT`` and ``input_std_PORT``. They are 0 and 1 until they are loaded.

    A network that is ``carrying`` has a `Carried` for each state of `carried_scans`.
    """
    modules = imported_modules(graph)
    taken = TAKEN | {module.partition(".")[0] for module in modules}
    edges = EdgeSources(graph, plan, taken)
    classes = Classes(Common(graph, edges, carrying), statistics)
    definitions = classes.definitions(taken | edges.functions.taken)
    helpers = helper_source(edges.functions.helpers() | classes.helpers)
    source = "".join(
        (
            _head(graph, origin, modules),
            *(f"\n\n{helper}\n" for helper in helpers),
            *edges.definitions(),
            *definitions,
        )
    )
    paths = classes.gate_paths(), classes.operation_paths()
    return Emitted(source, classes.made[""].name, *paths)


def _head(graph: Graph, origin: str, modules: list[str]) -> str:
    name = origin.rsplit("/", 1)[-1]
    title = f"Network `{graph.name}`, emitted by bayesnas {__version__} from {printable(name)}."
    imports = "".join(f"\nimport {module}\n" for module in modules)
    return f'"""{title}"""\n\nimport torch\nfrom torch import nn\n{imports}'
