"""A checkpoint on a data set: scores, and what it got wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checkpoint import load
from .data import open_data
from .scores import score
from .worst import write_worst


def evaluate_recognition(
    checkpoint: str | Path,
    data: str | Path | Iterable[str | Path],
    device: str = "auto",
    batch_size: int | None = None,
    precision: str = "float32",
    words: str | Path | None = None,
    limit: int = 0,
    worst: str | Path | None = None,
    worst_count: int = 50,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Reads every image of ``data`` and compares with its label.

    checkpoint  file or run folder, see :func:`hmeg.recognition.load`; ``words`` is its dictionary if it holds none
    data        one or several places, see :func:`hmeg.recognition.data.open_data`
    batch_size  images at once; None: what suits the device; 1: one at a time
    limit       the first expressions only; 0: all
    worst       folder for worst.jsonl and worst.png: the ``worst_count`` expressions that were read worst, if any
    progress    called with images done and images in all
    Returns, ready for JSON, the fields of :class:`hmeg.recognition.scores.Scores` and: checkpoint, data (texts),
    device, precision, batch_size, seconds, images_per_second (files read included), unknown_tokens (token -> number of
    expressions whose label has it and which cannot be read right for that), left_out (sentences on what was not used).
    ValueError, in one line, for what cannot be read.
    """
    recogniser = load(checkpoint, device, words, precision)
    if isinstance(data, (str, Path)):
        data = [data]
    places = [str(place) for place in data]
    found = open_data(places)
    found.first(limit)
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, len(found))

    begin = time.perf_counter()
    readings = recogniser.recognise((found.image(row) for row in range(len(found))), batch_size, progress=count)
    seconds = time.perf_counter() - begin
    scores, distances = score(recogniser.words, found.tokens, readings)
    if worst is not None:
        write_worst(Path(worst), found, readings, distances, worst_count)
    return {
        **asdict(scores),
        "checkpoint": str(checkpoint),
        "data": places,
        "device": str(recogniser.device),
        "precision": recogniser.precision,
        "batch_size": batch_size,
        "seconds": round(seconds, 3),
        "images_per_second": round(len(found) / seconds, 3),
        "unknown_tokens": dict(found.unknown_tokens(recogniser.words)),
        "left_out": found.notes,
    }
