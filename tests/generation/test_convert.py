"""hmeg convert: the run that hmeg generate would have written in the other form, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hmeg.cli.convert import command
from hmeg.generation import overview
from hmeg.generation.convert import convert, converted_settings, finished_run
from hmeg.generation.manifest import Manifest
from hmeg.generation.run import Run
from hmeg.graph.latex import parse_latex
from hmeg.graph.vocabulary import Vocabulary
from hmeg.image_sets import open_images
from hmeg.image_sets.encoding import png
from hmeg.image_sets.formats import FORMATS
from tests.support.runs import settings
from tests.support.samples import sample

EXPRESSIONS = ["x + 1", r"\frac{a}{b}", "x^{2}", "y"]
REJECTED = [(3, "\\hbar", "unknown"), (9, "\\x", "unknown")]


def drawn(index, colour=False):
    latex = EXPRESSIONS[index % 4]
    graph = parse_latex(latex)
    boxes = np.arange(4 * len(graph), dtype=np.float64).reshape(-1, 4)
    changes = {
        "graph": graph,
        "latex": latex,
        "boxes": boxes,
        "seed": 2**64 - 1,
        "line": index + 1,
        "name": f"n{index}",
    }
    return dataclasses.replace(sample(index, colour=colour), augment=[{"fit": {"scale": 1}}], **changes)


def write(folder, form, indices=(0, 1, 2, 9, 10, 11, 1203), finish=True, colour=False):
    """A run with gaps, of shards as the form has them by itself; all rejections are of the first."""
    size = FORMATS[form].default_shard
    with Run(folder, settings(form, seed=2**64 - 1, shard_size=size)) as run:
        for number in sorted({0, *(index // size for index in indices)}):
            run.begin(number)
            for rejection in REJECTED if number == 0 else ():
                run.reject(*rejection)
            for index in indices:
                if index // size == number:
                    one = drawn(index, colour)
                    run.write(one, run.format.encode(one.array))
            run.commit()
        if finish:
            run.finish()
    return folder


def contents(folder):
    timed = ("timing.jsonl", "report.html")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): b"" if path.name in timed else path.read_bytes() for path in files}


def run_command(source, form, out, *options):
    result = CliRunner().invoke(command, [str(a) for a in (source, "--to", form, "--out", out, *options)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run in all forms."""
    folder = tmp_path_factory.mktemp("runs")
    return {form: write(folder / form, form) for form in FORMATS}


def assert_same(got, wanted):
    assert got.keys() == wanted.keys()
    for name in wanted:
        assert got[name] == wanted[name], name


