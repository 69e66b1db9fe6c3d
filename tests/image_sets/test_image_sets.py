"""The same images from every form they may have, and clear words about files that are damaged or hostile."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from hmeg.cli.generate import command as generate
from hmeg.evaluation.image_metrics import fitted
from hmeg.evaluation.pairs import pair
from hmeg.image_sets import Entry, canonical_label, open_images
from hmeg.image_sets.formats import FORMATS
from tests.support.tiny_model import save_tiny

LATEX = ["x + 1", r"\frac{a}{b}", "x^2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same three samples in all forms of hmeg generate."""
    folder = tmp_path_factory.mktemp("runs")
    weights = save_tiny(folder / "tiny.safetensors")
    for form in FORMATS:
        arguments = ["--weights", weights, "--size", 64, "--device", "cpu", "--format", form, "--out", folder / form]
        texts = [part for latex in LATEX for part in ("--latex", latex)]
        result = CliRunner().invoke(generate, [str(a) for a in (*arguments, *texts)])
        assert result.exit_code == 0, result.output
    return {form: folder / form for form in FORMATS}


def picture(path: Path, grey: int = 200) -> None:
    Image.fromarray(np.full((8, 8), grey, dtype=np.uint8)).save(path)


def test_every_form_gives_the_same_images_and_labels(runs: dict[str, Path]) -> None:
    sets = {form: open_images(path) for form, path in runs.items()}
    files = open_images(runs["can"] / "train_images.pkl"), open_images(runs["comer"] / "data.zip")
    assert open_images(runs["webdataset"] / "000000.tar").labels == sets["webdataset"].labels
    for images in (*sets.values(), *files):
        assert [Path(name).stem for name in images.names] == ["000000", "000001", "000002"]
        assert images.labels == ["x + 1", r"\frac { a } { b }", "x ^ { 2 }"]
        assert all(np.array_equal(a, b) for a, b in zip(images, sets["folder"], strict=True))
        assert images[0].shape == (64, 64)
    assert all(entry.graph is None for entry in sets["can"].entries)
    for entry in (entry for form in FORMATS if form not in ("can", "comer") for entry in sets[form].entries):
        assert entry.graph is not None and entry.graph.boxes is not None
        assert entry.graph.boxes.min() >= 0 and entry.graph.boxes.max() <= 1
    assert "light ink on dark paper turned round" in sets["comer"].described()
    assert sets["folder"].described() == "folder of hmeg generate, 3 images, 3 labelled"


def test_prepared_data_and_folders_of_images(prepared_data: Path) -> None:
    data = open_images(prepared_data)
    assert set(data.labels) == {"x ^ { 2 }", "1 + a"} and data.entries[0].graph is not None
    images = open_images(prepared_data / "images")
    assert images.labels == [None] * len(data) and images.kind == "folder of images"
    assert np.array_equal(images[0], data[data.names.index(Path(images.names[0]).stem)])


def test_labels_are_the_same_however_they_are_typed() -> None:
    assert canonical_label(r"\frac a{b}") == canonical_label(r"\frac { a } { b }") == r"\frac { a } { b }"
    assert canonical_label(r"\hbar  x") == r"\hbar x"


def test_pairs(runs: dict[str, Path], prepared_data: Path) -> None:
    run = open_images(runs["folder"])
    assert pair(run, open_images(runs["can"])).rows == [(0, 0), (1, 1), (2, 2)]
    turned = run.part([2, 0, 1])
    assert pair(run, turned).rule == "images of the same name" and pair(run, turned).rows == [(0, 1), (1, 2), (2, 0)]
    data = open_images(prepared_data)  # other names; x^2 three times, once in the run
    assert [run.labels[g] for _, g in pair(data, run).rows] == ["x ^ { 2 }"]
    assert pair(data, run).rule == "images of the same expression, in order"
    bare = open_images(prepared_data / "images")
    assert pair(bare, run).rows == [] and "no labels on both sides" in pair(bare, run).rule
    for entry in run.entries:
        assert entry.label  # names alike, labels not: no pair by name
    other = run.part([0, 1, 2])
    other.entries = [Entry(n.name, e.read, e.known, e.stored) for n, e in zip(run.entries, turned.entries, strict=True)]
    assert pair(run, other).rule == "images of the same expression, in order"


