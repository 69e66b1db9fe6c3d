"""Labelled images come from any of the forms that are there, and nothing that is in a file is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmeg.generation.run import Run
from hmeg.image_sets.formats import FORMATS
from hmeg.image_sets.image_pickle import read_images
from hmeg.recognition import open_data
from hmeg.recognition.data import RecognitionData
from hmeg.recognition.preparation import Preparation
from hmeg.recognition.training_batches import TrainingBatches
from hmeg.recognition.words import Words, default_words
from tests.support.can_samples import LABELS, drawn, write_can, write_run
from tests.support.runs import settings, write_shard
from tests.support.samples import sample

TOKENS = [tuple(label.split()) for label in LABELS]


def assert_drawn(data: RecognitionData) -> None:
    assert data.tokens == TOKENS
    for row, label in enumerate(LABELS):
        np.testing.assert_array_equal(data.image(row), drawn(label))


def test_folder_of_images(tmp_path: Path) -> None:
    assert_drawn(open_data(write_run(tmp_path / "run")))


def test_every_token_of_the_official_captions_is_known() -> None:
    """Those of CROHME's captions that CAN comes with; 417 of 8,835 have one of the last four."""
    words = default_words()
    official = [
        "!",
        "+",
        "-",
        "0",
        "A",
        "]",
        r"\Delta",
        r"\frac",
        r"\ldots",
        r"\limits",
        r"\sqrt",
        r"\{",
        "|",
        "^",
        "}",
    ]
    official += [r"\cdots", r"\cdot", "<", ">"]
    assert words.unknown(official) == []
    assert words.decode(words.encode(official)[:-1]) == tuple(official)


