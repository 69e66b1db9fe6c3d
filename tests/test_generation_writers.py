"""The folder writer: whole files, labels that match, earlier runs, full disks; and the contact sheet."""

import errno
import json
import os

import numpy as np
import pytest
from PIL import Image, ImageFont

from hmeg.generation import writers
from hmeg.generation.contact_sheet import MAX_SAMPLES, caption_of, contact_sheet, wrapped
from hmeg.generation.sample import Sample
from hmeg.generation.writers import FolderWriter
from hmeg.graph import Relation, SymbolGraph


def sample(index=0, latex="x y", colour=False):
    shape = (32, 32, 3) if colour else (32, 32)
    pixels = np.random.default_rng(index).integers(0, 256, shape).astype(np.uint8)
    graph = SymbolGraph(("x", "y"), (Relation(0, 1, "Right"),))
    return Sample(pixels, graph, latex, np.array([[0, 1.25, 8, 9], [9, 1, 31.5, 32]]), 11, index, "tiny@0123456789ab")


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("colour", [False, True])
def test_writes_images_and_labels(tmp_path, colour):
    with FolderWriter(tmp_path / "new" / "run") as writer:
        assert writer.write(sample(3, colour=colour)) == "000003.png"
        writer.write(sample(1_234_567, latex="x \u00e9", colour=colour))
        writer.reject(7, "\\hbar", "unknown")
    folder = tmp_path / "new" / "run"
    assert sorted(p.name for p in folder.iterdir()) == [
        "000003.png",
        "1234567.png",
        "contact_sheet.png",
        "labels.jsonl",
        "rejected.jsonl",
    ]
    first, second = read_lines(folder / "labels.jsonl")
    assert first == {
        "image": "000003.png",
        "latex": "x y",
        "symbols": ["x", "y"],
        "boxes": [[0, 1.25, 8, 9], [9, 1, 31.5, 32]],
        "relations": [[0, 1, "Right"]],
        "seed": 11,
        "index": 3,
        "weights": "tiny@0123456789ab",
    }
    assert second["latex"] == "x \u00e9"
    with Image.open(folder / "000003.png") as image:
        np.testing.assert_array_equal(np.asarray(image), sample(3, colour=colour).array)
    assert read_lines(folder / "rejected.jsonl") == [{"line": 7, "text": "\\hbar", "reason": "unknown"}]


def test_earlier_run_is_refused_then_replaced(tmp_path):
    with FolderWriter(tmp_path) as writer:
        writer.write(sample(0))
        writer.write(sample(1))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "photo.png").write_bytes(b"mine")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match=r"holds an earlier run of 2 images.*--overwrite"):
        FolderWriter(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with FolderWriter(tmp_path, overwrite=True) as writer:
        writer.write(sample(5))
    assert [label["index"] for label in read_lines(tmp_path / "labels.jsonl")] == [5]
    assert {p.name for p in tmp_path.glob("*.png")} == {"000005.png", "contact_sheet.png", "photo.png"}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_run_without_samples_is_no_earlier_run(tmp_path):
    with FolderWriter(tmp_path) as writer:
        writer.reject(1, "", "nothing")
    with FolderWriter(tmp_path) as writer:
        writer.write(sample(0))
    assert read_lines(tmp_path / "rejected.jsonl") == []


@pytest.mark.parametrize("name", ["000001.png", "contact_sheet.png", "rejected.jsonl"])
def test_files_of_others_are_never_removed(tmp_path, name):
    (tmp_path / name).write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match=f"holds {name}, but no labels.jsonl"):
        FolderWriter(tmp_path, overwrite=True)
    assert (tmp_path / name).read_bytes() == b"somebody's"


def test_out_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        FolderWriter(tmp_path / "file")


def test_disk_full_while_an_image_is_written(tmp_path, monkeypatch):
    writer = FolderWriter(tmp_path)
    writer.write(sample(0))
    replace = os.replace

    def full(source, target):
        if "000001" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(writers.os, "replace", full)
    with pytest.raises(OSError, match="No space left"), writer:
        writer.write(sample(1))
    assert sorted(p.name for p in tmp_path.glob("0*")) == ["000000.png"]
    assert [label["image"] for label in read_lines(tmp_path / "labels.jsonl")] == ["000000.png"]


def test_disk_full_while_a_label_is_written(tmp_path):
    writer = FolderWriter(tmp_path)
    writer.write(sample(0))

    class Full:
        def __init__(self, file):
            self.file = file
            self.calls = 0

        def write(self, data):
            self.calls += 1
            if self.calls > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data[:20])

        def __getattr__(self, name):
            return getattr(self.file, name)

    file = writer._labels._file
    writer._labels._file = Full(file)
    with pytest.raises(OSError, match="No space left"):
        writer.write(sample(1))
    writer._labels._file = file
    assert not (tmp_path / "000001.png").exists()
    writer.write(sample(2))
    writer.close()
    assert [label["image"] for label in read_lines(tmp_path / "labels.jsonl")] == ["000000.png", "000002.png"]


def test_contact_sheet_shows_every_sample():
    one = contact_sheet([sample(0)])
    four = contact_sheet([sample(i) for i in range(4)])
    many = contact_sheet([sample(i, colour=True) for i in range(MAX_SAMPLES + 9)])
    assert one.mode == "RGB"
    assert four.width > 3 * one.width
    assert four.height == one.height
    assert many.width > 7 * (one.width - 24)
    assert many.height > 7 * (one.height - 24)
    # the noise of a picture is on its card: far from the colours of page and card
    spread = np.asarray(many.convert("L")).astype(float)
    cell = many.width // 8
    assert all(spread[20:180, column * cell + 30 : (column + 1) * cell - 30].std() > 25 for column in range(8))
    with pytest.raises(ValueError, match="at least one sample"):
        contact_sheet([])


@pytest.mark.parametrize(
    ("latex", "caption"),
    [
        (r"\frac { 1 } { C } = x ^ { 2 } \cos y", r"\frac{1}{C} = x^{2} \cos y"),
        ("y = x^{2}", "y = x^{2}"),
        (None, "x y"),
    ],
)
def test_caption_has_no_needless_blanks(latex, caption):
    assert caption_of(sample(0, latex=latex)) == caption


def test_caption_is_drawn_below_the_picture():
    with_text = np.asarray(contact_sheet([sample(0, latex=r"\frac { a } { b }")]).convert("L"))
    without = np.asarray(contact_sheet([sample(0, latex="")]).convert("L"))
    differing = np.argwhere(with_text != without)
    assert len(differing) > 50
    assert differing[:, 0].min() >= 12 + 8 + 192


@pytest.mark.parametrize(
    "text", ["x", "", "x " * 400, "x" * 5000, "a long \\frac { a } { b } that fills lines", "tab\tnew\nline\x00"]
)
def test_captions_fit(text):
    font = ImageFont.load_default(12)
    lines = wrapped(text, font, 150, 2)
    assert len(lines) <= 2
    assert all(font.getlength(line) <= 150 for line in lines)
    shown = "".join(lines).replace(" ", "")
    wanted = "".join(c if c.isprintable() else " " for c in text).replace(" ", "")
    if shown.endswith("...") and shown != wanted:
        assert wanted.startswith(shown[:-3])
    else:
        assert shown == wanted
