"""What a recogniser read, as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from hmeg.recognition.checkpoint import BEST, LAST

from .sections import Section

_RATES = {"exprate": "ExpRate", "within_1": "≤ 1 error", "within_2": "≤ 2 errors", "within_3": "≤ 3 errors"}

_LONGEST_NAME = 80  # of one that nobody chose


def recognition_section(found: Mapping[str, Any], name: str, command: str) -> Section:
    """The section ``recognition NAME``; a later one of the same name replaces it.

    found  what :func:`hmeg.recognition.evaluate_recognition` returned, and: limit (0: all images were read), file
           (which was read, of a run's folder)
    """
    section = Section(f"recognition {name}", f"Recognition: {name}", found, command)
    limit = f" (the first ones: --limit {found['limit']})" if found["limit"] else ""
    section.text(
        f"{found['expressions']:,} images of {', '.join(found['data'])}{limit}, read by {found['file']}: "
        f"{found['images_per_second']:.1f} images/s on {found['device']}, {found['precision']}, files read included."
    )
    for sentence in notes(found):
        section.text(sentence)
    rows: list[tuple[str, str]] = [(text, f"{found[key]:.2%}") for key, text in _RATES.items()]
    rows += [
        ("tokens off", f"{found['token_errors']:.2%}"),
        ("counting, mean absolute error", f"{found['counting_mae']:.4f}"),
        ("counting, MSE (root)", f"{found['counting_mse']:.4f}"),
    ]
    section.table(["measure", "value"], rows)
    section.bars("Expressions read with at most so many errors, %", {t: 100 * found[k] for k, t in _RATES.items()})
    return section


def notes(found: Mapping[str, Any]) -> list[str]:
    """Sentences beside the scores: how the weights were chosen, which labels cannot be read, what was left out."""
    sentences = []
    if PurePath(found["file"]).name == BEST:
        sentences.append(
            f"{BEST} holds the weights that had the highest ExpRate on the validation images of their run: on these "
            f"very images the scores are too good. To compare runs, give their {LAST}."
        )
    if found["unknown_tokens"]:
        tokens = ", ".join(f"{token} ({count})" for token, count in found["unknown_tokens"].items())
        sentences.append(f"Labels with tokens that the dictionary lacks, never read right: {tokens}.")
    return [*sentences, *found["left_out"]]


def default_name(checkpoint: Path, data: Sequence[str]) -> str:
    """``can on validation``: the folder of a run, or file and folder of a checkpoint, and the names of the data."""
    checkpoint = checkpoint.resolve()
    run = checkpoint.name if checkpoint.is_dir() else f"{checkpoint.parent.name} {checkpoint.name}"
    places = [Path(place).resolve().name for several in data for place in several.split(",") if place]
    return f"{run} on {' + '.join(places)}".replace(":", "_")[:_LONGEST_NAME]
