"""What recognition is measured by: expression rates and counting errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .edits import edit_distance
from .recogniser import Reading
from .words import Words


@dataclass(frozen=True)
class Scores:
    """Of a data set.

    expressions   how many
    exprate       share whose tokens are all right · within_1, 2, 3: whose edit distance is at most that
    token_errors  edit distances, added, as a share of the references' tokens
    counting_mae  mean absolute error of the predicted counts over the dictionary, where eos, sos and layout tokens
                  should be 0; mean over expressions
    counting_mse  root of the mean squared error over the dictionary, called MSE as published; mean over expressions
    """

    expressions: int
    exprate: float
    within_1: float
    within_2: float
    within_3: float
    token_errors: float
    counting_mae: float
    counting_mse: float


def score(words: Words, references: Sequence[Sequence[str]], readings: Sequence[Reading]) -> tuple[Scores, list[int]]:
    """Scores of readings beside references of the same order, and each expression's edit distance.

    Tokens are compared as text: a reference with a token that the dictionary lacks cannot be read right.
    ValueError for no expression, or for unequal numbers.
    """
    if not references or len(references) != len(readings):
        raise ValueError(f"{len(references)} references and {len(readings)} readings cannot be compared")
    references = [words.own(reference) for reference in references]
    distances = [edit_distance(r, reading.tokens) for r, reading in zip(references, readings, strict=True)]
    absolute, squared = [], []
    for reference, reading in zip(references, readings, strict=True):
        difference = reading.counts - true_counts(words, reference)
        absolute.append(float(np.abs(difference).mean()))
        squared.append(float(np.sqrt(np.square(difference).mean())))
    limits = np.array(distances)
    scores = Scores(
        expressions=len(distances),
        exprate=float((limits == 0).mean()),
        within_1=float((limits <= 1).mean()),
        within_2=float((limits <= 2).mean()),
        within_3=float((limits <= 3).mean()),
        token_errors=sum(distances) / max(1, sum(len(reference) for reference in references)),
        counting_mae=float(np.mean(absolute)),
        counting_mse=float(np.mean(squared)),
    )
    return scores, distances


def true_counts(words: Words, tokens: Sequence[str]) -> np.ndarray:
    """Occurrences (words,) of each token; 0 for those that are not counted."""
    counts = np.zeros(len(words))
    for token in tokens:
        if token in words.ids:
            counts[words.ids[token]] += 1
    counts[list(words.uncounted)] = 0
    return counts