def test_two_spellings_of_a_symbol_are_one_word() -> None:
    """What `hmeg generate` writes into folders, and dictionaries of before, have \\lt and \\nolimits."""
    new, old = default_words(), Words(["eos", "sos", "a", r"\lt", r"\nolimits", r"\sum"])
    assert new.own(["a", r"\lt", "a", r"\nolimits"]) == ["a", "<", "a"]
    assert old.own(["a", "<", "a", r"\nolimits"]) == ["a", r"\lt", "a", r"\nolimits"]
    assert new.encode(["a", r"\lt"]) == new.encode(["a", "<"])
    assert new.unknown([r"\lt", r"\nolimits", r"\omega"]) == [r"\omega"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_can_files_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    assert_drawn(open_data(write_can(tmp_path / "can", protocol=protocol)))
    assert_drawn(open_data(tmp_path / "can" / "train_images.pkl"))


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_runs_of_generation(tmp_path: Path, file_format: str) -> None:
    with Run(tmp_path / "run", settings(file_format)) as run:
        for indices in ([0, 1, 2], [], [9, 11]):
            write_shard(run, indices)
        run.finish()
    data = open_data(tmp_path / "run")
    wanted = [sample(i) for i in (0, 1, 2, 9, 11)]
    assert data.tokens == [("x", "y")] * 5
    for row, one in enumerate(wanted):
        np.testing.assert_array_equal(data.image(row), one.array)
    if file_format == "webdataset":
        assert data.names == [f"{n // 4 * 0:06d}.tar/{n:06d}" for n in (0, 1, 2)] + ["000002.tar/000009"] + [
            "000002.tar/000011"
        ]
        assert len(open_data(tmp_path / "run" / "000002.tar")) == 2


def write_prepared(folder: Path, records: list[dict]) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.json").write_text('{"size": 96}')
    lines = []
    for record in records:
        Image.fromarray(drawn(record["latex"])).save(folder / "images" / f"{record['name']}.png")
        lines.append(json.dumps({"boxes": [[0, 0, 1, 1]] * len(record["symbols"]), **record}) + "\n")
    (folder / "graphs.jsonl").write_text("".join(lines))
    return folder


def test_prepared_sets_get_their_latex_from_the_graphs(tmp_path: Path) -> None:
    power = {"name": "power", "latex": "x^2", "symbols": ["x", "2"], "relations": [[0, 1, "Sup"]]}
    strange = {"name": "strange", "latex": "x y", "symbols": ["x", "y"], "relations": []}
    data = open_data(write_prepared(tmp_path / "data", [power, strange]))
    assert data.tokens == [("x", "^", "{", "2", "}")]
    np.testing.assert_array_equal(data.image(0), drawn("x^2"))
    assert "1 expressions without LaTeX left out (strange: an expression has one first symbol" in data.notes[0]
    (tmp_path / "data" / "images" / "power.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"power\.png is no readable image"):
        data.image(0)


def test_several_places_are_joined(tmp_path: Path) -> None:
    run, can = write_run(tmp_path / "run", LABELS[:2]), write_can(tmp_path / "can", LABELS[2:])
    for places in (f"{run},{can}", [run, can], [str(run), str(can)], f" {run} , {can}"):
        assert_drawn(open_data(places))
    assert open_data([run, can]).digest != open_data([can, run]).digest
    with_comma = write_run(tmp_path / "a,b")
    assert_drawn(open_data(str(with_comma)))


def test_digest_follows_the_labels(tmp_path: Path) -> None:
    one, other = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    assert open_data(one).digest == open_data(other).digest
    write_run(tmp_path / "b", LABELS[::-1])
    assert open_data(one).digest != open_data(other).digest


def write_form(folder: Path, form: str, image: np.ndarray) -> Path:
    """One labelled image in a form that recognisers learn from."""
    target = io.BytesIO()
    Image.fromarray(image).save(target, format="PNG")
    png, record = target.getvalue(), json.dumps({"image": "a.png", "tokens": ["x"]}).encode()
    folder.mkdir(parents=True)
    if form == "folder":
        (folder / "a.png").write_bytes(png)
        (folder / "labels.jsonl").write_bytes(record + b"\n")
    elif form == "webdataset":
        with tarfile.open(folder / "0.tar", "w") as archive:
            for name, content in (("a.png", png), ("a.json", record)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    elif form == "can":
        (folder / "train_images.pkl").write_bytes(pickle.dumps({"a": image}))
        (folder / "train_labels.txt").write_text("a x\n")
    elif form == "comer":
        with zipfile.ZipFile(folder / "data.zip", "w") as archive:
            archive.writestr("data/train/img/a.png", png)
            archive.writestr("data/train/caption.txt", "a x\n")
    else:
        write_prepared(folder / "set", [{"name": "a", "latex": "x", "symbols": ["x"], "relations": []}])
        (folder / "set" / "images" / "a.png").write_bytes(png)
        return folder / "set"
    return folder


@pytest.mark.parametrize("form", ["folder", "webdataset", "can", "comer", "prepared"])
def test_images_digest_follows_every_pixel(tmp_path: Path, form: str) -> None:
    one = drawn("x")
    other = one.copy()
    other[3, 5] ^= 1
    found = [open_data(write_form(tmp_path / str(i), form, im)) for i, im in enumerate((one, one.copy(), other))]
    assert len({data.digest for data in found}) == 1
    assert found[0].images_digest == found[1].images_digest != found[2].images_digest


def test_images_of_another_shape_are_others(tmp_path: Path) -> None:
    """A pickle holds nothing but the pixels, which are the same here."""
    white = np.full((4, 6), 255, np.uint8)
    found = [open_data(write_form(tmp_path / str(i), "can", white.reshape(-1, i))) for i in (4, 6)]
    assert found[0].images_digest != found[1].images_digest


def test_reading_hashes_no_image(tmp_path: Path) -> None:
    data = open_data(write_run(tmp_path / "run"))
    (tmp_path / "run" / "000001.png").unlink()
    np.testing.assert_array_equal(data.image(0), drawn(LABELS[0]))
    with pytest.raises(ValueError, match=r"000001\.png: No such file"):
        _ = data.images_digest


def test_unknown_tokens_and_long_expressions_are_reported(tmp_path: Path) -> None:
    data = open_data(write_run(tmp_path / "run", ("x", r"\hat { x }", "y \\hat \\vec", "x + x ^ { x }")))
    assert data.unknown_tokens(default_words()) == {"\\hat": 2, "\\vec": 1}
    data.leave_out(default_words(), 3)
    assert data.tokens == [("x",)]
    unknown, long = data.notes
    assert "2 expressions with tokens that the dictionary lacks" in unknown
    assert "000001.png: \\hat; 000002.png: \\hat \\vec" in unknown
    assert "1 expressions of more than 3 tokens" in long
    with pytest.raises(ValueError, match=r"no expression is left.*000000\.png: x"):
        data.leave_out(Words(["eos", "sos", "b"]), 3)


def test_samples_without_latex_are_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", LABELS[:2])
    with (run / "labels.jsonl").open("a") as file:
        file.write(json.dumps({"image": "000009.png", "tokens": None}) + "\n")
        shutil.copy(run / "000000.png", run / "000009.png")
        file.write('{"image": "0000')  # a run that is still at work
    data = open_data(run)
    assert len(data) == 2
    assert "1 expressions without LaTeX left out (000009.png" in data.notes[0]


class _FromNumber:
    """An array made of a number where its bytes should be."""

    def __reduce__(self) -> tuple:
        return np.zeros(1, np.uint8).__reduce_ex__(5)[0], (1000, np.dtype("u1"), (10, 100), "C")


class _Runs:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("harm",)


def _global(module: str, name: str) -> bytes:
    return b"\x80\x03c" + f"{module}\n{name}\n".encode() + b"."


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (pickle.dumps({"a": _Runs()}), "asks for (posix|nt).mkdir"),
        (pickle.dumps({"a": _FromNumber()}), "an array without bytes"),
        (_global("numpy", "load"), "asks for numpy.load"),
        (_global("builtins", "eval"), "asks for builtins.eval"),
        (pickle.dumps({"a": np.zeros((2, 2), np.float32)}), "'f4' instead of uint8"),
        (pickle.dumps({"a": np.zeros((2, 2), object)}), "'O8' instead of uint8"),
        (pickle.dumps({"a": np.zeros((2, 2, 3), np.uint8)}), "'a' is no grey image"),
        (pickle.dumps({"a": np.zeros((0, 2), np.uint8)}), "'a' is no grey image"),
        (pickle.dumps({"a": 1}), "'a' is no grey image"),
        (pickle.dumps({1: np.zeros((2, 2), np.uint8)}), "1 is no grey image"),
        (pickle.dumps([1]), "must hold a dict"),
        (pickle.dumps({"a": np.zeros((9, 9), np.uint8)})[:-20], "not a pickle of grey images"),
        (b"", "not a pickle of grey images"),
        (b"not a pickle", "not a pickle of grey images"),
    ],
)
def test_foreign_pickles_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t_images.pkl").write_bytes(content)
    (tmp_path / "t_labels.txt").write_text("a x\n")
    with pytest.raises(ValueError, match=problem) as caught:
        open_data(tmp_path / "t_images.pkl")
    assert "t_images.pkl" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


def test_a_pickle_cut_or_changed_anywhere_gives_images_or_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "t_images.pkl"
    whole = pickle.dumps({"a": np.arange(12, dtype=np.uint8).reshape(3, 4)}, protocol=4)
    pickletools.dis(whole, io.StringIO())
    random = np.random.default_rng(0)
    for length in range(len(whole)):
        changed = bytearray(whole)
        changed[length] = random.integers(256)
        for content in (whole[:length], bytes(changed)):
            path.write_bytes(content)
            try:
                images = read_images(path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017 - either outcome is right
            else:
                assert all(image.dtype == np.uint8 and image.ndim == 2 for image in images.values())


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_places_that_hold_nothing_usable(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    two = write_can(write_can(tmp_path / "two"), split="test")
    no_labels = write_can(tmp_path / "no_labels")
    (no_labels / "train_labels.txt").unlink()
    other = write_can(tmp_path / "other")
    (other / "train_labels.txt").write_text("e0 x\ne99 x\n")
    binary = write_can(tmp_path / "binary")
    (binary / "train_labels.txt").write_bytes(b"\xff\xfe\x00")
    extra = write_can(tmp_path / "extra")
    (extra / "train_labels.txt").write_text("e0 x\n")
    bare = tmp_path / "bare"
    bare.mkdir()
    Image.fromarray(drawn("x")).save(bare / "a.png")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"a": drawn("x")}))
    png = (bare / "a.png").read_bytes()
    for place, problem in (
        (tmp_path / "none", "there is no such file or folder"),
        (tmp_path / "empty", "no images found. It may be a folder"),
        (tmp_path / "text.txt", "known files are"),
        (two, "several sets"),
        (no_labels, r"train_labels\.txt: no such file; it should have the labels of train_images.pkl"),
        (other, "line 2: train_images.pkl has no image 'e99'"),
        (binary, "line 1: not UTF-8"),
        (extra, r"train_labels\.txt has no line for 'e1'"),
        (bare, "a folder of images without labels; labels come with a folder made by"),
        (tmp_path / "other.pkl", "has no labels: they are looked for beside files called <split>_images.pkl"),
        (write_tar(tmp_path / "a.tar", {"0.png": png}), r"a\.tar/0\.png lacks its \.json"),
        (write_tar(tmp_path / "t.tar", {"0.png": png, "0.txt": b"x"}), r"t\.tar/0\.png lacks its \.json"),
        (write_tar(tmp_path / "j.tar", {"0.json": b"{}"}), r"0\.json has no image beside it"),
        (write_tar(tmp_path / "b.tar", {"0.png": png, "0.json": b"{"}), r"0\.json is not JSON"),
        (write_tar(tmp_path / "c.tar", {"0.png": png, "0.json": b"{}"}), r"0\.json: the label has no 'tokens'"),
        (write_tar(tmp_path / "g.tar", {"0.png": png, "0.json": b"[" * 100_000}), r"0\.json is no label.*too deep"),
        (write_tar(tmp_path / "d.tar", {}), "without a single image"),
        (write_tar(tmp_path / "p.tar", {"0.png": b"x", "0.json": b'{"tokens": ["x"]}'}), r"p\.tar/0\.png is no readab"),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            open_data(place)
        assert str(place) in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "e.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(ValueError, match=r"e\.tar: not a readable tar"):
        open_data(tmp_path / "e.tar")
    for nothing in ([], "", " , "):
        with pytest.raises(ValueError, match="no data given"):
            open_data(nothing)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"image": "../secret.png", "tokens": ["x"]}', "no name of a file in this folder"),
        ('{"image": "/etc/secret.png", "tokens": ["x"]}', "no name of a file in this folder"),
        ('{"image": 3, "tokens": ["x"]}', "'image' must be text"),
        ('{"image": "..", "tokens": ["x"]}', "no name of a file in this folder"),
        ('{"image": "a.png", "tokens": ["x"]}', "there is no image .*a.png"),
        ('{"image": "there.png"}', "no 'tokens'"),
        ('{"image": "there.png", "tokens": ["x"], "latex": 3}', "'latex' must be text"),
        ("[" * 100_000, "is no label: its JSON is nested too deep"),
        ('{"image": "a.png", "tokens": "x"}', "list of texts"),
        ("[1]", "must be an object"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "labels.jsonl").write_text(line + "\n")
    Image.fromarray(drawn("x")).save(tmp_path / "there.png")
    with pytest.raises(ValueError, match=rf"labels\.jsonl, line 1.*{problem}"):
        open_data(tmp_path)


