"""A page of runs: whole by itself, with a table under every figure, drawn without an error."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from living import lines, striped, write_tiny

from bayesnas.cli import main
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.report.drawings import drawing
from bayesnas.runtime.report.files import ComparisonFiles
from bayesnas.runtime.report.page import report_page, write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
RUNS = ("search", "posterior", "train", "small", "compared")


def command(line: str, folder: Path) -> None:
    words = [word.replace("@", f"{folder}/") for word in shlex.split(line)]
    assert main(words) == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every kind."""
    home = tmp_path_factory.mktemp("home")
    write_tiny(home)
    striped(home / "data")
    data = "--data folder:@data --device cpu"
    command(f"search @tiny.nas {data} -o @search --strategy bayesnas", home)
    command(f"search @tiny.nas {data} -o @posterior --seed 1 --option wanted_epochs=2", home)
    command(f"train @search/pruned.nas {data} -o @train", home)
    command("compress @train -o @small --budget parameters=90%", home)
    command(f"compare @tiny.nas {data} -o @compared --strategies random,largest --seeds 0,1", home)
    return home


@pytest.fixture(scope="module")
def pages(home: Path) -> Mapping[str, str]:
    return {name: report_page([home / name]) for name in RUNS}


class Page(HTMLParser):
    """What tests ask of a page: tags with their attributes, texts of scripts and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.specs: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        self._within = attributes.get("class", tag) if tag == "script" else tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        if self._within == "spec" and data.strip():
            self.specs.append(data)
        elif self._within in ("td", "th") and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data.strip()
        if self._within not in ("script", "spec", "style"):
            self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("name", RUNS)
def test_a_page_needs_nothing_but_itself(name: str, pages: Mapping[str, str]) -> None:
    page = Page(pages[name])
    addresses = [a[n] for _, a in page.tags for n in ("src", "href", "action") if n in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "default-src 'none'" in pages[name]
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert {address[1:] for address in addresses if address.startswith("#")} <= targets


@pytest.mark.parametrize("name", RUNS)
def test_every_figure_has_words_and_its_numbers_as_a_table(
    name: str, pages: Mapping[str, str]
) -> None:
    page = Page(pages[name])
    charts = [a for a in page.all("div") if a.get("class") == "chart"]
    assert len(charts) == len(page.specs) > 0
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    assert all(a["alt"] for a in page.all("img"))
    figures = re.split(r"<figure[^>]*>", pages[name])[1:]
    assert all("<table>" in figure and "data:text/csv" in figure for figure in figures)
    for spec in page.specs:
        assert json.loads(spec)["layer"]
    files = [a for a in page.all("a") if "download" in a]
    for table, link in zip(page.tables, files, strict=True):
        text = base64.b64decode(link["href"].partition("base64,")[2]).decode()
        rows = list(csv.reader(io.StringIO(text)))
        assert rows[0] == table[0]
        assert len(rows) == len(table)


def test_a_search_shows_both_figures_and_says_what_went(
    home: Path, pages: Mapping[str, str]
) -> None:
    page = pages["search"]
    assert page.count("--wide:") == (2 if shutil.which("dot") else 0)
    gates = lines(home / "search" / "gates.jsonl")
    removed = [row for row in gates if row["removed_in_round"] is not None]
    table = next(t for t in Page(page).tables if t[0][0] == "connection")
    assert len(table) == 1 + len(gates)
    assert sum(1 for row in table if row[6] not in ("", "removed in round")) == len(removed)
    if shutil.which("dot"):
        assert (
            f"removed in round {removed[0]['removed_in_round']}: {removed[0]['removed_by']}" in page
        )


def test_the_gates_of_every_round_are_kept(home: Path) -> None:
    rounds = lines(home / "search" / "rounds.jsonl")
    history = lines(home / "search" / "history.jsonl")
    for row in history:
        alive = [r for r in rounds if r["round"] == row["round"] and r["alive"]]
        assert len(alive) == row["alive"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU adds up in any order")
def test_a_page_gives_the_command_that_makes_the_run_again(
    home: Path, pages: Mapping[str, str], tmp_path: Path
) -> None:
    found = re.search(r"<code>(bayesnas search .*?)</code>", pages["search"], re.DOTALL)
    assert found is not None
    typed = found[1].replace("\\\n", "")
    words = [word.replace("NEW", str(tmp_path / "new")) for word in shlex.split(typed)]
    assert main(words[1:]) == 0
    for name in ("gates.jsonl", "rounds.jsonl"):
        assert (tmp_path / "new" / name).read_bytes() == (home / "search" / name).read_bytes()


def test_a_comparison_leads_to_a_page_of_each_run_and_says_how_to_make_it_again(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(f"report @compared -o {tmp_path / 'page.html'}", home)
    text = (tmp_path / "page.html").read_text("utf-8")
    links = [a["href"] for a in Page(text).all("a") if not a["href"].startswith(("#", "data:"))]
    assert len(links) == 4
    for link in links:
        inner = Page((tmp_path / link).resolve().read_text("utf-8")).words
        assert "What was found" in inner
        assert "The training" in inner
    found = re.search(r"<code>(bayesnas compare .*?)</code>", text, re.DOTALL)
    assert found is not None
    typed = found[1].replace("\\\n", "").replace("NEW", str(home / "compared"))
    capsys.readouterr()
    assert main(shlex.split(typed)[1:]) == 0  # the same comparison: nothing is done again
    assert "random" in capsys.readouterr().out


def test_cells_of_a_sweep_are_found_in_whatever_order_settings_were_swept(
    home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "compared", tmp_path / "swept")
    about = json.loads((tmp_path / "swept" / "compare.json").read_text("utf-8"))
    about["search"] = {"rounds": None, "lambda_w": None, "strategy": "bayesnas"}
    (tmp_path / "swept" / "compare.json").write_text(json.dumps(about), encoding="utf-8")
    cells = [f"bayesnas,{w},{rounds},0,0.5,9,9,9,9,1" for w in (0.1, 0.2) for rounds in (1, 2)]
    head = "strategy,lambda_w,rounds,seed,test_accuracy,parameters,flops,images_trained,"
    text = "\n".join([head + "images_evaluated,seconds", *cells, ""])
    (tmp_path / "swept" / "compare.csv").write_text(text, encoding="utf-8")
    files = ComparisonFiles.open(tmp_path / "swept")
    assert files.cells[1].name == "bayesnas-lambda_w=0.1-rounds=2-0"
    sentences = Page(report_page([tmp_path / "swept"])).words
    assert "lambda_w = 0.1, rounds = 1 against lambda_w = 0.1, rounds = 2: one seed" in sentences


def test_several_runs_begin_side_by_side(home: Path) -> None:
    page = Page(report_page([home / name for name in RUNS]))
    names = [row[0] for row in page.tables[0][1:]]
    assert names == [
        "search",
        "search: posterior",
        "train",
        "compress: small",
        "compare: compared",
    ]


def test_a_run_at_work_is_shown_as_far_as_it_is(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "search", tmp_path / "run")
    for name in ("result.json", "pruned.nas", "search.svg", "members.jsonl"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    page = report_page([tmp_path / "run"])
    assert "not finished" in page
    assert "The course of the search" in page


def test_names_are_shown_and_never_run(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    striped(tmp_path / "data")
    name = "<script>alert('x')<"
    for part in ("train", "test"):
        (tmp_path / "data" / part / "rows").rename(tmp_path / "data" / part / name)
    command("train @tiny.nas --data folder:@data -o @run --option epochs=1", tmp_path)
    text = report_page([tmp_path / "run"])
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_of_a_drawing_shapes_and_words_stay_and_nothing_that_runs() -> None:
    text = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'viewBox="0 0 100 50" onload="alert(1)"><script>alert(2)</script>'
        '<a xlink:href="javascript:alert(3)" xlink:title="sep(3)"><path d="M0,0" '
        'stroke="url(evil:)"/></a><image href="http://far/away"/><text x="1">h[0]</text></svg>'
    )
    clean = drawing(text)
    assert "alert" not in clean
    assert "evil" not in clean
    assert "far" not in clean
    assert "<title>sep(3)</title>" in clean
    assert ">h[0]</text>" in clean
    assert drawing("no drawing") == ""


def test_the_page_is_written_at_the_end_and_its_failure_is_a_remark(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("BAYESNAS_REPORT")
    line = f"train {home}/search/pruned.nas --data folder:{home}/data -o @one --option epochs=1"
    command(line, tmp_path)
    assert f"report: {tmp_path / 'one' / 'report.html'}" in capsys.readouterr().out
    assert "Confusion matrix" in (tmp_path / "one" / "report.html").read_text("utf-8")

    def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("bayesnas.runtime.report.page.write_report", fail)
    command(line.replace("@one", "@two"), tmp_path)
    page = tmp_path / "two" / "report.html"
    remedy = f"try `bayesnas report {page.parent} -o {page}`"
    assert f"note: no report was written: the disk is full; {remedy}" in capsys.readouterr().err
    assert (tmp_path / "two" / "weights.pt").is_file()


@pytest.mark.parametrize(
    ("name", "text", "code", "note"),
    [
        ("gates.jsonl", '{"group": 1}', "D416", "at $[0]"),
        ("history.jsonl", "no json", "D416", ""),
        ("result.json", "[]", "D416", ""),
    ],
)
def test_files_that_no_run_writes_are_refused(
    name: str, text: str, code: str, note: str, home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "search", tmp_path / "run")
    (tmp_path / "run" / name).write_text(text, encoding="utf-8")
    with pytest.raises(DiagnosticError) as caught:
        report_page([tmp_path / "run"])
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == code
    assert name in diagnostic.message
    assert any(note in said for said in diagnostic.notes)


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert f"error[D415]: no run in `{tmp_path}`" in capsys.readouterr().err


def test_a_folder_of_runs_names_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(home)]) == 2
    said = capsys.readouterr().err
    assert f"error[D415]: no run in `{home}`" in said
    assert all(f"`{home / name}`" in said for name in RUNS if name != "compared")


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_a_browser_draws_every_figure_without_an_error(home: Path, tmp_path: Path) -> None:
    assert BROWSER is not None
    page = tmp_path / "page.html"
    page.write_text(report_page([home / name for name in RUNS]), encoding="utf-8")
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"),
            *("--window-size=1200,900", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    charts = len(Page(page.read_text("utf-8")).specs)
    assert f'<body data-drawn="{charts}">' in done.stdout
    assert 'class="chart failed"' not in done.stdout
    assert done.stdout.count('class="marks"') >= charts
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_numbers_that_are_told_are_shown_over_their_truth(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    spec = "network n(row: [10]) -> (answer: [1]) { row -> answer : linear(1) }"
    (tmp_path / "n.nas").write_text(spec, encoding="utf-8")
    command("train @n.nas --data diabetes -o @run --option epochs=2 --device cpu", tmp_path)
    page = Page(report_page([tmp_path / "run"]))
    residuals = next(table for table in page.tables if table[0][-1] == "residual")
    example, _, truth, answer, residual = residuals[1]
    assert example == "0"
    assert float(answer) - float(truth) == pytest.approx(float(residual), rel=0.01, abs=0.5)
    assert "By target" in page.words


def test_each_of_several_outputs_has_its_own_figures(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    arrays = {
        "image": chance.integers(0, 255, (30, 16, 16), dtype=np.uint8),
        "depth": chance.normal(size=(30, 16, 16)).astype(np.float32),
        "label": np.arange(30) % 3,
        "mask": chance.integers(0, 2, (30, 16, 16), dtype=np.uint8),
    }
    np.savez(tmp_path / "scenes.npz", **arrays)
    data = "npz:@scenes.npz --device cpu"
    command(f"train two_tasks --data {data} -o @run --option epochs=1 --set width=4", tmp_path)
    page = Page(report_page([tmp_path / "run"]))
    for said in ("test label accuracy", "label: Confusion matrix", "mask: Confusion matrix"):
        assert said in page.words
    assert "--objective" in page.words
    texts = [a["alt"] for a in page.all("img")]
    assert sum(text.startswith("prediction mask: ") for text in texts) == 6  # of the test part


def test_names_that_are_no_text_are_written_out(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    striped(tmp_path / "data")
    for part in ("train", "test"):
        folder = os.fsencode(tmp_path / "data" / part)
        os.rename(folder + b"/rows", folder + b"/caf\xe9")  # noqa: PTH104
    command("train @tiny.nas --data folder:@data -o @run --option epochs=1", tmp_path)
    write_report([tmp_path / "run"], tmp_path / "page.html")
    assert "caf\\udce9" in (tmp_path / "page.html").read_text("utf-8")


def test_the_command_again_says_that_it_began_with_weights(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    striped(tmp_path / "data")
    line = "train @tiny.nas --data folder:@data --option epochs=1 -o"
    command(f"{line} @first", tmp_path)
    command(f"{line} @second --weights @first", tmp_path)
    assert "--weights" not in report_page([tmp_path / "first"])
    assert "--weights RUN" in report_page([tmp_path / "second"])
