"""How far one sequence of tokens is from another."""

from __future__ import annotations

from collections.abc import Sequence

Edit = tuple[str, str, str]  # kind (same, replace, insert, delete), token of the reference, token of the prediction


def edit_distance(reference: Sequence[str], prediction: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements of a token that make one of the other (Levenshtein)."""
    return _table(reference, prediction)[-1][-1]


def aligned(reference: Sequence[str], prediction: Sequence[str]) -> list[Edit]:
    """The edits, in reading order, that make the prediction of the reference; as few as :func:`edit_distance` says.

    ``insert`` has no token of the reference (""), ``delete`` none of the prediction.
    """
    table = _table(reference, prediction)
    i, j = len(reference), len(prediction)
    edits: list[Edit] = []
    while i or j:
        here = table[i][j]
        if i and j and here == table[i - 1][j - 1] + (reference[i - 1] != prediction[j - 1]):
            kind = "same" if reference[i - 1] == prediction[j - 1] else "replace"
            edits.append((kind, reference[i - 1], prediction[j - 1]))
            i, j = i - 1, j - 1
        elif i and here == table[i - 1][j] + 1:
            edits.append(("delete", reference[i - 1], ""))
            i -= 1
        else:
            edits.append(("insert", "", prediction[j - 1]))
            j -= 1
    return edits[::-1]


def _table(reference: Sequence[str], prediction: Sequence[str]) -> list[list[int]]:
    """Distances of all beginnings of one to all beginnings of the other."""
    rows = [list(range(len(prediction) + 1))]
    for i, wanted in enumerate(reference, 1):
        above, row = rows[-1], [i]
        for j, got in enumerate(prediction, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (wanted != got)))
        rows.append(row)
    return rows