@pytest.mark.parametrize("source", list(FORMATS))
@pytest.mark.parametrize("form", list(FORMATS))
def test_every_form_becomes_every_other(runs, tmp_path, source, form):
    result = run_command(runs[source], form, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"7 images in {tmp_path / 'out'}, as {form}" in result.stdout
    assert_same(contents(tmp_path / "out"), contents(runs[form]))


@pytest.mark.parametrize("form", list(FORMATS))
def test_stopped_and_gone_on_with(runs, tmp_path, form, monkeypatch):
    write_sample, count = Run.write, 0

    def interrupted(self, *given):
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt
        write_sample(self, *given)

    monkeypatch.setattr(Run, "write", interrupted)
    result = run_command(runs["webdataset"], form, tmp_path / "out")
    assert result.exit_code == 1 and "the same command goes on" in result.stderr
    assert not Manifest.load(tmp_path / "out").complete
    assert run_command(runs["webdataset"], form, tmp_path / "out").exit_code == 0
    assert_same(contents(tmp_path / "out"), contents(runs[form]))
    assert run_command(runs["webdataset"], form, tmp_path / "out").exit_code == 0  # it holds that run already
    assert_same(contents(tmp_path / "out"), contents(runs[form]))


def test_colours_stay(tmp_path):
    source = write(tmp_path / "folder", "folder", colour=True)
    for form in ("webdataset", "can"):
        assert run_command(source, form, tmp_path / "out" / form).exit_code == 0
        assert_same(contents(tmp_path / "out" / form), contents(write(tmp_path / form, form, colour=True)))


def test_labels_of_earlier_versions(runs, tmp_path):
    """Relations as lists, seeds and variations as they were: converted into what they are today."""
    old = write(tmp_path / "old", "folder")
    labels = [json.loads(line) for line in (old / "labels.jsonl").read_text().splitlines()]
    for label in labels:
        label["relations"] = [list(relation.values()) for relation in label["relations"]]
        label["seed"], label["augment"] = int(label["seed"]), json.loads(label["augment"])
        del label["ink"]
    (old / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["settings"]["labels"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    assert open_images(old).labels == open_images(runs["folder"]).labels
    assert run_command(old, "coco", tmp_path / "out").exit_code == 0
    assert_same(contents(tmp_path / "out"), contents(runs["coco"]))


def test_what_a_form_cannot_say_is_rejected_there(tmp_path):
    """Symbols beyond CROHME's: recognisers have no token for them, detectors then have all classes of the table."""
    samples = [drawn(0), dataclasses.replace(drawn(1), graph=parse_latex(r"\hbar"), boxes=np.array([[1.0, 2, 9, 8]]))]
    with Run(tmp_path / "run", settings("folder")) as run:
        run.begin(0)
        for one in samples:
            run.write(one, run.format.encode(one.array))
        run.commit()
        run.finish()
    assert run_command(tmp_path / "run", "can", tmp_path / "can").exit_code == 0
    (rejected,) = [json.loads(line) for line in (tmp_path / "can" / "rejected.jsonl").read_text().splitlines()]
    assert rejected["line"] == 2 and "no token \\hbar" in rejected["reason"]
    assert open_images(tmp_path / "can").labels == ["x + 1"]
    assert run_command(tmp_path / "run", "coco", tmp_path / "coco").exit_code == 0
    told = json.loads((tmp_path / "coco" / "annotations" / "instances_train.json").read_text())
    names = {one["id"]: one["name"] for one in told["categories"]}
    assert tuple(names.values()) == Vocabulary.open().names
    assert [names[one["category_id"]] for one in told["annotations"]] == ["x", "+", "1", r"\hbar"]


def test_split_and_shard_size(runs, tmp_path):
    result = run_command(runs["folder"], "parquet", tmp_path, "--split", "test", "--shard-size", 2)
    assert result.exit_code == 0
    names = sorted(path.name for path in tmp_path.glob("*.parquet"))
    assert names == [f"test-{number:06d}.parquet" for number in (0, 1, 4, 5, 601)]
    refused = run_command(runs["folder"], "coco", tmp_path / "other", "--split", "a/b")
    assert refused.exit_code == 2 and "--split may have letters" in refused.stderr


def test_what_is_no_finished_run_is_refused(runs, tmp_path):
    unfinished = write(tmp_path / "unfinished", "folder", finish=False)
    (tmp_path / "empty").mkdir()
    for source, told in (
        (unfinished, r"unfinished holds a run that is not finished (7 images in finished shards): finish it"),
        (tmp_path / "empty", r"empty holds no run of hmeg generate: there is no manifest.json"),
    ):
        result = run_command(source, "coco", tmp_path / "out")
        assert result.exit_code == 1 and told in result.stderr and not (tmp_path / "out").exists()


def test_other_runs_are_only_replaced_when_asked_to(runs, tmp_path):
    before = contents(runs["folder"])
    result = run_command(runs["folder"], "folder", runs["folder"], "--overwrite")
    assert result.exit_code == 1 and "into itself" in result.stderr
    assert contents(runs["folder"]) == before
    out = write(tmp_path / "out", "yolo", indices=(0, 1))
    (out / "notes.txt").write_text("mine")
    result = run_command(runs["folder"], "coco", out)
    assert result.exit_code == 1 and "format yolo, not coco" in result.stderr and "--overwrite" in result.stderr
    assert run_command(runs["folder"], "coco", out, "--overwrite").exit_code == 0
    assert_same(contents(out), {**contents(runs["coco"]), "notes.txt": b"mine"})
    assert not (out / "images").exists()


@pytest.mark.parametrize(
    ("form", "damage", "told"),
    [
        ("folder", lambda run: (run / "000002.png").unlink(), r"000002\.png: No such file"),
        ("folder", lambda run: (run / "000000.png").write_bytes(b"no"), r"its image cannot be read"),
        ("webdataset", lambda run: (run / "000000.tar").write_bytes(b"no" * 999), r"000000\.tar: not a readable tar"),
        ("parquet", lambda run: (run / "train-000001.parquet").write_bytes(b"no"), r"not a readable Parquet file"),
        ("can", lambda run: (run / "train_images.pkl").write_bytes(b"\x80\x03}X"), r"_images\.pkl: cannot be read"),
        ("can", lambda run: (run / "train_images.pkl").write_bytes(b"\x80\x03}."), r"there is no more image"),
        ("comer", lambda run: (run / "data.zip").write_bytes(b"no"), r"data\.zip/data/train/img/000000\.bmp: cannot"),
    ],
)
def test_damaged_runs_are_named(tmp_path, form, damage, told):
    source = write(tmp_path / "run", form)
    damage(source)
    with pytest.raises(ValueError, match=told):
        convert(source, tmp_path / "out", converted_settings(finished_run(source), "folder", None, None))


def test_labels_that_are_none_are_named(tmp_path):
    source = write(tmp_path / "run", "folder")
    lines = (source / "labels.jsonl").read_text().splitlines()
    changes = converted_settings(finished_run(source), "webdataset", None, None)
    for second, told in (
        (lines[0], "index 0 after 0"),
        ("{", "is not JSON"),
        (json.dumps({**json.loads(lines[1]), "boxes": [[1]]}), "the label is damaged"),
        (json.dumps({**json.loads(lines[1]), "image": "../x.png"}), "is no name of a file in this folder"),
        (json.dumps({**json.loads(lines[1]), "image": 3}), "'image' must be text"),
    ):
        (source / "labels.jsonl").write_text("\n".join([lines[0], second, *lines[2:]]) + "\n")
        with pytest.raises(ValueError, match=told):
            convert(source, tmp_path / "out", changes, overwrite=True)


@pytest.mark.parametrize("form", ["webdataset", "can", "parquet"])
def test_memory_does_not_grow_with_the_run(tmp_path, form, monkeypatch):
    """Beside the contact sheet, which takes more than all else here: 1,200 more samples would be 3 MB and more."""
    monkeypatch.setattr(overview, "write_contact_sheet", lambda cards: png(np.zeros((1, 1), np.uint8)))
    peaks = []
    for count in (300, 1500):
        source = write(tmp_path / f"{form}{count}", form, indices=range(count))
        out = tmp_path / f"out{count}"
        tracemalloc.start()
        assert convert(source, out, converted_settings(finished_run(source), "yolo", None, None)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1_000_000


def test_help_needs_neither_torch_nor_pyarrow():
    code = (
        "import sys; from hmeg.cli import main; main(['convert', '--help'], standalone_mode=False); "
        "assert not {'torch', 'pyarrow'} & set(sys.modules), sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "--to coco" in done.stdout
