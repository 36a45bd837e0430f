"""The fuzzer: whatever is fed, nothing but diagnostics comes out, within two seconds and 500 MB.

`check` runs one case through everything that needs no data: load, resolve, compile, and what is
written of a compiled graph. ``make fuzz`` runs very many on several processes; what fails is saved
and comes again with ``--replay FILE``.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from unittest import mock

import hypothesis
from attrs import evolve, field, frozen
from fuzz_cases import FIFO, FOLDER, KINDS, LINK, Case, bases, graphs
from support import TooSlowError, assert_style, is_member

from bayesnas.commands.inputs import read_input
from bayesnas.commands.tables import number
from bayesnas.compiler.artifacts.derive import derive_spec
from bayesnas.compiler.artifacts.graph_file import graph_from_json, graph_to_json
from bayesnas.compiler.emit.pytorch import emit_torch
from bayesnas.compiler.expand.expansion import expand
from bayesnas.compiler.expand.measure import measure
from bayesnas.compiler.graph.cost import graph_cost
from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import Compiled, compile_loaded, compile_resolved
from bayesnas.compiler.program.limits import LIMITS
from bayesnas.compiler.program.resolve import resolve
from bayesnas.compiler.settings import KINDS as SETTINGS
from bayesnas.compiler.settings import make_settings
from bayesnas.compiler.space.choices import member_space
from bayesnas.compiler.space.draws import draw_member
from bayesnas.compiler.space.members import reach
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, Source, render_all
from bayesnas.dsl.loader import Loaded, load, load_text
from bayesnas.dsl.mistakes.explain import count_words
from bayesnas.dsl.parsing.parser import parse
from bayesnas.dsl.printing.formatter import format_source
from bayesnas.dsl.printing.printer import print_spec

MAX_SECONDS = 2.0  # of computing, for one case
MAX_GROWTH = 500  # MB of memory, in one case
STUCK = 30.0  # seconds after which a case is stopped
# A valid spec may expand to a million edges and take its time; these must not. What `spaces` draws
# is small by itself, and no limit may refuse it.
SMALL = {"size": 300, "turns": 10_000, "steps": 200_000}
MOST_NETWORKS = 10
MOST_WORDS = 2_000  # of a spec that is formatted
SHARES = {
    "space": 0.1,
    "mutation": 0.55,
    "noise": 0.07,
    "hostile": 0.07,
    "imports": 0.05,
    "settings": 0.03,
    "graph": 0.13,
}


# ------------------------------------------------------------------------------ one case


def check(case: Case) -> tuple[str, ...]:
    """Run a case; the codes of what was wrong with it, none where it compiles.

    Raises whatever else comes out, and `AssertionError` where a law does not hold.
    """
    limits = {} if case.kind == "space" else SMALL
    with TemporaryDirectory() as name, mock.patch.dict(LIMITS, limits):
        folder = Path(name)
        lay(case, folder)
        path = folder / next(iter(case.files))
        try:
            match case.kind:
                case "space":
                    check_space(load(path), case.seed)
                case "graph":
                    check_written(read_input(str(path), {}, None).compilation.graph)
                case _:
                    check_spec(path)
        except DiagnosticError as error:
            if case.kind == "space":
                raise AssertionError(render_all(error.diagnostics)) from error
            check_diagnostics(error.diagnostics)
            return tuple(d.code for d in error.diagnostics)
    return ()


def lay(case: Case, folder: Path) -> None:
    """Write the files of a case."""
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == FIFO:
            os.mkfifo(path)
        elif content == FOLDER:
            path.mkdir()
        elif content.startswith(LINK):
            path.symlink_to(content.removeprefix(LINK))
        else:
            path.write_bytes(content.encode("utf-8", "surrogateescape"))


def check_diagnostics(found: tuple[Diagnostic, ...]) -> None:
    """They are printed, in style, and point into the text."""
    assert found
    render_all(found).encode()
    for diagnostic in found:
        assert_style(diagnostic)
        if (span := diagnostic.span) is not None:
            assert 1 <= span.line <= len(span.source.lines()), span
            assert 1 <= span.column <= len(span.source.line(span.line)) + 1, span


def check_spec(path: Path) -> None:
    """A spec that may be broken: like `bayesnas check`, and what compiles is written."""
    loaded = load(path)
    if count_words(loaded.source.text, MOST_WORDS) < MOST_WORDS:
        check_formatting(loaded.source)
    program = resolve(loaded)
    for network in list(program.networks)[:MOST_NETWORKS] or [None]:
        compiled = compile_resolved(loaded, program, network=network)
        for kind, settings in SETTINGS.items():
            make_settings(settings, compiled.settings(kind))
        check_written(compiled.graph)


def check_formatting(source: Source) -> None:
    """The canonical form is its own canonical form, and parses to the same tree."""
    spec = parse(source)
    assert parse(Source("printed", print_spec(spec))) == spec
    formatted = Source("formatted", format_source(source))
    assert parse(formatted) == spec
    assert format_source(formatted) == formatted.text


def check_written(graph: Graph) -> None:
    """What is written of a graph: source is Python, JSON is read again, members are counted."""
    compile(emit_torch(graph, "spec.nas").source, "supernet.py", "exec")
    text = graph_to_json(graph)
    assert graph_to_json(graph_from_json(text, "graph.json")[0]) == text
    number(member_space(graph).count())
    found = reach(graph)
    assert found.smallest.parameters <= found.largest.parameters or not found.exact


def check_space(loaded: Loaded, seed: int) -> None:
    """The laws of a valid space."""
    check_formatting(loaded.source)
    for name, network in resolve(loaded).networks.items():
        compiled = compile_loaded(loaded, network=name)
        size = measure(compiled.program, network, {})
        built = expand(compiled.program, network, {})
        nodes, edges = built.network.number_of_nodes(), built.network.number_of_edges()
        counted = nodes, edges, len(built.instances), len(built.retains)
        assert (size.nodes, size.edges, size.instances, size.retained) == counted
        check_written(compiled.graph)
        check_sample(compiled, seed)


def check_sample(compiled: Compiled, seed: int) -> None:
    """A sample is a member, and its spec is that network."""
    member, pruned = draw_member(compiled.graph, seed)
    assert is_member(member_space(compiled.graph), member)
    text = print_spec(derive_spec(compiled, pruned))
    derived = load_text(Source("derived.nas", text), Path("/nonexistent"))
    again = compile_loaded(derived, network=compiled.network.name)
    assert graph_cost(again.graph) == graph_cost(pruned)
    assert not again.graph.searched()


# ------------------------------------------------------------------------------ its time


@frozen
class Outcome:
    """What became of a case; ``failure`` is a traceback, or what it took too much of."""

    case: Case
    codes: tuple[str, ...] = ()
    seconds: float = 0.0
    failure: str = ""


def run(case: Case, limit: float = MAX_SECONDS) -> Outcome:
    """Run a case that must not fail; one that takes long has a second try."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = _attempt(case)
    if outcome.seconds > limit and not outcome.failure:
        again = _attempt(case)
        outcome = min(outcome, again, key=lambda o: o.seconds)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    if not outcome.failure and outcome.seconds > limit:
        return evolve(outcome, failure=f"took {outcome.seconds:.1f} s: {outcome.codes[:3]}")
    if not outcome.failure and grown > MAX_GROWTH:
        return evolve(outcome, failure=f"took {grown} MB")
    return outcome


