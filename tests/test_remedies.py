"""The remedies of the catalogue, `docs/errors.md`, are tried: each is applied to its own example.

What is repaired is the example's text, by hand and to the letter of the help; the test sees to it
that what the help says to write is what is written. Then the diagnostic is gone, and what comes, if
anything, is another one. Commands that would train stop where their run begins.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from test_errors import SECTIONS, type_in

from bayesnas.compiler.operations.primitives import PRIMITIVES
from bayesnas.runtime.runs.folder import Run

# Who says what to write says it like this.
_SAID = re.compile(r"(?:write|did you mean|declare|append|add|connect it:|pass|use|by) `([^`]+)`")


@frozen
class Repair:
    """What is put in the place of a text of the example; ``then`` is the code that comes next."""

    old: str
    new: str
    then: str | None = None


NETWORK = "network net(image: [1, 8, 8]) -> (logits: [10]) {\n"
CLASSIFIES = "logits : global_avg_pool >> linear(10)\n"

REPAIRS: dict[str, Repair] = {
    "D101": Repair("a, b -> c : conv(3)", "{a, b} -> c : conv(3)", "D216"),
    "D102": Repair("k / 2", "k // 2", "D216"),
    "D103": Repair("conv(3\n", "conv(3)\n", "D216"),
    "D104": Repair(f"{'(' * 100}3{')' * 100}", "3", "D216"),
    "D105": Repair("x, y = a : conv(3)", "x = a : conv(3)\n    y = a : conv(3)", "D216"),
    "D110": Repair('import "../shared/ops.nas"', 'import "shared/ops.nas"', "D111"),
    "D111": Repair("ops/missing.nas", "ops/basic.nas"),
    "D112": Repair('import "a.nas"\n```\n', 'import "ops/darts.nas"\n```\n'),
    "D113": Repair("}\n```\n", "}\ntrain { epochs = 30 }\n```\n", "D510"),
    "D201": Repair("op f = skip", "op g = skip"),
    "D202": Repair("global_avg_poll", "global_avg_pool"),
    "D203": Repair("sten -> logits", "stem -> logits"),
    "D204": Repair("strides = 2", "stride = 2"),
    "D205": Repair("width)", "8)"),
    "D206": Repair("stem = image : conv(3)", "node stem\n    image ~> stem : conv(3)"),
    "D207": Repair("op g = f >> bn", "op g = bn"),
    "D208": Repair("stem = image : conv(5, 8)", "other = image : conv(5, 8)", "D214"),
    "D209": Repair("image -> stem[0]", "image -> stem"),
    "D210": Repair("image ~> stem\n", "image ~> stem : conv(3) | skip\n"),
    "D211": Repair("stem = conv(image)", "stem = image : conv", "D204"),
    "D212": Repair("cell(image)", "cell(image, image)"),
    "D213": Repair("    b -> a : relu\n", ""),
    "D214": Repair("    image -> logits", "    stem -> logits"),
    "D215": Repair("    node stem\n", "    node stem\n    image -> stem\n"),
    "D216": Repair(
        "motif cell",
        "network name(image: [3, 32, 32]) -> (logits: [10]) {\n"
        f"    image -> {CLASSIFIES}}}\nmotif cell",
    ),
    "D217": Repair("image -> image : conv(3)", f"image -> {CLASSIFIES}"),
    "D218": Repair(", mask: [1, 8, 8]", ""),
    "D219": Repair("motif cell(a)", "motif cell(a; width, stride = 1)", "D204"),
    "D220": Repair("16 // (cells - 1)", "16 // (cells + 1)"),
    "D221": Repair("width = 10000000", "width = 4"),
    "D222": Repair("width - 8", "width - 4"),
    "D223": Repair("h[2] : conv(3)", "h[1] : conv(3)", "D214"),
    "D224": Repair("node h[5000000]", "node h[5]"),
    "D225": Repair("; motif cell", ""),
    "D226": Repair(
        f"    budget flops <= 600M\n}}\n\n{NETWORK}", f"}}\n\n{NETWORK}    budget flops <= 600M\n"
    ),
    "D227": Repair("flop <=", "flops <="),
    "D228": Repair("budget parameters <= 100", "budget parameters <= 162"),
    "D229": Repair("b = shared half", "b = tied half"),
    "D230": Repair("epoch =", "epochs ="),
    "D231": Repair("epochs = 0", "epochs = 1"),
    "D232": Repair(" --option lambda_w=5", ""),
    "D233": Repair("clasification", "classification"),
    "D234": Repair("smoothing = 2", "smoothing = 0.1"),
    "D235": Repair("logit =", "logits ="),
    "D236": Repair("latency <= 5\n", "latency <= 5 ms\n"),
    "D237": Repair("of = logit)", "of = logits)"),
    "D238": Repair("from start, start", "from start", "D212"),
    "D239": Repair("b = tied cell", "b = cell"),
    "D301": Repair("linear(10)", "global_avg_pool >> linear(10)"),
    "D302": Repair("conv(3, 8)\n", "conv(3, 8) >> avg_pool(3, stride = 2)\n"),
    "D303": Repair("linear(3)", "linear(3) >> linear(10)"),
    "D304": Repair("b = shared block(a)", "b = tied block(a)"),
    "D305": Repair("zeros(4)", "zeros(8)"),
    "D306": Repair("unembedding(20)", "conv(1, 20)"),
    "D401": Repair("check cell.nas", "check digits_cell"),
    "D402": Repair("check cell.nas", "check digits_cell"),
    "D403": Repair(
        "$ bayesnas render graph.json",
        "$ bayesnas compile digits_cell --set cells=1 -o DIR --emit graph\n"
        "$ bayesnas compile DIR/graph.json -o out --emit dot",
    ),
    "D405": Repair("--sett", "--set"),
    "D410": Repair("witdh=16", "width=16"),
    "D411": Repair("; width)", "; width = 8)"),
    "D412": Repair("--device abacus", "--device cpu"),
    "D413": Repair("compile digits_cell", "compile digits_cell --emit ast --force"),
    "D414": Repair(" --resume", ""),
    "D417": Repair("--set width", "--set cells=3 --emit ast"),
    "D418": Repair("--emit pytorch", "--emit torch"),
    "D420": Repair("figure.jpg", "figure.dot"),
    "D422": Repair(" --set cells=4", "", "D403"),
    "D423": Repair(" --resize", ""),
    "D424": Repair("nasbench201", "darts_cell"),
    "D430": Repair(
        "(y: [1, 8, 8]) {\n    image -> y : conv(3)",
        "(y: [10]) {\n    image -> y : global_avg_pool >> linear(10)",
    ),
    "D431": Repair("bayesnas search", "bayesnas train"),
    "D433": Repair('"conv"', '"blur"'),
    "D434": Repair("eval run", "eval run --plugin my_ops", "D432"),
    "D435": Repair(" --proxy layers=1", ""),
    "D438": Repair("eval run", "train run/../spec.nas --data digits -o again"),
    "D439": Repair("batch_size=1", "batch_size=2"),
    "D440": Repair(
        "$ bayesnas count",
        "$ bayesnas measure spec.nas -o latency.json --force\n$ bayesnas count",
    ),
    "D501": Repair("--data mnist", "--data digits"),
    "D505": Repair("image: [3, 32, 32]", "image: [1, 8, 8]"),
    "D506": Repair(
        "[3]) {\n    image -> logits : global_avg_pool >> linear(3)",
        "[10]) {\n    image -> logits : global_avg_pool >> linear(10)",
    ),
    "D511": Repair("rows=np.zeros((8, 4))", "x=np.zeros((8, 4)), y=np.arange(8) % 2"),
    "D512": Repair("y=np.zeros(6)", "y=np.arange(8) % 2"),
    "D513": Repair("np.full((8, 4), np.nan)", "np.zeros((8, 4))"),
    "D514": Repair("np.arange(8) % 2 + 1", "np.arange(8) % 2"),
    "D515": Repair("augment=shift", "augment=none"),
    "D522": Repair('"b")', '"a")', "D514"),
    "D520": Repair("left=np.ones((8, 4)),", "left=np.ones((8, 4)), right=np.zeros((8, 4)),"),
    "D516": Repair("csv:flats.csv", "csv:flats.csv --target price"),
    "D518": Repair("embedding(5, 3)", "embedding(7, 3)"),
    "D604": Repair("budget parameters <= 100", "budget parameters <= 1K"),
    "D611": Repair(
        "$ bayesnas sample spec.nas",
        "$ bayesnas measure spec.nas -o latency.json\n"
        "$ bayesnas sample spec.nas --latencies latency.json",
    ),
    "D612": Repair(" --set width=16", ""),
    "D618": Repair(" --set width=8", ""),
}

# Whose remedy is no text of the example, and why it is not tried here.
NOT_TRIED = {
    "D404": "a file is made by a command that other tests run; no command reads it",
    "D415": "names the run of another command: takes a training",
    "D416": "restores a file from a copy, or runs a training again",
    "D419": "the machine's permissions and space",
    "D421": "names another program and its own way to fail",
    "D432": "names another module, which is the user's",
    "D436": "installs a package",
    "D437": "a fault of ours: asks for a report",
    "D447": "starts Ray: tests/runtime/jobs/test_cluster.py",
    "D448": "the machine's file system",
    "D445": "starts processes on several machines",
    "D446": "starts several processes",
    "D502": "lays out picture files",
    "D503": "lays out picture files",
    "D504": "replaces picture files",
    "D507": "downloads data",
    "D510": "writes an array file; D511 to D515 read such",
    "D517": "made by a function; the remedy is another operation",
    "D521": "made by a function, of arrays in memory",
    "D601": "made by a function, without a spec",
    "D602": "a training that diverges: other settings may, or may not",
    "D603": "the machine's memory",
    "D606": "made by a function, of a network at work",
    "D607": "made by a function; the remedy is a search",
    "D608": "made by a function, of a network at work",
    "D609": "made by a function, of a network at work",
    "D610": "made by a function, of a name in Python",
    "D614": "made by a function, of a name in Python",
    "D615": "starts several processes",
    "D616": "starts several processes",
    "D617": "the machine's memory",
    "D613": "the machine's compiler",
    "D605": "mends the Python of a plugin, which is the user's",
}


def test_every_code_is_tried_or_says_why_not() -> None:
    assert {*REPAIRS} | {*NOT_TRIED} == {*SECTIONS}
    assert not {*REPAIRS} & {*NOT_TRIED}


class BegunError(BaseException):
    """A run has begun: nothing was wrong before. No `Exception`, so that no command keeps it."""


def begin(*_arguments: object, **_more: object) -> None:
    raise BegunError


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("code", REPAIRS)
def test_what_the_help_says_to_write_is_written(code: str) -> None:
    """Of several ways that it names, one."""
    help_line = SECTIONS[code].shown.rpartition(" = help: ")[2]
    said = [
        text for text in _SAID.findall(help_line) if "..." not in text and "=NUMBER" not in text
    ]
    mended = squeezed(mend(code))
    assert not said or any(squeezed(text) in mended for text in said), said


def mend(code: str) -> str:
    """The section with its example repaired."""
    repair, section = REPAIRS[code], SECTIONS[code]
    example = section.text.replace(f"```text\n{section.shown}\n```", "```text\nshown\n```")
    assert repair.old in example, f"the example of {code} has changed"
    return example.replace(repair.old, repair.new)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a plugin registers is forgotten."""
    before, modules = dict(PRIMITIVES), set(sys.modules)
    yield
    PRIMITIVES.clear()
    PRIMITIVES.update(before)
    for name in {"taken_ops"} & (set(sys.modules) - modules):
        del sys.modules[name]


@pytest.mark.parametrize("code", REPAIRS)
def test_the_remedy_helps(
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.setattr(Run, "begin", begin)
    section = type(SECTIONS[code])(code, mend(code))
    section.write_files(tmp_path)
    status = 0
    try:
        for line in section.commands:
            capsys.readouterr()
            status = type_in(line)
    except BegunError:
        return
    said = re.findall(r"^error\[(D\d{3})\]", capsys.readouterr().err, re.MULTILINE)
    then = REPAIRS[code].then
    assert said == ([] if then is None else [then])
    assert (status == 0) == (then is None)
