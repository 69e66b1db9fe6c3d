"""``report.html``: what a finished run has become, from the files of its folder alone.

Everything is counted line by line, so memory does not grow with the number of samples.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from hmeg.canvas import FIT, Canvas
from hmeg.data.relation_records import from_records
from hmeg.graph import Relation
from hmeg.image_sets.contact_sheet import read_contact_sheet
from hmeg.image_sets.formats import FORMATS
from hmeg.reports import Page

from .manifest import Manifest
from .overview import step
from .run_files import CONTACT_SHEET, LABELS, REJECTED, REPORT, TIMING

_INK_STEPS = 200  # ink is counted in steps of half a percent
_BARS = 16  # of a histogram over numbers
_REASONS = 500  # told apart; inputs may invent as many as they like
_SHOWN_REASONS = 40
_EXAMPLES = 3
_SHOWN_EXAMPLE = 60
_SHOWN_FILES = 40
_OTHER_REASON = "other reasons"
_NICE_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass
class Summary:
    """What is counted over the samples of a run.

    symbols, relations  how often each occurs
    lengths             symbols an expression
    ink                 darkness of the images, in steps of 1/200
    heights, widths     of symbols' boxes, and of whole expressions, in pixels, rounded
    x_heights           of letters like x, rounded, an image each
    image_widths, image_heights  of images, in pixels
    """

    samples: int = 0
    symbols: Counter[str] = field(default_factory=Counter)
    relations: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    ink: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    x_heights: Counter[int] = field(default_factory=Counter)
    image_widths: Counter[int] = field(default_factory=Counter)
    image_heights: Counter[int] = field(default_factory=Counter)

    def add(self, label: dict[str, Any]) -> None:
        """Count a sample, given its label."""
        self.samples += 1
        relations = from_records(label["relations"])
        self.symbols.update(_signs(label["symbols"], relations))
        self.relations.update(relation.name for relation in relations)
        self.lengths[len(label["symbols"])] += 1
        if "ink" in label:  # labels of older versions have none
            self.ink[int(label["ink"] * _INK_STEPS)] += 1
        if "x_height" in label:
            self.x_heights[round(label["x_height"])] += 1
        if "width" in label:
            self.image_widths[label["width"]] += 1
            self.image_heights[label["height"]] += 1
        boxes = label["boxes"]
        self.heights.update(round(y1 - y0) for _, y0, _, y1 in boxes)
        self.widths[round(max(box[2] for box in boxes) - min(box[0] for box in boxes))] += 1


@dataclass
class Reason:
    """Why expressions were refused: how many, and the first of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


def write_report(folder: Path, manifest: Manifest) -> None:
    """Write ``report.html`` into the folder of a finished run; ``OSError`` when the disk says no.

    The page is a function of the run's own files: the same whenever it is written.
    """
    summary = Summary()
    for label in _lines(folder / LABELS):
        summary.add(label)
    reasons = refusals(_lines(folder / REJECTED))
    page = Page(f"{summary.samples:,} images of handwritten mathematics")
    page.text(_introduction(manifest))
    _samples(page, folder, summary.samples)
    _counts(page, manifest, summary)
    _rejections(page, manifest, reasons)
    _run(page, folder, manifest)
    page.save(folder / REPORT)


def refusals(rejected: Iterator[dict[str, Any]]) -> dict[str, Reason]:
    """Refused expressions by reason, wherever in the expression it lies; the most frequent reason first.

    No more than 500 reasons are told apart; later ones count as "other reasons".
    """
    reasons: dict[str, Reason] = {}
    for one in rejected:
        reason = re.sub(r" \(at position \d+\)$", "", one["reason"])
        if reason not in reasons and len(reasons) >= _REASONS:
            reason = _OTHER_REASON
        of_reason = reasons.setdefault(reason, Reason())
        of_reason.count += 1
        if len(of_reason.examples) < _EXAMPLES:
            text = one["text"]
            text = text if len(text) <= _SHOWN_EXAMPLE else text[: _SHOWN_EXAMPLE - 3] + "..."
            of_reason.examples.append(f"{one['line']}: {text}")
    return dict(sorted(reasons.items(), key=lambda item: (item[0] == _OTHER_REASON, -item[1].count)))


def _signs(labels: Sequence[str], relations: Sequence[Relation]) -> list[str]:
    """The symbols of an expression, with fraction bars told from minus signs: both are the symbol ``-``."""
    symbols = list(labels)
    above = {relation.subject for relation in relations if relation.name == "Above"}
    for relation in relations:
        if relation.name == "Below" and relation.subject in above and symbols[relation.subject] == "-":
            symbols[relation.subject] = "fraction bar"
    return symbols


