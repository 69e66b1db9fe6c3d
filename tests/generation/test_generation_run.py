"""A run in its folder, without networks: shards, resuming, earlier runs, full disks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hmeg import files
from hmeg.files import JsonLines
from hmeg.generation.manifest import Manifest, Shard
from hmeg.generation.run import STANDARD_INPUT, Run
from hmeg.image_sets.formats import FORMATS
from tests.support.runs import SETTINGS, settings, write_shard
from tests.support.samples import sample


def contents(folder):
    """All files by name; those that tell how long it took only as present."""
    return {
        path.relative_to(folder).as_posix(): b"" if path.name in ("timing.jsonl", "report.html") else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_the_rest(run):
    """The shards of a whole run but the first one: an empty one, one of a rejection, one of a sample."""
    write_shard(run, [])
    run.begin(2)
    run.reject(9, "\\hbar", "unknown")
    run.commit()
    write_shard(run, [12])


def whole_run(folder, file_format):
    with Run(folder, settings(file_format)) as run:
        write_shard(run, range(4))
        write_the_rest(run)
        run.finish()
    return contents(folder)


def test_folder(tmp_path):
    folder = tmp_path / "new" / "run"
    whole_run(folder, "folder")
    assert sorted(p.name for p in folder.iterdir()) == [
        *(f"{i:06d}.png" for i in (0, 1, 2, 3, 12)),
        "contact_sheet.png",
        "labels.jsonl",
        "manifest.json",
        "metadata.jsonl",
        "rejected.jsonl",
        "report.html",
        "timing.jsonl",
    ]
    first, *_, last = read_lines(folder / "labels.jsonl")
    assert first == {
        "image": "000000.png",
        "width": 32,
        "height": 32,
        "latex": "x y",
        "tokens": ["x", "y"],
        "symbols": ["x", "y"],
        "boxes": [[0, 1.25, 8, 9], [9, 1, 31.5, 32]],
        "relations": [{"subject": 0, "object": 1, "type": "Right"}],
        "symlg": sample(0).symlg,
        "ink": round(1 - sample(0).array.mean() / 255, 4),
        "seed": "11",
        "index": 0,
        "weights": "tiny@0123456789ab",
    }
    assert last["index"] == 12
    with Image.open(folder / "000003.png") as image:
        np.testing.assert_array_equal(np.asarray(image), sample(3).array)
    assert read_lines(folder / "rejected.jsonl") == [{"line": 9, "text": "\\hbar", "reason": "unknown"}]
    manifest = Manifest.load(folder)
    assert manifest.complete
    assert [(s.number, s.samples, s.rejected) for s in manifest.shards] == [(0, 4, 0), (1, 0, 0), (2, 0, 1), (3, 1, 0)]
    images = b"".join((folder / f"{i:06d}.png").read_bytes() for i in range(4))
    assert manifest.shards[0].files == {"images": {"sha256": hashlib.sha256(images).hexdigest()}}


@pytest.mark.parametrize("file_format", list(FORMATS))
@pytest.mark.parametrize("stopped", ["between", "midway", "abandoned", "before finish"])
def test_stopped_and_gone_on_with(tmp_path, file_format, stopped):
    """What is left when a process disappears: a run that is not closed, or closed in the middle of a shard."""
    wanted = whole_run(tmp_path / "whole", file_format)
    folder = tmp_path / "stopped"
    run = Run(folder, settings(file_format))
    write_shard(run, range(4))
    if stopped == "midway":
        run.begin(1)
        run.reject(7, "x", "never to be seen")
        drawn = sample(5)
        run.write(drawn, run.format.encode(drawn.array))
        os.close(run._lock)  # what the system does for a process that was killed
    elif stopped == "abandoned":
        write_shard(run, [7], commit=False)
        run.close()
    elif stopped == "before finish":
        write_the_rest(run)
        run.format.assemble([0, 3])
        run.close()
    else:
        run.close()
    with Run(folder, settings(file_format)) as again:
        assert again.next_shard == (4 if stopped == "before finish" else 1)
        assert again.written == (5 if stopped == "before finish" else 4)
        if stopped != "before finish":
            write_the_rest(again)
        again.finish()
    got = contents(folder)
    # a folder keeps every whole image; here shard 1 had one that the whole run has not
    if FORMATS[file_format].keeps_unfinished:
        got = {name: content for name, content in got.items() if Path(name).stem not in ("000005", "000007")}
    assert got.keys() == wanted.keys()
    for name in got:
        assert got[name] == wanted[name], name


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_finished_run_stays(tmp_path, file_format):
    wanted = whole_run(tmp_path, file_format)
    with Run(tmp_path, settings(file_format)) as run:
        assert run.manifest.complete
        assert run.written == 5
        run.finish()
    assert contents(tmp_path) == wanted


def test_same_bytes_whenever_written(tmp_path, monkeypatch):
    first = {name: whole_run(tmp_path / f"{name}1", name) for name in FORMATS}
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    for name in FORMATS:
        assert whole_run(tmp_path / f"{name}2", name) == first[name]


def test_other_settings_are_refused_then_replaced(tmp_path):
    whole_run(tmp_path, "folder")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "photo.png").write_bytes(b"mine")
    before = contents(tmp_path)
    for changes, message in [
        ({"weights": "tiny@ffff"}, r"weights tiny@0123456789ab, not tiny@ffff"),
        ({"source": "a file with sha256 00"}, r"source 9 random expressions, not a file with sha256 00"),
        ({"seed": 12, "shard_size": 5}, r"seed 11, not 12; shard size 4, not 5"),
        ({"file_format": "webdataset"}, r"format folder, not webdataset"),
    ]:
        with pytest.raises(FileExistsError, match=rf"an earlier run of 5 images .*{message}.*--overwrite"):
            Run(tmp_path, settings(**changes))
        assert contents(tmp_path) == before
    with Run(tmp_path, settings("webdataset"), overwrite=True) as run:
        write_shard(run, range(2))
        run.finish()
    assert sorted(contents(tmp_path)) == [
        "000000.tar",
        "contact_sheet.png",
        "labels.jsonl",
        "manifest.json",
        "notes.txt",
        "photo.png",
        "rejected.jsonl",
        "report.html",
        "timing.jsonl",
    ]
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("setting", "difference"),
    [("image_noise", "image noise numpy, not normal_noise"), ("labels", "labels mixed, not typed")],
)
def test_runs_of_earlier_versions_are_not_gone_on_with(tmp_path, setting, difference):
    """They do not say what their image noise is made by, nor which form their labels have."""
    with Run(tmp_path, SETTINGS) as run:
        write_shard(run, range(4))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["settings"][setting]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FileExistsError, match=rf"an earlier run .*{difference}.*--overwrite"):
        Run(tmp_path, SETTINGS)


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_overwrite_removes_all_of_a_format(tmp_path, file_format):
    whole_run(tmp_path, file_format)
    with Run(tmp_path, settings("folder", seed=3), overwrite=True):
        pass
    assert sorted(contents(tmp_path)) == ["labels.jsonl", "manifest.json", "rejected.jsonl", "timing.jsonl"]


def test_folder_of_before_there_were_manifests(tmp_path):
    (tmp_path / "labels.jsonl").write_text("{}\n")
    (tmp_path / "000000.png").write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"an earlier run of 1 images; .*--overwrite"):
        Run(tmp_path, SETTINGS)
    with Run(tmp_path, SETTINGS, overwrite=True):
        assert not (tmp_path / "000000.png").exists()


def test_run_without_samples_is_no_earlier_run(tmp_path):
    with Run(tmp_path, SETTINGS) as run:
        run.begin(0)
        run.reject(1, "", "nothing")
        run.commit()
    with Run(tmp_path, settings(seed=2)) as run:
        assert run.next_shard == 0
        assert run.rejected == 0
    assert read_lines(tmp_path / "rejected.jsonl") == []


def test_standard_input_cannot_be_gone_on_with(tmp_path):
    piped = settings(source=STANDARD_INPUT)
    with Run(tmp_path, piped) as run:
        write_shard(run, [0])
    with pytest.raises(FileExistsError, match="from standard input, which cannot be read again"):
        Run(tmp_path, piped)
    with Run(tmp_path, piped, overwrite=True) as run:
        assert run.written == 0


@pytest.mark.parametrize("name", ["000001.png", "contact_sheet.png", "rejected.jsonl", "report.html"])
def test_files_of_others_are_never_removed(tmp_path, name):
    (tmp_path / name).write_bytes(b"somebody's")
    with pytest.raises(FileExistsError, match=rf"holds {name}, but no manifest\.json"):
        Run(tmp_path, SETTINGS, overwrite=True)
    assert (tmp_path / name).read_bytes() == b"somebody's"


def test_only_one_at_a_time(tmp_path):
    with Run(tmp_path, SETTINGS), pytest.raises(BlockingIOError, match="being written to by another"):
        Run(tmp_path, SETTINGS)
    with Run(tmp_path, SETTINGS) as run:
        write_shard(run, [0])


def test_out_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        Run(tmp_path / "file", SETTINGS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "it is not JSON"),
        ("{}", "no manifest of this version"),
        ('{"version": "hmeg-run-1"}', "is damaged"),
        ('{"version": "hmeg-run-1", "settings": {"seed": 1}, "shards": []}', "is damaged"),
    ],
)
def test_damaged_manifest(tmp_path, text, message):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=rf"manifest\.json .*{message}"):
        Run(tmp_path, SETTINGS)


def test_changed_output_is_noticed(tmp_path):
    with Run(tmp_path, settings("webdataset")) as run:
        write_shard(run, range(3))
    (tmp_path / "000000.tar").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"000000\.tar is missing or is not what was finished; .*--overwrite"):
        Run(tmp_path, settings("webdataset"))
    with Run(tmp_path, settings("webdataset"), overwrite=True) as run:
        write_shard(run, range(3))
    (tmp_path / "labels.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"labels\.jsonl has 0 bytes, fewer than .*--overwrite"):
        Run(tmp_path, settings("webdataset"))


@pytest.mark.parametrize("complete", [False, True])
def test_images_that_were_taken_away_are_noticed(tmp_path, complete):
    with Run(tmp_path, settings()) as run:
        write_shard(run, range(4))
        write_shard(run, [4])
        if complete:
            run.finish()
    (tmp_path / "000002.png").unlink()
    (tmp_path / "000003.png.part").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has 4 images, fewer than the 5 that were finished.*--overwrite"):
        Run(tmp_path, settings())
    with Run(tmp_path, settings(), overwrite=True) as run:
        assert run.written == 0


def test_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to("folder")
    for name, message in (("file", "is a file, not a folder"), ("link", "is a link to nothing, not a folder")):
        with pytest.raises(NotADirectoryError, match=message):
            Run(tmp_path / name, settings())
    with Run(tmp_path / "way", settings()) as run:
        write_shard(run, range(4))
    assert (tmp_path / "folder" / "000000.png").is_file()


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_disk_full_when_a_shard_appears(tmp_path, monkeypatch, file_format):
    """Whatever is renamed last fails: finished shards stay, and the run can be gone on with."""
    wanted = whole_run(tmp_path / "whole", file_format)
    folder = tmp_path / "full"
    replace = os.replace

    def full(source, target):
        if "manifest" not in str(target) and run.next_shard == 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    run = Run(folder, settings(file_format))
    write_shard(run, range(4))
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"), run:
        write_shard(run, [5])
    monkeypatch.setattr(os, "replace", replace)
    assert not list(folder.glob("*.part"))
    assert len(read_lines(folder / "labels.jsonl")) == 4 or not FORMATS[file_format].keeps_unfinished
    with Run(folder, settings(file_format)) as again:
        assert again.written == 4
        write_the_rest(again)
        again.finish()
    assert contents(folder) == wanted


@pytest.mark.parametrize("file_format", ["webdataset", "parquet", "can", "comer"])
def test_a_disk_full_in_the_middle_of_a_shard_keeps_nothing_of_it(tmp_path, file_format):
    """What is buffered cannot be written at the end either, and half a shard would keep the disk full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = Run(tmp_path, settings(file_format, shard_size=10_000))
    try:
        with pytest.raises(OSError, match="File too large"), run:  # noqa: PT012 - until the system refuses
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
            write_shard(run, range(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in tmp_path.iterdir()} == {
        "manifest.json", "labels.jsonl", "rejected.jsonl", "timing.jsonl"
    }  # fmt: skip


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_what_stays_of_an_unfinished_shard(tmp_path, file_format):
    with Run(tmp_path, settings(file_format)) as run:
        write_shard(run, range(4))
        write_shard(run, [4, 5], commit=False)
        assert run.written == 6
        assert run.kept == (6 if FORMATS[file_format].keeps_unfinished else 4)


def test_disk_full_while_a_label_is_written(tmp_path):
    lines = JsonLines(tmp_path / "lines")
    lines.append({"a": 1})

    class Full:
        def __init__(self, file):
            self.file = file
            self.calls = 0

        def write(self, data):
            self.calls += 1
            if self.calls > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data[:5])

        def __getattr__(self, name):
            return getattr(self.file, name)

    file, lines._file = lines._file, Full(lines._file)
    with pytest.raises(OSError, match="No space left"):
        lines.append({"b": "never"})
    lines._file = file
    lines.append({"c": 3})
    lines.close()
    assert read_lines(tmp_path / "lines") == [{"a": 1}, {"c": 3}]


def test_write_whole_leaves_no_part(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write_whole(tmp_path / "none" / "file", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_whole(tmp_path / "folder", b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder"]


def test_manifest_reads_back_whatever_was_saved_before(tmp_path):
    """Shards are put in words once: saved after each, or loaded and gone on with, the file is the same."""
    shards = [Shard(n, n, 1, 10 * n, n, {"images": {"sha256": f"{n}"}} if n else {}) for n in range(5)]
    one_by_one = Manifest(SETTINGS, 2)
    for number in range(len(shards) + 1):
        one_by_one.shards = shards[:number]
        one_by_one.save(tmp_path)
        assert Manifest.load(tmp_path) == one_by_one
    loaded = Manifest.load(tmp_path)
    for manifest in (one_by_one, loaded):
        manifest.complete = True
        manifest.files = {"data.zip": {"sha256": "0", "bytes": 3}}
    wanted = Manifest(SETTINGS, 2, shards, True, {"data.zip": {"sha256": "0", "bytes": 3}})
    texts = []
    for manifest in (one_by_one, loaded, wanted):
        manifest.save(tmp_path)
        texts.append((tmp_path / "manifest.json").read_text())
        assert Manifest.load(tmp_path) == wanted
    assert len(set(texts)) == 1
