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


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _first(limit: int) -> str:
    return " (the first ones: --limit)" if limit else ""


def _prepared(settings: Mapping[str, Any]) -> str:
    """What is done to images before they are learned or read, in a sentence."""
    trim, shrink = settings["trim"], settings["shrink"]
    done = [f"cut to the ink and {trim} pixels around it (trim {trim})"] if trim >= 0 else []
    done += [f"made smaller {shrink} times a side (shrink {shrink})"] if shrink > 1 else []
    return f"Images are {' and '.join(done) or 'taken as they are, neither trimmed nor shrunk'}."


def study_section(
    results: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, Any], command: str
) -> Section:
    """The section ``study``: settings and results go to metrics.json as they are.

    settings  size, steps, batch_size, seeds, limit; trim and shrink of :class:`hmeg.recognition.Preparation`
    """
    found = summary(results)
    section = Section("study", "Augmentation study", {**settings, "summary": found, "runs": results}, command)
    real, augmented = results[REAL], results[AUGMENTED]
    section.text(
        f"A CAN trained on {real[0]['training_images']:,} real images beside one trained on them and on generated "
        f"ones, {augmented[0]['training_images']:,} together: size {settings['size']}, {settings['steps']:,} steps of "
        f"{settings['batch_size']} images, {_seeds([run['seed'] for run in real])}. {_prepared(settings)} Both read "
        f"the same {real[0]['expressions']:,} validation images{_first(settings['limit'])}. The difference is taken "
        f"between runs of one seed{'; ± is the standard deviation over seeds' if len(real) > 1 else ''}."
    )
    if len(real) == 1:
        section.text("One seed: its spread is not known, and a difference says little.")
    elif len(real) < 3:
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
    shows = "mean and spread over seeds" if len(real) > 1 else f"seed {real[0]['seed']}"
    section.figure(grouped_bars(list(_RATES.values()), bars, "% of expressions"), f"Expression rates, {shows}")
    section.text("Every run:")
    section.table(
        ["learned from", "seed", *(_MEASURES[m] for m in _MEASURES)],
        [
            (arm, run["seed"], *(_shown(m, run[m], 0) for m in _MEASURES))
            for arm in (REAL, AUGMENTED)
            for run in results[arm]
        ],
    )
    return section