def histogram(counts: Counter[int], scale: float = 1, unit: str = "") -> dict[str, int]:
    """Counts of whole numbers in at most 16 ranges of equal and round width, gaps included; labels say the ranges.

    scale  what 1 stands for, unit what is written behind
    """
    if not counts:
        return {}
    low, high = min(counts), max(counts)
    step = next((step for step in _NICE_STEPS if high // step - low // step < _BARS), high)
    ranges = dict.fromkeys(range(low // step * step, high + 1, step), 0)
    for number, count in counts.items():
        ranges[number // step * step] += count
    return {_range(start, step, scale) + unit: count for start, count in ranges.items()}


def _range(start: int, step: int, scale: float) -> str:
    if scale == 1:
        return str(start) if step == 1 else f"{start}–{start + step - 1}"
    return f"{start * scale:g}–{(start + step) * scale:g}"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="ascii") as file:
        for line in file:
            yield json.loads(line)


def _introduction(manifest: Manifest) -> str:
    settings = manifest.settings
    refused = f" {manifest.rejected:,} of the expressions could not be used." if manifest.rejected else ""
    return (
        f"Drawn by {settings.weights} with seed {settings.seed}, {_shape(settings.drawn_on)}, "
        f"from {settings.source}.{refused}"
    )


def _shape(canvas: Canvas) -> str:
    if canvas.kind == FIT:
        return (
            f"each as large as it needs at letters of {canvas.symbol_height:g} pixels, at most {canvas.width} x "
            f"{canvas.height}"
        )
    return f"{canvas.width} x {canvas.height} pixels each"


def _samples(page: Page, folder: Path, samples: int) -> None:
    page.section("Samples")
    sheet = folder / CONTACT_SHEET
    cards = read_contact_sheet(sheet) if sheet.is_file() else []
    if not cards:
        page.text("There are none to show.")
        return
    every = step(samples)
    if len(cards) == samples:
        page.text("All of them.")
    elif [card.number for card in cards] == list(range(0, samples, every)):
        page.text(f"{len(cards):,} of {samples:,}: one of every {every:,}, from all of the run.")
    else:  # the file of cards was removed on the way
        page.text(f"{len(cards):,} of {samples:,}.")
    page.gallery((card.picture, card.caption) for card in cards)


def _counts(page: Page, manifest: Manifest, summary: Summary) -> None:
    page.section("Counts")
    page.bars("Symbols an expression", histogram(summary.lengths))
    page.bars("Ink: how dark images are on the mean", histogram(summary.ink, 100 / _INK_STEPS, " %"))
    page.bars("Height of symbols, pixels", histogram(summary.heights))
    canvas = manifest.settings.drawn_on
    page.bars("Height of a letter x, pixels", histogram(summary.x_heights))
    if canvas.kind == FIT:
        page.bars("Width of images, pixels", histogram(summary.image_widths))
        page.bars("Height of images, pixels", histogram(summary.image_heights))
    else:
        page.bars(f"Width of expressions, of {canvas.width} pixels", histogram(summary.widths))
    page.bars("Relations", dict(summary.relations.most_common()))
    page.bars("Symbols", dict(summary.symbols.most_common()))


def _rejections(page: Page, manifest: Manifest, reasons: dict[str, Reason]) -> None:
    page.section("Rejected")
    if not reasons:
        page.text("No expression was rejected.")
        return
    page.text(f"All {manifest.rejected:,} are in {REJECTED}. Examples are given with their line.")
    page.table(
        ["reason", "expressions", "the first"],
        [(reason, of.count, "   ".join(of.examples)) for reason, of in islice(reasons.items(), _SHOWN_REASONS)],
    )
    if len(reasons) > _SHOWN_REASONS:
        page.text(f"{len(reasons) - _SHOWN_REASONS:,} rarer reasons are not shown.")


def _run(page: Page, folder: Path, manifest: Manifest) -> None:
    settings = manifest.settings
    page.section("Run")
    rows: list[tuple[str, str]] = [
        ("weights", settings.weights),
        ("expressions", settings.source),
        ("samples of each", f"{settings.count:,}"),
        ("seed", str(settings.seed)),
        ("canvas", str(settings.drawn_on)),
        ("precision of the decoder", settings.precision),
        ("temperature of the layout", f"{settings.temperature:g}"),
        ("variation", settings.augment),
        ("runtime", settings.runtime),
        ("format", settings.format),
        ("split", settings.split),
        ("shards", f"{len(manifest.shards):,} of {settings.shard_size:,} indices"),
        *_times(folder, manifest),
    ]
    page.table(["setting", "value"], rows)
    described = list((manifest.files or {n: d for shard in manifest.shards for n, d in shard.files.items()}).items())
    if FORMATS[settings.format].keeps_unfinished:  # every image is a file; a shard has one digest for all of its own
        page.text(f"Images are files of their own, {manifest.samples:,} in all; {LABELS} says which is which.")
        return
    page.table(
        ["file", "bytes", "sha256"],
        [(name, of_file.get("bytes"), of_file["sha256"][:16]) for name, of_file in described[:_SHOWN_FILES]],
    )
    if len(described) > _SHOWN_FILES:
        page.text(f"{len(described) - _SHOWN_FILES:,} more files are in manifest.json.")


def _times(folder: Path, manifest: Manifest) -> list[tuple[str, str]]:
    """Time and rate of the shards whose time is known: all, unless a process was killed at the wrong moment."""
    path = folder / TIMING
    lines = list(_lines(path)) if path.is_file() else []
    seconds = {one["shard"]: one["seconds"] for one in lines}
    pixels = {one["shard"]: one["pixels"] for one in lines if "pixels" in one}  # runs of before do not say
    timed = [shard for shard in manifest.shards if shard.number in seconds]
    total, images = sum(seconds[shard.number] for shard in timed), sum(shard.samples for shard in timed)
    if not total:
        return []
    of_these = "" if len(timed) == len(manifest.shards) else f" for {len(timed):,} of the shards"
    rate = f"{images / total:.1f} images/s"
    if all(shard.number in pixels for shard in timed):
        rate += f", {sum(pixels[shard.number] for shard in timed) / total / 1e6:.2f} million pixels/s"
    return [("time", f"{_duration(total)}{of_these}"), ("throughput", rate)]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
