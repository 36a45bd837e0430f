"""Tables: what is read, what is predicted, what becomes of columns, and what is wrong with them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import assert_style, graph_of

from bayesnas.compiler.graph.model import Graph
from bayesnas.compiler.pipeline import compile_spec
from bayesnas.compiler.settings import SearchSettings, TrainSettings, make_settings
from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.data.dataset import Data
from bayesnas.runtime.data.folders.listing import Findings
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions, Request
from bayesnas.runtime.data.tables.columns import Preparation
from bayesnas.runtime.data.tables.files import Table, read_table
from bayesnas.runtime.data.tables.source import load, read_rows
from bayesnas.runtime.data.tables.targets import Targets
from bayesnas.runtime.jobs.prediction import Fault, Prediction, predictions
from bayesnas.runtime.jobs.search.search import search
from bayesnas.runtime.jobs.search.space import Space
from bayesnas.runtime.jobs.train import train
from bayesnas.runtime.jobs.trained import TrainedRun, evaluate_run
from bayesnas.runtime.runs.record import RunOptions

ROWS = """age,town,note,weight,kind,price
31,Bonn,x,70.5,a,1
,Köln,x,81,b,2.5
45,Bonn,x,64,a,3
27,,x,90,b,4.25
"""


def takes(inputs: int, outputs: int) -> Graph:
    return graph_of(
        f"network n(x: [{inputs}]) -> (y: [{outputs}]) {{ x -> y : linear({outputs}) }}"
    )


def write(path: Path, text: str = ROWS, times: int = 5) -> str:
    """A table with its rows repeated, as data is called."""
    head, _, rows = text.partition("\n")
    path.write_text(f"{head}\n{rows * times}", encoding="utf-8")
    return f"csv:{path}"


def loaded(path: Path, inputs: int, outputs: int, *target: str, text: str = ROWS) -> Data:
    options = DataOptions(target=target)
    return load_data(write(path, text), takes(inputs, outputs), options)


@pytest.mark.parametrize("form", ["{}.0", "0{}", "{}"])
def test_classes_that_are_numbers_have_one_name_in_all_tables(form: str, tmp_path: Path) -> None:
    rows = [f"{n},{form.format(n % 3)}" for n in range(30)]
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text("\n".join(["a,kind", *rows]))
    data = load_data(f"csv:{tmp_path}", takes(1, 3), DataOptions(target=("kind",)))
    assert data.task.strata_names == ("0", "1", "2")
    assert data.test.targets.tolist() == [n % 3 for n in range(30)]


def refused(name: str, inputs: int, outputs: int, *target: str) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_data(name, takes(inputs, outputs), DataOptions(target=target))
    [found] = caught.value.diagnostics
    assert_style(found)
    return found


# -------------------------------------------------------------------------------------- columns


def test_columns_become_features(tmp_path: Path) -> None:
    """Medians for what is missing, marked; a feature a category; what tells nothing is left out."""
    table = read_table(Path(write(tmp_path / "t.csv", times=1).partition(":")[2]))
    prepared, said = Preparation.fitted(table, ["age", "town", "note", "weight"], 0)
    inputs, remark = prepared.of(table)
    assert prepared.features == ("age", "age missing", "town=", "town=Bonn", "town=Köln", "weight")
    assert inputs.tolist() == [
        [31, 0, 0, 1, 0, 70.5],
        [31, 1, 0, 0, 1, 81],
        [45, 0, 0, 1, 0, 64],
        [27, 0, 1, 0, 0, 90],
    ]
    assert remark == ""
    assert said == (
        "6 features of 3 columns, numbers are `age` and `weight`, missing ones are the median, and "
        "marked: `age` 1, categories, a feature each: `town` 3; left out: `note` (the same in all "
        "rows)"
    )
    assert Preparation.of_record(prepared.record()) == prepared


def test_new_rows_become_what_those_of_the_training_did(tmp_path: Path) -> None:
    """Columns are found by name, unknown categories are none, and texts stay texts."""
    table = read_table(Path(write(tmp_path / "t.csv", times=1).partition(":")[2]))
    prepared, _ = Preparation.fitted(table, ["age", "town"], 0)
    rows = tmp_path / "new.csv"
    rows.write_text("town;more;age\n1;y;\n2;y;50\nBonn;y;NA\n", encoding="utf-8")
    inputs, remark = read_rows(rows, prepared.record(), (), DataOptions(), Findings())
    assert inputs.tolist() == [[31, 1, 0, 0, 0], [50, 0, 0, 0, 0], [31, 1, 0, 1, 0]]
    assert remark == "entries that are no category of the training: `town` 2"


def test_rare_and_unknown_texts_are_told_apart(tmp_path: Path) -> None:
    """Of 120 towns 100 have a feature; the test part has one town that none has heard of."""
    for name, towns in (("train", [f"t{k % 120}" for k in range(240)]), ("test", ["t0", "new"])):
        rows = "".join(f"{town},{k % 2}\n" for k, town in enumerate(towns))
        (tmp_path / f"{name}.csv").write_text(f"town,y\n{rows}", encoding="utf-8")
    note = load(Request("csv:t", str(tmp_path), (100,), DataOptions(target=("y",)))).note
    assert "entries to learn that are rarer than the 100 with a feature: `town` 40" in note
    assert "entries that are no category of the training, to test: `town` 1" in note


def test_categories_are_numbered_where_a_network_takes_a_number_a_column(tmp_path: Path) -> None:
    text = "a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in ["ux1", "uy2", "vx1", "vy1"])
    data = loaded(tmp_path / "t.csv", 2, 2, "y", text=text)
    assert data.train.inputs.max() == 2
    assert data.train.inputs.min() == 1
    assert data.normalize(data.train.inputs).tolist() == data.train.inputs.tolist()


def test_quantities_are_standardised_by_the_training_part_and_marks_are_not(
    tmp_path: Path,
) -> None:
    data = loaded(tmp_path / "t.csv", 8, 1, "price")
    inputs = data.normalize(data.train.inputs)
    marks = [k for k, std in enumerate(data.std.tolist()) if std == 1]
    assert len(marks) == 6
    for k in range(8):
        column = inputs[:, k]
        if k in marks:
            assert set(column.tolist()) <= {0, 1}
        else:
            assert float(column.mean()) == pytest.approx(0, abs=1e-6)


# -------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("outputs", "target", "about"),
    [
        (2, ("kind",), "Classification(classes=('a', 'b')"),
        (1, ("kind",), "Classification(classes=('a', 'b')"),
        (1, ("price",), "R2"),
        (1, ("weight",), "R2"),
        (2, ("weight", "price"), "R2"),
        (3, ("age",), "Classification(classes=('27', '31', '45')"),
        (1, ("age",), "R2"),  # one output is a number
    ],
)
def test_columns_tell_what_is_learned(
    outputs: int, target: tuple[str, ...], about: str, tmp_path: Path
) -> None:
    name = write(tmp_path / "t.csv")
    with pytest.raises(DiagnosticError, match="the network takes") as caught:
        load_data(name, takes(99, outputs), DataOptions(target=target))
    [width] = [d.help for d in caught.value.diagnostics]
    inputs = int(width.partition("[")[2].partition("]")[0])
    task = load_data(name, takes(inputs, outputs), DataOptions(target=target)).task
    assert str(task).startswith(about) or task.metric == about


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    data = loaded(tmp_path / "t.csv", 6, 3, "age")
    assert len(data.train) + len(data.test) == 15
    assert "5 rows of" in data.note


def test_zeros_and_ones_of_several_columns_are_labels(tmp_path: Path) -> None:
    text = "x,sun,rain\n" + "".join(f"{k},{k % 2},{k % 3 % 2}\n" for k in range(12))
    data = loaded(tmp_path / "t.csv", 1, 2, "sun", "rain", text=text)
    assert data.task.record() == {"labels": ["sun", "rain"]}


def test_a_folder_has_parts(tmp_path: Path) -> None:
    write(tmp_path / "train.csv")
    write(tmp_path / "val.csv", times=2)
    data = load_data(f"csv:{tmp_path}", takes(8, 1), DataOptions(target=("price",)))
    assert (len(data.train), len(data.test)) == (20, 8)
    assert "there is no `test`: `val.csv` is the test part" in data.note


# -------------------------------------------------------------------------------------- a run


def test_a_run_judges_and_answers_rows_that_it_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searched, trained, judged again, and asked about rows without what is predicted."""
    monkeypatch.setattr("bayesnas.compiler.artifacts.figure.has_dot", lambda: False)
    random = np.random.default_rng(0)
    size, town = random.normal(70, 20, size=150), random.choice(["Bonn", "Köln", "Ulm"], 150)
    price = 3 * size + 100 * (town == "Ulm") + random.normal(0, 5, size=150)
    lines = [f"{s:.1f},{t},{p:.1f}" for s, t, p in zip(size, town, price, strict=True)]
    file = tmp_path / "flats.csv"
    file.write_text("\n".join(["size,town,price", *lines]), encoding="utf-8")
    space = compile_spec("table", {"columns": 4, "width": 8, "depth": 2})
    read = DataOptions(target=("price",))
    given = {"device": "cpu", "data_options": read}
    short = {"warmup_epochs": 1, "epochs": 1, "rounds": 1, "strategy": "evidence"}
    options = RunOptions(f"csv:{file}", tmp_path / "search", **given)
    search(Space(space), make_settings(SearchSettings, short), options)
    found = compile_spec(tmp_path / "search" / "pruned.nas")
    settings = make_settings(TrainSettings, {"epochs": 40, "batch_size": 16})
    result = train(found, settings, RunOptions(f"csv:{file}", tmp_path / "train", **given))
    assert result.test.quality > 0.8

    again, _ = evaluate_run(RunOptions("", tmp_path / "train", device="cpu"))
    assert again.score == result.test
    own, _ = evaluate_run(RunOptions(f"csv:{file}", tmp_path / "train", device="cpu"))
    assert own.score == result.test
    new = tmp_path / "new.csv"
    new.write_text("town,size\nUlm,70\nBonn,70\n,70\n", encoding="utf-8")
    other = shutil.copy(new, tmp_path / "new.dat")  # the run was trained on tables
    [again, *_] = predictions(
        TrainedRun.open(tmp_path / "train"),
        [Path(other)],
        DataOptions(),
        1,
        lambda _: None,
        Findings(),
    )
    assert isinstance(again, Prediction)
    broken = tmp_path / "broken.csv"
    broken.write_text("town\nUlm\n", encoding="utf-8")
    trained, findings = TrainedRun.open(tmp_path / "train"), Findings()
    outcomes = list(predictions(trained, [new, broken], DataOptions(), 1, id, findings))  # type: ignore[arg-type]
    assert again.answers == outcomes[0].answers  # type: ignore[union-attr]
    [ulm, bonn, nowhere] = [o.answers[0][1] for o in outcomes if isinstance(o, Prediction)]
    assert ulm == pytest.approx(310, abs=40)
    assert bonn == pytest.approx(210, abs=40)
    assert np.isfinite(nowhere)
    assert [o.reason for o in outcomes if isinstance(o, Fault)] == [
        "has no column `size`, which the network reads"
    ]
    assert findings.texts() == ["1 file: entries that are no category of the training: `town` 1"]


