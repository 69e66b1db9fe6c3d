"""What a recogniser read, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .sections import Section

_RATES = {"exprate": "ExpRate", "within_1": "≤ 1 error", "within_2": "≤ 2 errors", "within_3": "≤ 3 errors"}


def recognition_section(found: Mapping[str, Any], name: str) -> Section:
    """The section ``recognition NAME`` of what :func:`hmeg.evaluation.can.evaluate_recognition` returned."""
    section = Section(f"recognition {name}", f"Recognition: {name}", dict(found))
    section.text(
        f"{found['expressions']:,} images of {', '.join(found['data'])}, read by {found['checkpoint']}: "
        f"{found['images_per_second']:.1f} images/s on {found['device']}, {found['precision']}, files read included."
    )
    rows: list[tuple[str, str]] = [(text, f"{found[key]:.2%}") for key, text in _RATES.items()]
    rows += [
        ("tokens off", f"{found['token_errors']:.2%}"),
        ("counting, mean absolute error", f"{found['counting_mae']:.4f}"),
        ("counting, MSE (root)", f"{found['counting_mse']:.4f}"),
    ]
    section.table(["measure", "value"], rows)
    section.bars("Expressions read with at most so many errors, %", {t: 100 * found[k] for k, t in _RATES.items()})
    for sentence in found["left_out"]:
        section.text(sentence)
    return section
