"""The report of a finished run: right numbers, whatever the run went through, and as people see it."""

from __future__ import annotations

import dataclasses
import json
import os
import tracemalloc
from collections import Counter

import pytest
from PIL import Image

from hmeg.generation.manifest import Manifest
from hmeg.generation.report import Summary, histogram, refusals, write_report
from hmeg.generation.run import Run
from hmeg.image_sets.formats import FORMATS
from tests.support.browser import visit
from tests.support.runs import settings, write_shard
from tests.support.samples import sample

SCRIPT = "<script>document.title = 'taken over'</script>"


def finished(folder, file_format="folder", stop=False):
    """Five samples in two shards, and four lines that were refused for two reasons."""
    run = Run(folder, settings(file_format))
    write_shard(run, range(3))
    if stop:
        write_shard(run, [4], commit=False)
        run.close()
        run = Run(folder, settings(file_format))
    run.begin(1)
    for index, latex in ((4, SCRIPT), (5, None)):
        drawn = sample(index, latex)
        run.write(drawn, run.format.encode(drawn.array))
    for line, text, reason in (
        (7, SCRIPT, "unknown macro (at position 0)"),
        (8, "a" * 500, "'{' is not closed (at position 3)"),
        (9, "b{", "'{' is not closed (at position 1)"),
        (11, "c{", "'{' is not closed (at position 1)"),
    ):
        run.reject(line, text, reason)
    run.commit()
    run.finish()
    run.close()
    return folder / "report.html"