def _attempt(case: Case) -> Outcome:
    gc.freeze()  # what the cases before it left is no work of this one
    start = time.process_time()
    codes: tuple[str, ...] = ()
    failure = ""
    try:
        with _stopped(STUCK):
            codes = check(case)
    except TooSlowError:
        failure = f"stopped after {STUCK} s"
    except Exception:
        failure = traceback.format_exc()
    seconds = time.process_time() - start
    gc.unfreeze()
    return Outcome(case, codes, seconds, failure)


@contextmanager
def _stopped(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again, where it was lost in a callback
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# ------------------------------------------------------------------------------ very many


@frozen
class Result:
    """What came of many cases."""

    cases: Counter[str] = field(factory=Counter)
    diagnostics: Counter[str] = field(factory=Counter)
    compiled: int = 0
    digests: frozenset[str] = frozenset()
    slowest: Outcome | None = None
    failures: tuple[Outcome, ...] = ()

    def plus(self, other: Result) -> Result:
        slow = [r.slowest for r in (self, other) if r.slowest is not None]
        return Result(
            self.cases + other.cases,
            self.diagnostics + other.diagnostics,
            self.compiled + other.compiled,
            self.digests | other.digests,
            max(slow, key=lambda o: o.seconds, default=None),
            self.failures + other.failures,
        )

    @classmethod
    def of(cls, outcome: Outcome) -> Result:
        return cls(
            Counter([outcome.case.kind]),
            Counter(outcome.codes),
            int(not outcome.codes and not outcome.failure),
            frozenset([digest(outcome.case)]),
            outcome,
            (outcome,) if outcome.failure else (),
        )


def digest(case: Case) -> str:
    return sha256(case.to_json().encode()).hexdigest()[:12]


def warm_up() -> None:
    """What is made once for all cases, so that none is timed with it."""
    bases(), graphs()


def run_many(job: tuple[str, int, int]) -> Result:
    """So many cases of a kind, drawn from a seed."""
    kind, count, seed = job
    outcomes: list[Result] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(KINDS[kind])
    def feed(case: Case) -> None:
        outcomes.append(Result.of(run(case)))

    feed()
    total = Result()
    for outcome in outcomes:
        total = total.plus(outcome)
    return total


def jobs_of(cases: int, seed: int, most: int = 250) -> list[tuple[str, int, int]]:
    """The kinds by their shares, in pieces; the pieces of all kinds mixed."""
    jobs = []
    for kind, share in SHARES.items():
        pieces = max(1, math.ceil(cases * share / most))
        count = math.ceil(cases * share / pieces)
        jobs += [((k + 0.5) / pieces, (kind, count, seed + k)) for k in range(pieces)]
    return [job for _, job in sorted(jobs)]


def save(outcome: Outcome, folder: Path) -> Path:
    """The case of an outcome as a file for ``--replay``."""
    path = folder / f"{outcome.case.kind}-{digest(outcome.case)}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(outcome.case.to_json(), encoding="utf-8")
    return path


def replay(paths: list[Path]) -> int:
    """Run saved cases again; failures are printed whole."""
    status = 0
    for path in paths:
        outcome = run(Case.from_json(path.read_text(encoding="utf-8")))
        print(f"{path}: {outcome.seconds:.2f} s, {', '.join(outcome.codes) or 'compiles'}")
        if outcome.failure:
            print(outcome.failure)
            status = 1
    return status


def fuzz(cases: int, processes: int, seed: int, folder: Path) -> int:
    """Run very many cases, with a line now and then; 1 if any of them failed."""
    warm_up()
    total, start = Result(), time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes, warm_up) as pool:
        for result in pool.imap_unordered(run_many, jobs_of(cases, seed)):
            total = total.plus(result)
            for outcome in result.failures:
                last = outcome.failure.strip().rsplit("\n", 1)[-1][:200]
                print(f"FAILED {save(outcome, folder)}: {last}")
            done, spent = total.cases.total(), time.monotonic() - start
            failed = len(total.failures)
            print(f"{done:,} of {cases:,} cases, {failed} failed, {spent:.0f} s", flush=True)
    slowest = total.slowest
    summary = {
        "cases": total.cases.total(),
        "distinct": len(total.digests),
        "by_kind": dict(total.cases.most_common()),
        "compiled": total.compiled,
        "diagnostics": dict(total.diagnostics.most_common()),
        "slowest": slowest and {
            "seconds": round(slowest.seconds, 2), "case": str(save(slowest, folder))
        },
        "failures": len(total.failures),
        "seed": seed,
        "minutes": round((time.monotonic() - start) / 60, 1),
    }  # fmt: skip
    print(json.dumps(summary))
    return 1 if total.failures else 0


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Feed the compiler what it was not made for.")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="what is saved")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args(words)
    if options.replay:
        return replay(options.replay)
    return fuzz(options.cases, options.processes, options.seed, options.out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
