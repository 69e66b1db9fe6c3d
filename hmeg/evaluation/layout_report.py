"""Layouts of several sources against real ones, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hmeg.graph import SymbolGraph
from hmeg.graph.vocabulary import RELATIONS

from .layout_metrics import KINDS, LayoutScore
from .plots import grouped_bars
from .sections import Section
from .seeds import mean_and_spread

REAL, TYPESETTER = "real boxes", "typesetter"
_PICTURE = 240
_COLOURS = ("#444444", "#1f77b4", "#d62728", "#2ca02c", "#9467bd")


def _across(scores: Sequence[LayoutScore], name: str, kind: str | None = None) -> tuple[float, float]:
    """Mean and spread over seeds."""
    return mean_and_spread([getattr(score, name) if kind is None else getattr(score, name)[kind] for score in scores])


def _shown(value: tuple[float, float], percent: bool = False) -> str:
    mean, spread = (100 * v if percent else v for v in value)
    digits, unit = (2, " %") if percent else (3, "")
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread else "") + unit


def _of_noise(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"Seed of the noise: {seeds[0]}; one alone has no spread."
    return f"Seeds of the noise: {', '.join(map(str, seeds))}; spreads (±) are standard deviations over them."


def layout_section(
    scores: Mapping[str, Sequence[LayoutScore]],
    drawn: Sequence[tuple[SymbolGraph, Mapping[str, np.ndarray]]],
    settings: Mapping[str, Any],
    command: str,
) -> Section:
    """The section ``layout``.

    scores    a score a seed, by source; the real boxes themselves among them, as :data:`REAL`
    drawn     some expressions with the boxes of every source, for pictures
    settings  data, seeds, overlap
    """
    results = {name: [asdict(score) for score in of_source] for name, of_source in scores.items()}
    section = Section("layout", "Layout", {**settings, "scores": results}, command)
    first = next(iter(scores.values()))[0]
    section.text(
        f"{first.symbols:,} symbols, {first.relations:,} relations and {first.pairs:,} pairs of symbols that real "
        f"boxes keep apart. {_of_noise(settings['seeds'])}"
    )
    section.text(
        "IoU: intersection over union with the real box, mean over symbols. It asks for the very place one writer "
        "chose; two writers would not reach 1. Overlaps: pairs that cover more than "
        f"{settings['overlap']} of the smaller box although the real ones do not. Violations: relations that do not "
        "hold between the boxes' centres (Right: the object's left of the subject's; Sup, Above: below it; Sub, Below: "
        "above it; Inside: outside the subject's box). Writers violate some too: see the real boxes."
    )
    section.table(
        ["layout", "IoU", "overlaps", "violations"],
        [
            (
                name,
                _shown(_across(s, "iou")),
                _shown(_across(s, "overlap"), True),
                _shown(_across(s, "violations"), True),
            )
            for name, s in scores.items()
        ],
    )
    judged = {name: s for name, s in scores.items() if name != REAL}
    kinds = [kind for kind in KINDS if kind in first.iou_of]
    section.text("IoU by how a symbol hangs on another (first: on none):")
    section.table(
        ["hangs on another", "symbols", *judged],
        [(k, first.symbols_of[k], *(_shown(_across(s, "iou_of", k)) for s in judged.values())) for k in kinds],
    )
    names = [name for name in RELATIONS if name in first.violations_of]
    section.text("Violations by relation:")
    section.table(
        ["relation", "relations", *scores],
        [
            (n, first.relations_of[n], *(_shown(_across(s, "violations_of", n), True) for s in scores.values()))
            for n in names
        ],
    )
    bars = {name: [_across(s, "iou_of", kind) for kind in kinds] for name, s in judged.items()}
    several = len(settings["seeds"]) > 1
    shows = "mean and spread over seeds" if several else f"seed {settings['seeds'][0]}"
    section.figure(grouped_bars(kinds, bars, "mean IoU"), f"IoU by relation, {shows}")
    for graph, boxes in drawn:
        section.picture(picture(graph, boxes), f"{graph.latex or ' '.join(graph.symbols)}: {', '.join(boxes)}")
    return section


def picture(graph: SymbolGraph, boxes: Mapping[str, np.ndarray]) -> Image.Image:
    """The boxes of every source, one page beside the other, each box with its symbol."""
    page = Image.new("RGB", ((_PICTURE + 8) * len(boxes) - 8, _PICTURE), "white")
    draw = ImageDraw.Draw(page)
    for column, of_source in enumerate(boxes.values()):
        left, colour = column * (_PICTURE + 8), _COLOURS[column % len(_COLOURS)]
        draw.rectangle((left, 0, left + _PICTURE - 1, _PICTURE - 1), outline="#cccccc")
        for symbol, box in zip(graph.symbols, np.clip(of_source, 0, 1) * (_PICTURE - 1), strict=True):
            x0, y0, x1, y1 = (float(v) for v in box)
            draw.rectangle((left + x0, y0, left + max(x0, x1), max(y0, y1)), outline=colour)
            draw.text((left + x0 + 2, y0 + 1), symbol, fill=colour)
    return page
