"""The augmentation study as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .plots import grouped_bars
from .sections import Section
from .seeds import mean_and_spread
from .study import AUGMENTED, REAL

_RATES = {"exprate": "ExpRate", "within_1": "≤ 1 error", "within_2": "≤ 2 errors", "within_3": "≤ 3 errors"}
_MEASURES = {
    **_RATES,
    "token_errors": "tokens off",
    "counting_mae": "counting MAE",
    "counting_mse": "counting MSE (root)",
}
_PERCENT = {*_RATES, "token_errors"}
_BETTER_LOWER = {"token_errors", "counting_mae", "counting_mse"}


def summary(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Of every measure: mean and spread over seeds of both arms, and of the differences of runs of one seed.

    Spreads are sample standard deviations (0 for a single seed).
    """
    found: dict[str, dict[str, float]] = {}
    for measure in _MEASURES:
        real, augmented = (np.array([run[measure] for run in results[arm]], dtype=float) for arm in (REAL, AUGMENTED))
        of = {"real": real, "augmented": augmented, "difference": augmented - real}
        found[measure] = {}
        for name, values in of.items():
            found[measure][name], found[measure][f"{name}_spread"] = mean_and_spread(values)
    return found


def _shown(measure: str, mean: float, spread: float, sign: bool = False) -> str:
    factor, unit = (100, " %") if measure in _PERCENT else (1, "")
    text = f"{factor * mean:{'+' if sign else ''}.2f}"
    return text + (f" ± {factor * spread:.2f}" if spread else "") + unit


def study_section(
    results: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, Any], command: str
) -> Section:
    """The section ``study``: settings (texts and numbers) and results go to metrics.json as they are."""
    found = summary(results)
    section = Section(
        "study", "Augmentation study", {"command": command, **settings, "summary": found, "runs": results}
    )
    real, augmented = results[REAL], results[AUGMENTED]
    section.text(
        f"A CAN trained on {real[0]['training_images']:,} real images beside one trained on them and on generated "
        f"ones, {augmented[0]['training_images']:,} together: size {settings['size']}, {settings['steps']:,} steps of "
        f"{settings['batch_size']} images, seeds {', '.join(str(run['seed']) for run in real)}. Both read the same "
        f"{real[0]['expressions']:,} validation images. ± is the standard deviation over seeds; the difference is "
        "taken between runs of one seed."
    )
    if len(real) < 3:
        section.text("Fewer than three seeds: the spread says little, and so does a difference.")
    section.table(
        ["measure", "better", REAL, AUGMENTED, "difference"],
        [
            (
                text,
                "lower" if measure in _BETTER_LOWER else "higher",
                _shown(measure, found[measure]["real"], found[measure]["real_spread"]),
                _shown(measure, found[measure]["augmented"], found[measure]["augmented_spread"]),
                _shown(measure, found[measure]["difference"], found[measure]["difference_spread"], sign=True),
            )
            for measure, text in _MEASURES.items()
        ],
    )
    bars = {
        arm: [(100 * found[m][key], 100 * found[m][f"{key}_spread"]) for m in _RATES]
        for arm, key in ((REAL, "real"), (AUGMENTED, "augmented"))
    }
    section.figure(grouped_bars(list(_RATES.values()), bars, "% of expressions"), "Expression rates, spread over seeds")
    section.text("Every run:")
    section.table(
        ["learned from", "seed", *(_MEASURES[m] for m in _MEASURES)],
        [
            (arm, run["seed"], *(_shown(m, run[m], 0) for m in _MEASURES))
            for arm in (REAL, AUGMENTED)
            for run in results[arm]
        ],
    )
    section.text(f"Command: {command}.")
    return section