def set_times(folder, *seconds):
    lines = [json.dumps({"shard": number, "seconds": value}) + "\n" for number, value in enumerate(seconds)]
    (folder / "timing.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("file_format", list(FORMATS))
def test_same_page_after_a_stop_and_whenever_written(tmp_path, file_format):
    pages = []
    for stop in (False, True):
        folder = tmp_path / str(stop)
        finished(folder, file_format, stop)
        set_times(folder, 2.5, 7.5)
        write_report(folder, Manifest.load(folder))
        pages.append((folder / "report.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert "10.0 s" in pages[0]
    assert "0.5 images/s" in pages[0]
    assert pages[0].count("<img ") == 5
    assert SCRIPT not in pages[0]
    if not FORMATS[file_format].keeps_unfinished:  # there, every image is a file
        manifest = Manifest.load(tmp_path / "True")
        names = manifest.files or {name for shard in manifest.shards for name in shard.files}
        assert names
        assert all(f"<td>{name}</td>" in pages[0] for name in names)


def test_missing_report_is_written_by_the_same_command_again(tmp_path):
    path = finished(tmp_path)
    before = path.read_bytes()
    path.unlink()
    with Run(tmp_path, settings()) as run:
        run.finish()
    assert path.read_bytes() == before
    path.write_text("noted by hand")
    with Run(tmp_path, settings()) as run:
        run.finish()
    assert path.read_text() == "noted by hand"
    with Run(tmp_path, settings(seed=3), overwrite=True):
        assert not path.exists()


def test_times_of_a_shard_may_be_missing(tmp_path):
    """A process that was killed between the manifest and its time; half a line is cut off when it is gone on with."""
    run = Run(tmp_path, settings())
    write_shard(run, range(3))
    run.close()
    (tmp_path / "timing.jsonl").write_bytes(b'{"shard": 0, "seco')
    with Run(tmp_path, settings()) as run:
        write_shard(run, [4])
        run.finish()
    (line,) = (tmp_path / "timing.jsonl").read_text().splitlines()
    assert json.loads(line)["shard"] == 1
    assert 0 <= json.loads(line)["seconds"] < 60
    set_times(tmp_path, 4)
    write_report(tmp_path, Manifest.load(tmp_path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "4.0 s for 1 of the shards" in page
    assert "0.8 images/s" in page  # three images in four seconds


def test_run_without_samples(tmp_path):
    with Run(tmp_path, settings()) as run:
        run.begin(0)
        run.reject(1, "W", "unknown")
        run.commit()
        run.finish()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "There are none to show" in page
    assert "1: W" in page


def test_a_fraction_bar_is_no_minus():
    label = sample(0).label() | {"symbols": ["-", "a", "b", "-"], "boxes": [[0, 0, 1, 1]] * 4}
    label["relations"] = [[0, 1, "Above"], [0, 2, "Below"], [0, 3, "Right"]]
    summary = Summary()
    summary.add(label)
    assert summary.symbols == {"fraction bar": 1, "a": 1, "b": 1, "-": 1}
    assert label["symbols"] == ["-", "a", "b", "-"]


def test_summary_counts():
    summary = Summary()
    for index in range(70):
        label = dataclasses.replace(sample(index), array=sample(0).array // 2).label()
        summary.add(label)
    assert summary.samples == 70
    assert summary.symbols == {"x": 70, "y": 70}
    assert summary.relations == {"Right": 70}
    assert summary.lengths == {2: 70}
    assert summary.heights == {8: 70, 31: 70}  # boxes of tests.samples: 1.25..9 and 1..32
    assert summary.widths == {32: 70}  # 0..31.5
    assert len(summary.ink) == 1
    assert 0.7 < next(iter(summary.ink)) / 200 < 0.8  # half as bright as noise of mean 127


def test_labels_of_before_there_was_ink():
    label = sample(0).label()
    del label["ink"]
    summary = Summary()
    summary.add(label)
    assert summary.ink == Counter()


def test_reasons_without_their_places_and_not_without_end():
    many = (
        {"line": i, "text": "x" * 200, "reason": f"symbol {i} is unknown (at position {i})"} for i in range(100_000)
    )
    tracemalloc.start()
    try:
        reasons = refusals(many)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert len(reasons) == 501
    assert list(reasons)[-1] == "other reasons"
    assert reasons["other reasons"].count == 99_500
    assert reasons["other reasons"].examples[0] == "500: " + "x" * 57 + "..."
    assert sum(reason.count for reason in reasons.values()) == 100_000


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ({}, {}),
        ({3: 5}, {"3": 5}),
        ({1: 2, 3: 4}, {"1": 2, "2": 0, "3": 4}),
        ({0: 1, 17: 2, 31: 3}, {f"{s}–{s + 1}": {0: 1, 16: 2, 30: 3}.get(s, 0) for s in range(0, 32, 2)}),
        ({7: 1, 255: 1}, {f"{s}–{s + 19}": int(s in (0, 240)) for s in range(0, 260, 20)}),
    ],
)
def test_histogram(counts, wanted):
    assert histogram(Counter(counts)) == wanted


def test_histogram_keeps_all_counts_in_few_ranges():
    for high in (1, 15, 16, 99, 255, 4096, 100_000):
        ranges = histogram(Counter(dict.fromkeys(range(0, high + 1), 1)))
        assert sum(ranges.values()) == high + 1
        assert len(ranges) <= 16
    assert histogram(Counter({8: 1, 9: 2}), 0.5, " %") == {"4–4.5 %": 1, "4.5–5 %": 2}


def test_in_a_browser(browser, tmp_path):
    path = finished(tmp_path, "webdataset", stop=True)
    for width, scheme in ((1280, "light"), (390, "dark")):
        with visit(browser, path, width, scheme) as seen:
            assert seen.page.title() == "5 images of handwritten mathematics"
            assert seen.page.get_by_role("heading", level=2).all_inner_texts() == [
                *("Samples", "Counts", "Rejected", "Run")
            ]
            assert seen.page.locator(".gallery figcaption").all_inner_texts() == ["x y", "x y", "x y", SCRIPT, "x y"]
            for text in ("All of them.", "seed 11", "32 x 32", "tiny@0123456789ab", "All 4 are in rejected.jsonl"):
                assert seen.page.get_by_text(text).first.is_visible(), text
            rows = [row.split("\t") for row in seen.page.locator("tbody tr").all_inner_texts()]
            assert rows[0][:2] == ["'{' is not closed", "3"]
            assert rows[1] == ["unknown macro", "1", f"7: {SCRIPT}"]
            assert ["000000.tar", f"{(tmp_path / '000000.tar').stat().st_size:,}"] in [row[:2] for row in rows]
            assert seen.page.locator(".histogram h3").count() == 7
            bars = seen.page.locator(".histogram").filter(has_text="Relations").locator(".length")
            assert bars.first.bounding_box()["width"] > 50
            assert seen.broken_pictures == 0
            assert seen.nameless_pictures == 0
            assert seen.overflow == 0
            assert seen.complaints == []
            assert seen.requests == []
            screenshot = tmp_path / f"{width}.png"
            seen.page.screenshot(path=screenshot, full_page=True)
            with Image.open(screenshot) as picture:
                assert picture.width == width
                assert len(picture.convert("L").getcolors(1000)) > 50
    os.remove(tmp_path / "contact_sheet.png")
    write_report(tmp_path, Manifest.load(tmp_path))
    with visit(browser, path) as seen:
        assert seen.page.get_by_text("There are none to show").is_visible()