def test_images_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", LABELS[:2])
    data = open_data(run)
    (run / "000000.png").unlink()
    (run / "000001.png").write_bytes((run / "000001.png").read_bytes()[:60])
    for row in (0, 1):
        with pytest.raises(ValueError, match=rf"00000{row}\.png"):
            data.image(row)


def write_comer(path: Path, splits: dict[str, str], suffix: str = "bmp") -> Path:
    """An archive with the images e0, e1, ... of LABELS, light on dark, in every split; splits: name -> captions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for split, captions in splits.items():
            for number, label in enumerate(LABELS):
                file = io.BytesIO()
                Image.fromarray(255 - drawn(label)).save(file, "BMP")
                archive.writestr(f"data/{split}/img/e{number}.{suffix}", file.getvalue())
            archive.writestr(f"data/{split}/caption.txt", captions)
            archive.writestr(f"__MACOSX/data/{split}/img/._e0.{suffix}", b"no picture")
    return path


CAPTIONS = "".join(f"e{number}\t{label}\n" for number, label in enumerate(LABELS))


def test_comer_archives(tmp_path: Path) -> None:
    path = write_comer(tmp_path / "run" / "data.zip", {"train": CAPTIONS})
    for place in (path, path.parent, path / "data" / "train"):
        data = open_data(place)
        assert_drawn(data)  # dark on light
        assert data.names == [f"e{number}" for number in range(len(LABELS))]
    two = write_comer(tmp_path / "two.zip", {"train": CAPTIONS, "2014": CAPTIONS.replace("\t1", "\t2")})
    assert_drawn(open_data(f"{two}/data/train"))
    assert open_data(two / "data" / "2014").tokens[0] == ("2",)
    for place, problem in (
        (two, r"several sets: give one of .*two\.zip/data/train, .*two\.zip/data/2014"),
        (two / "data" / "2016", r"two\.zip has no data/2016/caption\.txt"),
        (write_comer(tmp_path / "a.zip", {"x": CAPTIONS + "e9 x\n"}), r"a\.zip/data/x/caption\.txt, line 9: .* 'e9'"),
        (write_comer(tmp_path / "b.zip", {"x": CAPTIONS[:-11]}), r"b\.zip/data/x/img/e7\.bmp has no line in a caption"),
        (write_comer(tmp_path / "c.zip", {"x": ""}), r"c\.zip/data/x/caption\.txt: no line"),
    ):
        with pytest.raises(ValueError, match=problem):
            open_data(place)


@pytest.mark.parametrize("form", ["e{}.bmp", "e{}.PNG", "img/e{}.jpg", "./data/train/img/e{}"])
def test_labels_may_give_images_a_folder_and_a_suffix(tmp_path: Path, form: str) -> None:
    lines = "".join(f"{form.format(number)} {label}\n" for number, label in enumerate(LABELS))
    can = write_can(tmp_path / "can")
    (can / "train_labels.txt").write_text(lines)
    assert_drawn(open_data(can))
    assert_drawn(open_data(write_comer(tmp_path / "data.zip", {"train": lines})))


def test_images_may_have_the_suffix_that_labels_leave_out(tmp_path: Path) -> None:
    images = {"a.bmp": drawn("1"), "a.5": drawn("2"), "b.bmp": drawn("1"), "b.png": drawn("2")}
    (tmp_path / "t_images.pkl").write_bytes(pickle.dumps(images))
    labels = tmp_path / "t_labels.txt"
    labels.write_text("a 1\na.5 2\nb.bmp 1\nb.png 2\n")
    assert open_data(tmp_path).tokens == [("1",), ("2",), ("1",), ("2",)]
    for lines, problem in (
        ("b 1\n", r"line 1: 'b' may be 'b\.bmp' or 'b\.png' of t_images\.pkl"),
        ("a 1\n\nimg/a.png 2\n", r"line 3: image 'a\.bmp' has a label already"),
        ("a.7 1\n", r"line 1: t_images\.pkl has no image 'a\.7'"),
    ):
        labels.write_text(lines)
        with pytest.raises(ValueError, match=problem):
            open_data(tmp_path)


def test_images_light_on_dark_are_turned_round(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for number, label in enumerate(LABELS):
        file = io.BytesIO()
        Image.fromarray(255 - drawn(label)).save(file, "PNG")
        members[f"{number}.png"] = file.getvalue()
        members[f"{number}.json"] = json.dumps({"tokens": label.split()}).encode()
    assert_drawn(open_data(write_tar(tmp_path / "a.tar", members)))


def test_prepared_sets_stay_in_their_folder_and_nest_as_deep_as_python(tmp_path: Path) -> None:
    one = {"latex": "x", "symbols": ["x"], "relations": []}
    deep = 3000
    chain = {"symbols": ["x"] * deep, "relations": [[row, row + 1, "Sup"] for row in range(deep - 1)], "latex": "x"}
    data = open_data(write_prepared(tmp_path / "deep", [{"name": "x", **one}, {"name": "deep", **chain}]))
    assert data.tokens == [("x",)] and "deep: nested too deep" in data.notes[0]
    outside = write_prepared(tmp_path / "outside", [{"name": "../../secret", **one}])
    with pytest.raises(ValueError, match=r"'../../secret' is no name of a file in .*images"):
        open_data(outside)
    (tmp_path / "deep" / "graphs.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(ValueError, match=r"deep is a damaged data set"):
        open_data(tmp_path / "deep")
    (tmp_path / "outside" / "dataset.json").unlink()
    with pytest.raises(ValueError, match=r"dataset\.json: No such file"):
        open_data(outside)


def test_every_epoch_has_every_expression_once_in_batches_of_one_size(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", LABELS * 2)
    narrow = write_run(tmp_path / "narrow", LABELS * 2, size=(40, 60))
    data = open_data([run, narrow])
    batches = TrainingBatches(data, default_words(), Preparation(), 4, seed=1)
    assert batches.per_epoch == 8
    for epoch in range(2):
        rows = [batches.rows(step) for step in range(epoch * 8, epoch * 8 + 8)]
        assert sorted(np.concatenate(rows)) == list(range(32))
    made = [batches(step) for step in range(8)]
    assert [batch.images.filled for batch in made] == [False] * 8
    assert {batch.images.pixels.shape[3] for batch in made} == {60, 96}
    again = TrainingBatches(data, default_words(), Preparation(), 4, seed=1)
    for step in (9, 3):
        np.testing.assert_array_equal(again.rows(step), batches.rows(step))
    batch, words = made[0], default_words()
    for row, ids, mask in zip(batches.rows(0), batch.tokens, batch.token_mask, strict=True):
        length = len(data.tokens[row])
        assert words.decode(ids[:length].tolist()) == data.tokens[row]
        assert not ids[length:].any()
        assert mask.sum() == length + 1


def test_fewer_images_than_a_batch_are_used_whole(tmp_path: Path) -> None:
    batches = TrainingBatches(open_data(write_run(tmp_path / "run")), default_words(), Preparation(), 100, seed=0)
    for step in range(3):
        assert sorted(batches.rows(step)) == list(range(len(LABELS)))