def test_a_name_that_two_images_have_makes_no_pair(tmp_path: Path) -> None:
    for name in ("real/x.png", "real/x.bmp", "generated/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture(tmp_path / name)
    assert pair(open_images(tmp_path / "real"), open_images(tmp_path / "generated")).rows == []


def test_polarity_is_each_images_own_where_nobody_says(tmp_path: Path) -> None:
    """Two thirds on white paper, one third on black, and a bar cut out closely on either side."""
    page = np.full((20, 20), 255, dtype=np.uint8)
    page[9:11, 3:17] = 0
    for number in range(6):
        Image.fromarray(255 - page if number % 3 == 2 else page).save(tmp_path / f"{number}.png")
    bar = np.full((5, 20), 255, dtype=np.uint8)
    bar[1:4] = 0  # more ink than paper
    Image.fromarray(bar).save(tmp_path / "bar.png")
    images = open_images(tmp_path)
    assert images.names[-1] == "bar.png" and np.array_equal(images[6], bar), "undecided: as most are"
    assert all(np.array_equal(images[row], page) for row in range(6))
    assert images.described() == (
        "folder of images, 7 images, 0 labelled, 2 of them light ink on dark paper turned round"
    )
    part = images.part([0, 2])
    assert [np.array_equal(image, page) for image in part] == [True, True]
    assert part.described().endswith("1 of them light ink on dark paper turned round")
    for row in range(6):
        Image.fromarray(255 - page).save(tmp_path / f"{row}.png")
    Image.fromarray(255 - bar).save(tmp_path / "bar.png")
    dark = open_images(tmp_path)
    assert np.array_equal(list(dark)[6], bar)
    assert dark.described().endswith("0 labelled, light ink on dark paper turned round")


def test_images_are_fitted_into_a_square() -> None:
    wide = np.zeros((10, 40), dtype=np.uint8)
    page = fitted(wide, 20)
    assert page.shape == (20, 20) and (page[8:12] < 30).all() and (page[:7] == 255).all() and (page[13:] == 255).all()
    assert fitted(wide, 80).shape == (80, 80)
    square = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    assert np.array_equal(fitted(square, 16), square)


class _Evil:
    def __reduce__(self):
        return os.system, ("echo pwned > evil",)


def test_hostile_and_damaged_files(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    can = tmp_path / "t_images.pkl"
    can.write_bytes(pickle.dumps({"a": _Evil()}))
    with pytest.raises(ValueError, match=r"t_images.pkl.* refused.*system"):
        open_images(can)
    assert not (tmp_path / "evil").exists()
    for content, message in (
        (b"rubbish", "t_images.pkl"),
        (pickle.dumps([1]), "dict"),
        (pickle.dumps({}), "single image"),
        (pickle.dumps({"a": np.zeros((2, 2))}), "uint8"),
    ):
        can.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            open_images(can)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("data/train/img/a.bmp", b"no image")
    with pytest.raises(ValueError, match=r"x.zip/data/train/img/a.bmp is no readable image"):
        open_images(tmp_path / "x.zip")[0]
    (tmp_path / "y.zip").write_bytes(b"PK rubbish")
    (tmp_path / "y.tar").write_bytes(b"rubbish" * 200)
    for name, message in (("y.zip", "not a readable zip"), ("y.tar", "not a readable tar")):
        with pytest.raises(ValueError, match=message):
            open_images(tmp_path / name)
    with tarfile.open(tmp_path / "z.tar", "w") as tar:
        for name, content in (("a.png", b"x"), ("a.json", b"{")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"z.tar/a.json is not JSON"):
        open_images(tmp_path / "z.tar")


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no images found\. It may be"):
        open_images(tmp_path)
    with pytest.raises(ValueError, match="there is no such"):
        open_images(tmp_path / "nowhere")
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(ValueError, match="known files are"):
        open_images(tmp_path / "text.txt")
    (tmp_path / "labels.jsonl").write_text(json.dumps({"image": "../../secret.png", "latex": "x"}) + "\n")
    with pytest.raises(ValueError, match=r"labels.jsonl, line 1: '../../secret.png' is no name of a file"):
        open_images(tmp_path)
    (tmp_path / "labels.jsonl").unlink()
    picture(tmp_path / "a.png")
    assert len(open_images(tmp_path)) == 1 and not open_images(tmp_path).inverted
    picture(tmp_path / "a.png", grey=9)
    assert open_images(tmp_path)[0].max() == 246, "paper that is dark is turned light"
    (tmp_path / "labels.jsonl").write_text("{\n")
    with pytest.raises(ValueError, match=r"labels.jsonl, line 1 is not JSON"):
        open_images(tmp_path)
    (tmp_path / "labels.jsonl").unlink()
    for split in ("a", "b"):
        (tmp_path / f"{split}_images.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="several sets"):
        open_images(tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "labels.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(ValueError, match=r"labels\.jsonl, line 1 is no label: its JSON is nested too deep"):
        open_images(tmp_path / "deep")
    with pytest.raises(ValueError, match="File name too long"):
        open_images(tmp_path / ("n" * 300))


def write_record(folder: Path, **record: object) -> Path:
    """A folder of one image, 40 x 10 pixels, and what is said about it."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((10, 40), 255, dtype=np.uint8)).save(folder / "a.png")
    (folder / "labels.jsonl").write_text(json.dumps({"image": "a.png", **record}) + "\n")
    return folder


SUP = {"subject": 0, "object": 1, "type": "Sup"}


@pytest.mark.parametrize("relation", [SUP, [0, 1, "Sup"]], ids=["object", "list of earlier versions"])
def test_boxes_are_shares_of_width_and_height(tmp_path: Path, relation: object) -> None:
    record = {"symbols": ["x", "2"], "relations": [relation], "boxes": [[4, 5, 20, 10], [20, 0, 40, 5]]}
    entry = open_images(write_record(tmp_path / "run", **record)).entries[0]
    assert entry.label == "x ^ { 2 }" and entry.graph is not None and entry.graph.boxes is not None
    np.testing.assert_allclose(entry.graph.boxes, [[0.1, 0.5, 0.5, 1], [0.5, 0, 1, 0.5]], rtol=1e-6)


def test_what_is_said_may_be_little(tmp_path: Path) -> None:
    for record, label in (
        ({}, None),
        ({"tokens": []}, None),
        ({"tokens": None, "latex": None}, None),
        ({"latex": "x^2"}, "x ^ { 2 }"),
        ({"tokens": ["x", "^", "2"], "latex": "y"}, "x ^ { 2 }"),
        ({"tokens": ["x"], "boxes": [], "symbols": []}, "x"),
    ):
        entry = open_images(write_record(tmp_path / "run", **record)).entries[0]
        assert (entry.label, entry.graph) == (label, None)


def test_graphs_that_are_none_are_named(tmp_path: Path) -> None:
    good = {"symbols": ["x", "2"], "relations": [SUP], "boxes": [[0, 0, 1, 1]] * 2}
    for bad in (
        {"symbols": ["x", "strange"]},
        {"symbols": "x2"},
        {"relations": None},
        {"relations": [[0, 1]]},
        {"relations": [{"subject": 0, "object": 1}]},
        {"relations": [{**SUP, "subject": None}]},
        {"relations": [{**SUP, "type": "Beside"}]},
        {"relations": [3]},
        {"relations": [[0, 7, "Sup"]]},
        {"relations": [[0, float("inf"), "Sup"]]},
        {"boxes": [[0, 0, 1, 1]]},
        {"boxes": [[0, 0, 1]] * 2},
        {"boxes": [[0, 0, float("nan"), 1]] * 2},
        {"boxes": "xx"},
    ):
        images = open_images(write_record(tmp_path / "run", **{**good, **bad}))
        with pytest.raises(ValueError, match=r"labels\.jsonl, line 1: ('symbols' must|the graph is damaged)"):
            print(images.labels)
        with pytest.raises(ValueError, match=r"labels\.jsonl, line 1: ('symbols' must|the graph is damaged)"):
            print(images.entries[0].graph)


def test_measures_take_images_without_labels(runs: dict[str, Path], tmp_path: Path) -> None:
    pickle_ = shutil.copy(runs["can"] / "train_images.pkl", tmp_path)
    assert open_images(pickle_).labels == [None] * 3
    (tmp_path / "train_labels.txt").write_text("000001.bmp y\n")
    assert open_images(tmp_path).labels == [None, "y", None]
    images = tmp_path / "images"
    images.mkdir()
    picture(images / "a.png")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.write(images / "a.png", "./pictures/a.png")
    plain = open_images(tmp_path / "plain.zip")
    assert plain.labels == [None] and plain.described() == "zip archive of images, 1 images, 0 labelled"
    assert np.array_equal(plain[0], open_images(images)[0])
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        for name in ("a.png", "b.png"):
            archive.add(images / "a.png", name)
        text = tarfile.TarInfo("b.txt")
        text.size = 3
        archive.addfile(text, io.BytesIO(b"x^2"))
    assert open_images(tmp_path / "plain.tar").labels == [None, "x ^ { 2 }"]
    with tarfile.open(tmp_path / "twice.tar", "w") as archive:
        for _ in range(2):
            archive.add(images / "a.png", "a.png")
    with pytest.raises(ValueError, match=r"twice\.tar: not a readable tar archive \(a\.png is in it twice\)"):
        open_images(tmp_path / "twice.tar")


def test_shards_that_break_off_are_refused_wherever(runs: dict[str, Path], tmp_path: Path) -> None:
    whole = (runs["webdataset"] / "000000.tar").read_bytes()
    path = tmp_path / "cut.tar"
    path.write_bytes(whole)
    count = len(open_images(path).labels)
    with tarfile.open(path) as archive:
        ends = [member.offset for member in archive][1:]
    for length in (100, *ends[:4], ends[0] + 100, ends[1] + tarfile.BLOCKSIZE, ends[-1]):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.tar: not a readable tar archive"):
            open_images(path)
    path.write_bytes(whole + bytes(tarfile.RECORDSIZE))
    assert len(open_images(path).labels) == count


def png(grey: int) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.full((4, 4), grey, dtype=np.uint8)).save(target, format="PNG")
    return target.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_names_with_dots_in_shards_are_read_as_webdataset_does(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    label = json.dumps({"tokens": ["x"]}).encode()
    members = {
        **{"a/22.00.v1.png": png(200), "a/22.00.v1.json": label, "._22.00.v1.png": b"of macOS"},
        **{"b.mask.png": png(9), "b.png": png(220), "b.note.txt": b"y"},
    }
    shard = write_tar(tmp_path / "dots.tar", members)
    images = open_images(shard)
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode("l8"))
    assert images.names == [one["__key__"] for one in samples] == ["a/22", "b"]
    assert images.labels == ["x", "y"]
    assert [int(image[0, 0]) for image in images] == [samples[0]["00.v1.png"][0, 0], samples[1]["png"][0, 0]]


def test_names_whose_dots_hide_samples_are_refused_in_words(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "dots.tar", {"a.b/22.00.v1.png": png(200), "a.b/22.01.v1.png": png(200)})
    told = r"dots\.tar: 'a\.b/22\.00\.v1\.png' and 'a\.b/22\.01\.v1\.png' are two .* first dot; .* 'a\.b/22_00_v1\.png'"
    with pytest.raises(ValueError, match=told):
        open_images(shard)


def test_parquet_files_are_read_safely(tmp_path: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    images = [{"bytes": png(200), "path": None}, {"bytes": png(210), "path": "b.png"}]
    parquet.write_table(arrow.table({"image": images, "latex": ["x^2", None]}), path)
    opened = open_images(path)
    assert opened.names == ["a.parquet, row 0 of group 0", "b.png"]
    assert opened.labels == ["x ^ { 2 }", None] and opened[1][0, 0] == 210
    for data, problem in ((None, "holds no bytes of an image"), (b"no", "is no readable image")):
        parquet.write_table(arrow.table({"image": [{"bytes": data, "path": "b.png"}], "latex": ["x"]}), path)
        with pytest.raises(ValueError, match=rf"a\.parquet, row 0 of group 0 {problem}"):
            open_images(path)
    parquet.write_table(arrow.table({"image": [png(200)]}), path)
    with pytest.raises(ValueError, match=r"a\.parquet has no column 'image' of bytes and path"):
        open_images(path)
    whole = (runs["parquet"] / "train-000000.parquet").read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"a\.parquet: not a readable Parquet file"):
        open_images(path)
    path.write_bytes(whole[:4] + bytes(2000) + whole[2004:])
    with pytest.raises(ValueError, match=r"a\.parquet: row group 0 cannot be read"):
        open_images(path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs pyarrow, which is not installed: pip install 'hmeg\[parquet\]'"):
        open_images(runs["parquet"])
