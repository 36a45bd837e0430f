"""Images that are read when they are needed give what images in memory give, to the bit."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from living import TINY, striped
from PIL import Image
from support import compile_text
from torch import Tensor
from torchvision.transforms import v2

from bayesnas.compiler.settings import TrainSettings
from bayesnas.dsl.diagnostics import DiagnosticError
from bayesnas.runtime.data.augmentation.extra import Extra
from bayesnas.runtime.data.dataset import Batches, Data, plain_batches, sameness_note
from bayesnas.runtime.data.examples import Examples, Need, Part
from bayesnas.runtime.data.folders import survey
from bayesnas.runtime.data.folders.decoding import Decoding
from bayesnas.runtime.data.folders.stream import Stream
from bayesnas.runtime.data.loading import load_data
from bayesnas.runtime.data.registry import DataOptions
from bayesnas.runtime.jobs.failures import explained
from bayesnas.runtime.jobs.preparation import training_notes
from bayesnas.runtime.runs.folder import Run

GRAPH = compile_text(TINY).graph
IN_MEMORY = DataOptions()
STREAMED = DataOptions(stream=True, workers=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped(tmp_path_factory.mktemp("striped"))


def load(folder: Path, options: DataOptions = STREAMED) -> Data:
    return load_data(f"folder:{folder}", GRAPH, options)


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Data, Data]:
    """The same in memory and streamed."""
    return load(folder, IN_MEMORY), load(folder)


def alike(some: Examples, others: Examples) -> None:
    assert len(some) == len(others)
    assert some.fingerprint() == others.fingerprint()
    assert_equal(some.inputs, others.inputs)
    assert_equal(some.targets, others.targets)
    assert_equal(some.example, others.example)
    for one, other in zip(some.statistics(), others.statistics(), strict=True):
        assert_equal(one, other)


def assert_equal(one: object, other: object) -> None:
    assert isinstance(one, Tensor)
    assert isinstance(other, Tensor)
    assert one.dtype == other.dtype
    assert torch.equal(one, other)


def test_all_that_is_asked_of_examples(both: tuple[Data, Data]) -> None:
    memory, streamed = both
    assert isinstance(memory.train, Part)
    assert isinstance(streamed.train, Stream)
    assert (memory.mean == streamed.mean, memory.std == streamed.std) == (True, True)
    for one, other in ((memory.train, streamed.train), (memory.test, streamed.test)):
        alike(one, other)
        chosen = torch.tensor([5, 0, 17, 5, 3])
        alike(one.subset(chosen), other.subset(chosen))
        alike(one.first(7).first(4), other.first(7).first(4))
        alike(one.retargeted(one.targets.float()), other.retargeted(other.targets.float()))
        alike(one.changed(_negative), other.changed(_negative))
        drawn = (torch.Generator().manual_seed(1) for _ in range(2))
        sample, streamed_sample = one.sample(9, next(drawn)), other.sample(9, next(drawn))
        alike(sample, streamed_sample)
        assert isinstance(streamed_sample.at_hand(), Part)
        alike(sample, streamed_sample.at_hand())
    assert streamed.note.startswith("the 66 images are read when they are needed, by 2 processes")


def _negative(inputs: object) -> Tensor:
    assert isinstance(inputs, Tensor)
    return 255 - inputs


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_memory_whatever_the_number_of_processes(
    workers: int, both: tuple[Data, Data], folder: Path
) -> None:
    """Order, augmentation and what the run itself draws, over passes and from the midst of one."""
    streamed = load(folder, DataOptions(stream=True, workers=workers))
    expected, state = passes(both[0], 0)
    found, streamed_state = passes(streamed, 0)
    assert torch.equal(state, streamed_state)
    assert len(expected) == len(found) == 8
    for (x, y), (a, b) in zip(expected, found, strict=True):
        assert_equal(x, a)
        assert_equal(y, b)
    for (x, y), (a, b) in zip(passes(both[0], 2)[0], passes(streamed, 2)[0], strict=True):
        assert_equal(x, a)
        assert_equal(y, b)


def passes(
    data: Data, taken: int, extra: Extra | None = None
) -> tuple[list[tuple[object, Tensor]], Tensor]:
    """Eight batches of 13 of 48, less those taken, and what PyTorch draws afterwards."""
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(3)
    augment = "none" if extra else "shift_flip"
    batches = [*Batches(data, data.train, 13, augment, generator, extra).series(8, taken)]
    return batches, torch.rand(3)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "extra", [Extra(crop=0.5, color_jitter=0.4), Extra(policy="trivial", rotate=9)], ids=str
)
def test_images_are_changed_alike_wherever_they_are_decoded(
    extra: Extra, workers: int, both: tuple[Data, Data], folder: Path
) -> None:
    """In memory and streamed, over passes and from the midst of one."""
    streamed = load(folder, DataOptions(stream=True, workers=workers))
    expected, state = passes(both[0], 0, extra)
    found, streamed_state = passes(streamed, 0, extra)
    assert torch.equal(state, streamed_state)
    plain, _ = passes(both[0], 0)
    for (x, _), (a, _), (raw, _) in zip(expected, found, plain, strict=True):
        assert_equal(x, a)
        assert not torch.equal(torch.as_tensor(x), torch.as_tensor(raw))
    first, second = (torch.as_tensor(x) for x, _ in (expected[0], expected[4]))
    assert not torch.equal(first, second)  # of two passes
    for (x, _), (a, _) in zip(expected[2:4], passes(streamed, 2, extra)[0][:2], strict=True):
        assert_equal(x, a)


def test_streamed_crops_are_of_the_whole_image(tmp_path: Path) -> None:
    """As torchvision cuts them out of what is in the files, though the network's size is less."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 64), dtype=np.uint8)
    for name in ("train/a/1", "train/b/1", "train/c/1", "test/a/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    data = load(tmp_path, DataOptions(stream=True, workers=0, resize=True))
    crops = TrainSettings(crop=0.05)
    assert training_notes(crops, GRAPH, data) == Extra(crop=0.05).notes(data.train.example)
    memory = load(tmp_path, DataOptions(resize=True))
    [*_, note] = training_notes(crops, GRAPH, memory)
    assert note.startswith("`crop` cuts out of images as they lie in memory, some of them brought")
    assert not training_notes(TrainSettings(), GRAPH, memory)
    need = Need([slice(3)], Extra(crop=0.05), [torch.arange(3) + 5])
    [(images, _)] = data.train.batches([torch.arange(3)], need)
    cut = v2.RandomResizedCrop((8, 8), scale=(0.05, 1.0), antialias=True)
    for seed, image in enumerate(torch.as_tensor(images), start=5):
        torch.manual_seed(seed)
        assert_equal(image, cut(torch.from_numpy(noise)[None]))


@pytest.mark.parametrize("extra", [Extra(), Extra(crop=0.5)], ids=["as they are", "crop"])
def test_rows_that_are_needed_are_those_of_whole_batches(
    extra: Extra, both: tuple[Data, Data]
) -> None:
    chosen, seeds = [torch.tensor([7, 0, 30, 4, 9])], [torch.arange(5)]
    for data in both:
        [(whole, targets)] = data.train.batches(chosen, Need([slice(5)], extra, seeds))
        [(some, same)] = data.train.batches(chosen, Need([slice(1, 3)], extra, seeds))
        assert_equal(some[1:3], whole[1:3])
        assert_equal(same, targets)
    assert not torch.as_tensor(some)[[0, 3, 4]].any()  # streamed: what is not needed is not read


def test_a_pass_within_a_pass(both: tuple[Data, Data]) -> None:
    """As a search looks at held-out examples between two steps."""
    memory, streamed = both
    found = []
    for _ in plain_batches(streamed, streamed.train, 16):
        found += [x for x, _ in plain_batches(streamed, streamed.test, 6)]
    expected = [x for x, _ in plain_batches(memory, memory.test, 6)]
    assert len(found) == 9
    assert all(torch.equal(x, y) for x, y in zip(found, 3 * expected, strict=True))


def test_data_streams_where_it_does_not_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def fits(size: int, device: torch.device) -> bool:
        assert device.type == "cpu"
        sizes.append(size)
        return False

    monkeypatch.setattr(survey, "fits", fits)
    read = DataOptions(workers=0)
    data = load_data(f"folder:{folder}", GRAPH, read, device=torch.device("cpu"))
    assert isinstance(data.test, Stream)
    assert sizes == [66 * 64]
    assert data.note == (
        "the 66 images are read when they are needed, by this process (`--workers`): decoded they "
        "take 0.0 GiB, over 25% of free memory"
    )


def test_pixels_of_sixteen_bits(tmp_path: Path) -> None:
    root = striped(tmp_path / "deep", train=4, test=2)
    array = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(array).save(root / "train/rows/3.png")
    memory, streamed = load(root, IN_MEMORY), load(root)
    assert isinstance(memory.train.inputs, Tensor)
    assert memory.train.inputs.dtype == torch.float32
    alike(memory.train, streamed.train)
    alike(memory.test, streamed.test)


def test_images_that_are_all_the_same(tmp_path: Path) -> None:
    for name in ("train/a/1", "train/a/2", "train/b/1", "train/c/1", "test/a/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 7).save(tmp_path / f"{name}.png")
    assert sameness_note(load(tmp_path).train)


@pytest.mark.parametrize("deep", [False, True])
def test_a_long_reading_is_remembered(
    deep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as no file changes; what is kept may be gone or broken."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, readings = striped(tmp_path / "images", train=4, test=2), 0
    if deep:
        array = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
        Image.fromarray(array).save(root / "train/rows/3.png")
    batches = Decoding.batches

    def counted(self: Decoding, *asked: Any) -> Iterator[Any]:
        nonlocal readings
        readings += 1
        return batches(self, *asked)

    def read() -> tuple[int, Data]:
        """How many passes a loading makes, and what it loads."""
        nonlocal readings
        readings = 0
        data = load(root)
        return readings, data

    monkeypatch.setattr(Decoding, "batches", counted)
    passes = read()[0]
    assert passes > 0
    assert read()[0] == passes  # too short to be kept
    monkeypatch.setattr(survey, "LONG", -1)
    first, fresh = read()
    [kept] = (tmp_path / "cache/bayesnas").iterdir()
    again, remembered = read()
    assert (first - again, remembered.note) == (3 if deep else 2, fresh.note)
    alike(fresh.train, remembered.train)
    alike(fresh.test, remembered.test)
    for text in ("", "{}", kept.read_text().replace('"parts": [', '"parts": [], "x": [')):
        kept.write_text(text)
        assert read()[0] == first
    os.utime(root / "test/rows/1.png", ns=(0, 0))
    assert read()[0] == first
    assert read()[0] == again


def refusal(folder: Path) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        load(folder)
    [said] = caught.value.diagnostics
    return [said.code, said.message, *said.notes]


def test_what_is_wrong_is_told_before_a_run(tmp_path: Path) -> None:
    root = striped(tmp_path / "broken", train=4, test=2)
    small = root / "train/columns/1.png"
    Image.new("L", (5, 8)).save(small)
    message = f"`{small}` is [1, 8, 5], the network takes [1, 8, 8]"
    assert refusal(root) == ["D505", message, "the images are of several sizes"]
    small.write_text("no image")
    (root / "test/rows/0.png").write_bytes(b"")
    code, message, *notes = refusal(root)
    assert (code, message) == ("D504", f"cannot read 2 images of `folder:{root}`")
    assert [note.partition(": ")[0] for note in notes] == [
        f"`{small}`",
        f"`{root / 'test/rows/0.png'}`",
    ]


def test_a_file_that_changes_later(tmp_path: Path) -> None:
    data = load(striped(tmp_path, train=4, test=2))
    gone, broken = tmp_path / "train/rows/2.png", tmp_path / "train/rows/3.png"
    gone.unlink()
    broken.write_text("no image")
    batches = data.train.in_order(5)
    assert len(next(batches)[1]) == 5
    before = {child.pid for child in multiprocessing.active_children()}
    with pytest.raises(DiagnosticError) as caught:
        list(batches)
    # Whoever holds the error holds no process that decodes: Python would wait for it at its end.
    assert isinstance(data.train, Stream)
    assert not data.train.decoding.started
    assert len(before - {child.pid for child in multiprocessing.active_children()}) == 2
    [said] = caught.value.diagnostics
    assert said.message == f"cannot read 2 images of `folder:{tmp_path}`"
    assert all(str(path) in note for path, note in zip((gone, broken), said.notes, strict=True))


def test_an_error_in_the_midst_of_a_pass_keeps_no_processes(folder: Path) -> None:
    """As of memory that runs out: where it is held, Python would wait for them at its end."""
    data = load(folder)
    batches = Batches(data, data.train, 5, "none", torch.Generator())
    with (
        mock.patch.object(Batches, "_learned", side_effect=[(None, None), MemoryError]),
        pytest.raises(MemoryError) as caught,
    ):
        list(batches)
    assert caught.value is not None
    assert isinstance(data.train, Stream)
    assert not data.train.decoding.started


@pytest.fixture
def _stranger() -> Iterator[None]:
    before = {*multiprocessing.active_children()}
    yield
    assert {*multiprocessing.active_children()} <= before


@pytest.mark.usefixtures("_stranger")
@pytest.mark.parametrize("taken", [3, 1], ids=["whole", "in its midst"])
def test_processes_end_with_data_that_the_collector_finds(tmp_path: Path, taken: int) -> None:
    """They ignore what ends others, so a run would wait for one that nobody told."""
    before = {*multiprocessing.active_children()}
    data = load(striped(tmp_path, train=2, test=2), DataOptions(stream=True, workers=1))
    batches = data.train.in_order(2)
    for _ in zip(range(taken), batches):  # noqa: B905
        pass
    assert len({*multiprocessing.active_children()} - before) == 1
    circle: list[Any] = [data, batches]
    circle.append(circle)
    del circle, data, batches
    gc.collect()


# PyTorch raises in the midst of whatever runs when it hears: of opening a file, for one.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("_stranger")
def test_a_process_that_is_killed(tmp_path: Path) -> None:
    before = {*multiprocessing.active_children()}
    data = load(striped(tmp_path, train=12, test=2), DataOptions(stream=True, workers=1))
    batches = data.train.in_order(2)
    next(batches)
    [worker] = {*multiprocessing.active_children()} - before
    assert worker.pid is not None
    pid = worker.pid

    def killed() -> None:
        with explained(Run(tmp_path), 0.1):  # PyTorch raises when it hears of it, here or there
            os.kill(pid, signal.SIGKILL)
            list(batches)

    with pytest.raises(DiagnosticError) as caught:
        killed()
    [said] = caught.value.diagnostics
    assert (said.code, caught.value.status) == ("D617", 1)
    assert said.message == "a process that decodes images has died"
    assert "--workers 0" in said.help
