"""What is written can be read back by those it is for."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hmeg.generation.run import Run
from hmeg.graph import SymbolGraph
from hmeg.graph.grammar import Grammar
from hmeg.graph.label_graph import read_lg
from hmeg.graph.latex import parse_latex
from hmeg.graph.vocabulary import SYMBOL_LABELS
from hmeg.image_sets.can_writer import CanFormat
from hmeg.image_sets.comer_writer import ComerFormat
from hmeg.image_sets.sample import Sample
from hmeg.image_sets.tokens import TOKENS, can_dictionary, caption, check_caption, official
from tests.support.runs import settings, write_shard
from tests.support.samples import sample

INDICES = ([0, 1, 2], [], [9, 11], [12])


@pytest.fixture
def written(tmp_path):
    def write(file_format, split="train"):
        with Run(tmp_path, settings(file_format, split=split)) as run:
            for indices in INDICES:
                write_shard(run, indices)
            run.finish()
        return tmp_path

    return write


def all_samples():
    return [sample(i) for indices in INDICES for i in indices]


def test_webdataset_by_its_own_reader(written):
    webdataset = pytest.importorskip("webdataset")
    folder = written("webdataset")
    shards = sorted(str(p) for p in folder.glob("*.tar"))
    assert [p[-10:] for p in shards] == ["000000.tar", "000002.tar", "000003.tar"]
    read = list(webdataset.WebDataset(shards, shardshuffle=False).decode("l8"))
    assert [item["__key__"] for item in read] == [f"{s.index:06d}" for s in all_samples()]
    for item, wanted in zip(read, all_samples(), strict=True):
        np.testing.assert_array_equal(item["png"], wanted.array)
        assert item["txt"] == wanted.latex
        assert item["json"] == {"image": f"{wanted.index:06d}.png", **wanted.label()}
        graph = read_lg(item["json"]["symlg"])
        assert (graph.symbols, graph.relations) == (wanted.graph.symbols, wanted.graph.relations)


def test_webdataset_is_a_plain_tar(written):
    with tarfile.open(written("webdataset") / "000000.tar") as archive:
        assert archive.getnames()[:4] == ["000000.png", "000000.json", "000000.txt", "000001.png"]
        assert {(m.mtime, m.uid, m.uname) for m in archive} == {(0, 0, "")}
        assert json.load(archive.extractfile("000002.json"))["index"] == 2


def read_as_can(folder, split):
    """As CAN's data set does it: images and labels are found by name, and there are as many of each."""
    with open(folder / f"{split}_images.pkl", "rb") as file:
        images = pickle.load(file)
    words = {word.strip(): i for i, word in enumerate((folder / "words_dict.txt").read_text().splitlines())}
    lines = (folder / f"{split}_labels.txt").read_text().splitlines()
    assert len(images) == len(lines)
    samples = []
    for line in lines:
        name, *labels = line.strip().split()
        assert not name.endswith("jpg"), "CAN would cut the ending off"
        samples.append((name, (255 - images[name].astype(np.float64)) / 255, [words[label] for label in labels]))
    return samples, words


def test_can(written):
    samples, words = read_as_can(written("can", "extra"), "extra")
    assert (words["eos"], words["sos"]) == (0, 1)
    assert [words[token] for token in "^_{}"] == [107, 108, 109, 110]  # numbers in CAN's code: not counted
    assert set(TOKENS) <= set(words)
    assert [name for name, _, _ in samples] == [f"{s.index:06d}" for s in all_samples()]
    for (_, image, labels), wanted in zip(samples, all_samples(), strict=True):
        np.testing.assert_array_equal(image, (255 - wanted.array.astype(np.float64)) / 255)
        assert labels == [words["x"], words["y"]]


def test_can_arrays_are_writable_and_of_any_numpy(written):
    folder = written("can")
    content = (folder / "train_images.pkl").read_bytes()
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    images = pickle.loads(content)
    assert all(a.flags.writeable and a.dtype == np.uint8 and a.shape == (32, 32) for a in images.values())


def read_as_comer(archive, split):
    """As CoMER's data module does it."""
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        read = []
        for line in opened.read(f"data/{split}/caption.txt").decode().splitlines():
            name, *formula = line.strip().split()
            with opened.open(f"data/{split}/img/{name}.bmp") as file:
                read.append((name, np.asarray(Image.open(file).copy()), formula))
    return read


def test_comer(written):
    folder = written("comer", "2014")
    read = read_as_comer(folder / "data.zip", "2014")
    dictionary = (folder / "dictionary.txt").read_text().splitlines()
    assert len(dictionary) == len(set(dictionary))
    assert [name for name, _, _ in read] == [f"{s.index:06d}" for s in all_samples()]
    for (_, image, formula), wanted in zip(read, all_samples(), strict=True):
        np.testing.assert_array_equal(image, 255 - wanted.array)
        assert formula == ["x", "y"]
        assert set(formula) <= set(dictionary)


def boxed(index):
    """A sample of ten symbols; the last one has no width."""
    graph = parse_latex(r"\frac{-b+\sqrt{a}}{2 y} = !")
    boxes = np.round(np.random.default_rng(index).uniform(0, 15, (len(graph), 4)), 2)
    boxes[:, 2:] += boxes[:, :2] + 0.5
    boxes[-1, 2] = boxes[-1, 0]
    return dataclasses.replace(sample(index), graph=graph, boxes=boxes)


