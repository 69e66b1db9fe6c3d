"""What :func:`hmeg.evaluation.image_metrics.measure_images` found, as a section of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from PIL import Image

from .image_metrics import ImageMeasures, Measure
from .plots import lines_of_points
from .sections import Section

_INK, _AROUND = 160, 6  # darker is ink; rows of paper left around it
_READING = (
    "Distances are 0 for equal sets and grow with difference; they are compared with the same distance between two "
    "random halves of the real images (of half as many images, which alone makes them larger). Numbers of different "
    "features have different scales and cannot be compared with each other, nor with those of papers that used other "
    "features. FID, KID and Inception Score are only called so where Inception's own weights were used."
)


def image_section(
    found: ImageMeasures,
    shown: Sequence[tuple[np.ndarray, np.ndarray, str]],
    name: str,
    inputs: Sequence[str],
    command: str,
) -> Section:
    """The section ``images NAME``; a later one of the same name replaces it. inputs: where both sets are."""
    section = Section(f"images {name}", f"Images: {name}", {"inputs": list(inputs), **asdict(found)}, command)
    section.text(f"Real: {found.real}. Generated: {found.generated}.")
    size, seed = found.settings["size"], found.settings["seed"]
    section.text(
        f"{found.real_count} real and {found.generated_count} generated images, brought to {size} x {size} pixels "
        f"(scaled to fit, the rest paper), seed {seed}. {found.pairs} pairs: {found.pair_rule}."
    )
    section.text(_READING)
    section.table(
        ["measure", "of", "value", "spread", "two halves of real", "reading", "from"],
        [
            (m.name, m.features, m.value, m.spread, m.floor, m.better, m.samples)
            for m in found.measures
            if m.left_out is None
        ],
    )
    missing: dict[tuple[str, str], list[str]] = {}
    for m in found.measures:
        if m.left_out is not None:
            missing.setdefault((m.features, m.left_out), []).append(m.name)
    if missing:
        section.text("Not measured:")
        section.table(["measure", "of", "why"], [(", ".join(names), of, why) for (of, why), names in missing.items()])
    section.figure(_levels(found.measures), "Sliced Wasserstein distance by the resolution of the pyramid's level")
    section.text("Above the real image, below it the generated one:")
    section.gallery([(_stacked(*pictures), label or "not the same expression") for *pictures, label in shown])
    return section


def _levels(measures: Sequence[Measure]) -> str:
    levels = [
        (int(m.features.rsplit(" ", 1)[-1]), m.value, m.floor)
        for m in measures
        if m.name.startswith("Sliced") and m.features[-1].isdigit() and m.value is not None and m.floor is not None
    ]
    series = {"generated": [value for _, value, _ in levels], "two halves of real": [floor for *_, floor in levels]}
    return lines_of_points([side for side, *_ in levels], series, "pixels a side", "distance x 1000")


def _stacked(real: np.ndarray, generated: np.ndarray) -> Image.Image:
    """The real image above the generated one, a line between, without the empty rows around the ink."""
    parts = []
    for pixels in (real, generated):
        written = np.flatnonzero((pixels < _INK).any(axis=1))
        first, last = (written[0], written[-1]) if len(written) else (0, len(pixels) - 1)
        parts.append(pixels[max(0, first - _AROUND) : last + 1 + _AROUND])
    line = np.full((1, real.shape[1]), 128, dtype=np.uint8)
    return Image.fromarray(np.concatenate([parts[0], line, parts[1]]))