# -------------------------------------------------------------------------------------- wrong

# A table, what of it is predicted, the code, and the message, in which `F` stands for the file.
WRONG: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "no target": (ROWS, (), "D516", "`F` has columns, and none is said to be predicted"),
    "no such target": (ROWS, ("cost",), "D516",
                       "`F` has no column `cost`, which is to be predicted"),
    "one name twice": ("a,a\n1,2\n", ("a",), "D516", "`F` has several columns called `a`"),
    "nothing but the target": ("y\n1\n2\n1\n2\n", ("y",), "D516",
                               "`F` has no column that tells anything"),
    "a short row": ("a,y\n1,2\n1\n", ("y",), "D512",
                    "`F` has 1 entries in row 3, and 2 names in the first"),
    "no rows": ("a,y\n", ("y",), "D512", "`F` has no rows"),
    "nothing": ("", ("y",), "D512", "`F` has no rows"),
    "one class": ("a,y\n1,u\n2,u\n", ("y",), "D514", "`F` has a single class in `y`, `u`"),
    "a constant": ("a,y\n1,0.5\n2,0.5\n", ("y",), "D514",
                   "`y` of `F` is 0.5 in all examples"),
    "a text among targets": (ROWS, ("kind", "price"), "D514",
                             "`F` has texts in `kind`, of which one alone is predicted as classes"),
    "an empty target": ("a,y\n1,\n2,\n", ("y",), "D514", "`F` has no row with `y`"),
    "infinity": ("a,y\n1,1.5\ninf,2.5\n3,4\n4,5.5\n", ("y",), "D513",
                 "`F` has a number in `a` that is not finite"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "target", "code", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_tables(
    text: str, target: tuple[str, ...], code: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    found = refused(f"csv:{path}", 1, 1, *target)
    assert (found.code, found.message) == (code, message.replace("`F`", f"`{path}`"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    found = refused(f"csv:{path}", 1, 1, "y")
    assert (found.code, found.message) == ("D510", f"no file `{path}`")
    path.write_bytes(b"a,y\n\xff\xfe,1\n")
    found = refused(f"csv:{path}", 1, 1, "y")
    assert (found.code, found.message) == ("D510", f"`{path}` cannot be read")
    (tmp_path / "d").mkdir()
    found = refused(f"csv:{tmp_path / 'd'}", 1, 1, "y")
    assert (found.code, found.message) == ("D510", f"no `train` in `{tmp_path / 'd'}`")


def test_parquet_needs_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr("bayesnas.dsl.diagnostics.find_spec", lambda _: None)
    found = refused(f"csv:{path}", 1, 1, "y")
    assert (found.code, found.message) == ("D436", "a Parquet file needs `pandas` and `pyarrow`")
    assert found.help.startswith("pip install 'bayesnas[parquet]'")


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="needs pandas and pyarrow")
def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    import pandas

    path = Path(write(tmp_path / "t.csv").partition(":")[2])
    pandas.read_csv(path).to_parquet(tmp_path / "t.parquet")
    same = read_table(path), read_table(tmp_path / "t.parquet")
    for name, column in same[0].columns.items():
        np.testing.assert_array_equal(column, same[1].columns[name])


def test_between_semicolons_numbers_may_have_a_comma_for_a_point(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b;c\n1,5;1.234,5;x\n;2,0;y\n-2;3,0;x\n")
    columns = read_table(path).columns
    np.testing.assert_array_equal(columns["a"], [1.5, np.nan, -2.0])
    assert columns["b"].tolist() == ["1.234,5", "2,0", "3,0"]  # which of the two is the point?
    path.write_text('a,b\n"1,500",1\n')
    assert read_table(path).columns["a"].tolist() == ["1,500"]


def test_the_entry_that_is_no_number_is_named_though_commas_are_points(tmp_path: Path) -> None:
    good = "\n".join(f"{k},5;{k % 2}" for k in range(20))
    (tmp_path / "good.csv").write_text(f"a;kind\n{good}\n", "utf-8")
    data = load_data(f"csv:{tmp_path / 'good.csv'}", takes(1, 2), DataOptions(target=("kind",)))
    (tmp_path / "bad.csv").write_text("a;kind\n2,5;0\noops;1\n", "utf-8")
    columns = data.columns[""]
    with pytest.raises(DiagnosticError) as caught:
        read_rows(tmp_path / "bad.csv", columns, (1,), DataOptions(), Findings())
    assert "has `oops` in `a`, example 1" in caught.value.diagnostics[0].message


def test_names_of_classes_are_those_of_the_training_whatever_their_zeros() -> None:
    """Texts of a Parquet file keep theirs: `01` stays `01`, and is met by `1` of a CSV file."""
    names = np.array(["01", "02", "10", "01"])
    table = Table("`t`", {"kind": names})
    learned = Targets.of(table, ("kind",), 3).task("`t`")
    assert learned.strata_names == ("01", "02", "10")
    again = Targets.of(table, ("kind",), 0, learned)
    assert again.array.tolist() == names.tolist()
    other = Table("`u`", {"kind": np.array(["1", "2.0", "10", "x"])})
    assert Targets.of(other, ("kind",), 0, learned).array.tolist() == ["01", "02", "10", "x"]