def write_boxed(folder, file_format, split):
    with Run(folder, settings(file_format, split=split)) as run:
        for indices in INDICES:
            run.begin(run.next_shard)
            for index in indices:
                run.write(boxed(index), run.format.encode(boxed(index).array))
            run.commit()
        run.finish()
    return [boxed(index) for indices in INDICES for index in indices]


def test_coco_by_pycocotools(tmp_path, capsys):
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    samples = write_boxed(tmp_path, "coco", "val")
    coco = coco_module.COCO(tmp_path / "annotations" / "instances_val.json")
    categories = coco.loadCats(coco.getCatIds())
    assert [one["name"] for one in categories] == list(SYMBOL_LABELS)
    assert [one["id"] for one in categories] == list(range(1, 102))
    assert coco.getImgIds() == [one.index for one in samples]
    found = []
    for one in samples:
        (image,) = coco.loadImgs(one.index)
        assert (image["width"], image["height"], image["latex"]) == (32, 32, one.latex)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "val" / image["file_name"])), one.array)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=one.index))
        assert [coco.cats[a["category_id"]]["name"] for a in annotations] == list(one.graph.symbols[:-1])
        corners = [[x, y, x + width, y + height] for x, y, width, height in (a["bbox"] for a in annotations)]
        np.testing.assert_allclose(corners, one.boxes[:-1], atol=1e-9)
        found += [{**{key: a[key] for key in ("image_id", "category_id", "bbox")}, "score": 1.0} for a in annotations]
    measure = evaluation.COCOeval(coco, coco.loadRes(found), "bbox")
    measure.evaluate()
    measure.accumulate()
    measure.summarize()
    assert measure.stats[0] == pytest.approx(1)


def test_yolo(tmp_path):
    samples = write_boxed(tmp_path, "yolo", "train")
    told = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert list(told["names"].values()) == list(SYMBOL_LABELS) and list(told["names"]) == list(range(101))
    images = tmp_path / told["train"]
    assert len(list(images.iterdir())) == len(samples)
    for one in samples:
        image = images / f"{one.index:06d}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(image)), one.array)
        text = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")  # as YOLO's loaders look for it
        rows = np.loadtxt(text, ndmin=2)
        assert [told["names"][int(row[0])] for row in rows] == list(one.graph.symbols[:-1])
        centres, sizes = rows[:, 1:3] * 32, rows[:, 3:] * 32
        np.testing.assert_allclose(np.hstack([centres - sizes / 2, centres + sizes / 2]), one.boxes[:-1], atol=1e-4)


def test_colour_becomes_grey_for_recognisers():
    colour = sample(1, colour=True)
    grey = np.asarray(Image.fromarray(colour.array).convert("L"))
    for file_format, read in [
        (CanFormat, lambda encoded: encoded),
        (ComerFormat, lambda encoded: 255 - np.asarray(Image.open(io.BytesIO(encoded)))),
    ]:
        np.testing.assert_array_equal(read(file_format(None, "train").encode(colour.array)), grey)


def test_dictionary_is_that_of_the_official_captions():
    """CAN's, CoMER's, TAMER's and ICAL's: no \\lt, \\gt, \\nolimits, and \\cdot, \\cdots besides."""
    words = can_dictionary()
    assert len(words) == len(set(words)) == 111
    assert words[:2] == ("eos", "sos")
    assert words[107:] == ("^", "_", "{", "}")
    assert {"<", ">", r"\cdot", r"\cdots", r"\ldots", r"\limits", r"\frac", r"\sqrt"} <= set(words)
    assert not {r"\lt", r"\gt", r"\nolimits"} & set(words)
    assert set(TOKENS) == set(words[2:])


def test_captions_have_official_tokens_only():
    def tokens(latex: str) -> list[str]:
        name, *rest = caption("n", Sample(None, parse_latex(latex), latex, None, 0, 0, "")).split()
        assert name == "n"
        return rest

    assert tokens("a<b>c") == ["a", "<", "b", ">", "c"]
    assert tokens(r"$\sum_{i}^n i$") == tokens(r"\sum_{i}^n i") == [r"\sum", *"_{i}^{n}i"]
    assert tokens(r"\int\limits_0 x")[:2] == [r"\int", r"\limits"]
    with pytest.raises(ValueError, match=r"no token \\overset; choose another format"):
        tokens(r"\overset{a}{=}")
    with pytest.raises(ValueError, match=r"no LaTeX .*choose another format"):
        check_caption(SymbolGraph(("a", "b")))


def test_dictionary_has_every_token_captions_are_written_with():
    grammar = Grammar.crohme()
    texts = [grammar.draw(5, index) for index in range(300)]
    texts += [r"\sqrt[3]{x}", r"\sum\nolimits_{i}^{n} i", r"\int\limits_{0}^{1} x", r"\lim_{x \rightarrow 0} x"]
    for text in texts:
        graph = parse_latex(text)
        tokens = official(type(sample())(None, graph, text, None, 0, 0, "").tokens)
        assert set(tokens) <= set(TOKENS), text
        again = parse_latex(" ".join(tokens))
        assert sorted(again.symbols) == sorted(graph.symbols)


def test_encoding_imports_no_torch():
    """Worker processes import the module, and should start quickly."""
    code = "import sys; import hmeg.generation.encoding; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
