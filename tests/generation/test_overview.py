"""What the contact sheet of a run shows: samples from all of it, however often it was stopped."""

from __future__ import annotations

import dataclasses
import json
import os
import tracemalloc

import pytest

from hmeg.generation import overview
from hmeg.generation.overview import Overview, is_shown, step
from hmeg.generation.run import Run
from hmeg.image_sets.contact_sheet import read_contact_sheet
from tests.support.runs import settings
from tests.support.samples import sample

SHEET, CARDS = "contact_sheet.png", "contact_sheet.jsonl"
SAMPLES = 150  # in shards of 4: one of four is shown


def numbers(folder):
    return [card.number for card in read_contact_sheet(folder / SHEET)]


def write(run, upto, without_pixels=False):
    """Shards from the next one on, each with a sample less than it has room for."""
    while run.next_shard < upto:
        run.begin(run.next_shard)
        for index in range(4 * run.next_shard + 1, 4 * run.next_shard + 4):
            drawn = sample(index, f"x {index}")
            drawn.label()
            bare = without_pixels and not is_shown(run.written)
            run.write(drawn.without_pixels() if bare else drawn, run.format.encode(drawn.array))
        run.commit()


@pytest.mark.parametrize(
    ("samples", "wanted"), [(0, 1), (1, 1), (64, 1), (65, 2), (128, 2), (129, 4), (1_000_000, 1 << 14)]
)
def test_step(samples, wanted):
    assert step(samples) == wanted


def test_at_most_64_and_at_least_33_evenly_spread():
    kept = []
    for number in range(1000):
        if is_shown(number):
            kept.append(number)
        kept = [n for n in kept if n % step(number + 1) == 0]
        assert kept == list(range(0, number + 1, step(number + 1)))
        assert min(number + 1, 33) <= len(kept) <= 64


@pytest.mark.parametrize("file_format", ["folder", "webdataset"])
@pytest.mark.parametrize("stops", [(), (1,), (13, 30, 31, 49)])
def test_sheet_is_the_same_however_often_the_run_is_stopped(tmp_path, file_format, stops):
    with Run(tmp_path / "whole", settings(file_format)) as run:
        write(run, SAMPLES // 3)
        run.finish()
    folder = tmp_path / "stopped"
    for stop in stops:
        run = Run(folder, settings(file_format))
        write(run, stop)
        run.begin(run.next_shard)
        for index in range(4 * run.next_shard, 4 * run.next_shard + 2):  # others than the run will have
            run.write(sample(index, "never"), run.format.encode(sample(index).array))
        if stop % 2:
            run.close()
        else:
            os.close(run._lock)  # what the system does for a process that was killed
    with Run(folder, settings(file_format)) as run:
        write(run, SAMPLES // 3, without_pixels=True)  # as the Ray engine has them
        run.finish()
    assert (folder / SHEET).read_bytes() == (tmp_path / "whole" / SHEET).read_bytes()
    cards = read_contact_sheet(folder / SHEET)
    assert [card.number for card in cards] == list(range(0, SAMPLES, 4))
    # three indices in four are drawn, from 1 on
    assert [card.caption for card in cards[:4]] == ["x 1", "x 6", "x 11", "x 17"]
    assert not (folder / CARDS).exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "38 of 150: one of every 4, from all of the run." in page
    assert page.count("<img ") == 38


def test_page_can_be_looked_at_while_the_run_goes_on(tmp_path, monkeypatch):
    pages = []
    write_whole = overview.write_whole
    monkeypatch.setattr(
        overview, "write_whole", lambda path, content: (pages.append(run.written), write_whole(path, content))
    )
    run = Run(tmp_path, settings())
    write(run, 40)
    assert pages == [3, 6, 12, 24, 48, 96]
    assert numbers(tmp_path) == list(range(0, 96, 2))
    run.begin(run.next_shard)
    run.write(sample(999), run.format.encode(sample(999).array))
    run.close()
    assert numbers(tmp_path) == list(range(0, 121, 2))
    cards = [json.loads(line)["number"] for line in (tmp_path / CARDS).read_text().splitlines()]
    assert cards == [*range(63), *range(64, 120, 2)]  # 63 was left out again before its shard was finished


def test_what_is_not_kept_is_not_shown(tmp_path):
    run = Run(tmp_path, settings("webdataset"))
    write(run, 1)
    run.begin(1)
    run.write(sample(5), run.format.encode(sample(5).array))
    run.close()
    assert numbers(tmp_path) == [0, 1, 2]


def test_half_a_card_is_cut_off(tmp_path):
    view = Overview(tmp_path, 0)
    for index in range(3):
        view.add(sample(index))
    view.commit()
    view.close()
    path = tmp_path / CARDS
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"number": 3, "capt')
    again = Overview(tmp_path, 3)
    again.add(sample(3))
    again.commit()
    assert numbers(tmp_path) == [0, 1, 2, 3]
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]
    again.forget()
    assert not path.exists()


@pytest.mark.parametrize("line", ["nonsense", "{}", "[1]", '{"number": 0, "caption": "x", "picture": "AAAA"}'])
def test_damaged_cards_are_named_with_the_way_out(tmp_path, line):
    with Run(tmp_path, settings()) as run:
        write(run, 30)
    (tmp_path / CARDS).write_text(line + "\n")
    with pytest.raises(ValueError, match=rf"{CARDS} is damaged \(.+\); remove it"):
        Run(tmp_path, settings())
    (tmp_path / CARDS).unlink()
    with Run(tmp_path, settings()) as run:
        write(run, 31)
        run.finish()
    assert numbers(tmp_path) == [90, 92]
    assert "2 of 93." in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_cards_of_another_run_are_removed(tmp_path):
    with Run(tmp_path, settings()) as run:
        write(run, 2)
    with Run(tmp_path, settings(seed=3), overwrite=True) as run:
        assert not (tmp_path / CARDS).exists()
        write(run, 1)
        run.finish()
    assert numbers(tmp_path) == [0, 1, 2]
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CARDS).write_text("mine")
    with pytest.raises(FileExistsError, match=f"holds {CARDS}, but no manifest.json"):
        Run(tmp_path / "other", settings())


def test_memory_does_not_grow(tmp_path):
    one = sample(0)
    view = Overview(tmp_path, 0)

    def add(count):
        tracemalloc.start()
        try:
            for _ in range(count):
                view.add(one)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    add(64)
    assert add(20_000) < 200_000
    assert len(view._cards) <= 64
    assert dataclasses.is_dataclass(view._cards[0])
