"""Which real image belongs to which generated one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from hmeg.image_sets import ImageSet


@dataclass(frozen=True)
class Pairs:
    """Rows of images that show the same expression: (real, generated), each row at most once.

    rule  how they were found, or why there are none
    """

    rows: list[tuple[int, int]]
    rule: str


def pair(real: ImageSet, generated: ImageSet) -> Pairs:
    """Pairs of equal names (without suffix), where names are common to both sets; else of equal labels.

    Names count only if no pair of theirs contradicts its labels: two runs both begin with 000000, whatever that shows.
    Of images with the same label, the first real one goes with the first generated one, and so on.
    """
    stems = [[PurePosixPath(name).stem for name in images.names] for images in (real, generated)]
    by_name = {stem: row for row, stem in enumerate(stems[1])}
    unique = all(len(set(of_set)) == len(of_set) for of_set in stems)  # folders may hold the same names
    named = [(row, by_name[stem]) for row, stem in enumerate(stems[0]) if stem in by_name] if unique else []
    labels = real.labels, generated.labels
    if named and all(labels[0][r] == labels[1][g] or None in (labels[0][r], labels[1][g]) for r, g in named):
        return Pairs(named, "images of the same name")
    waiting = defaultdict(list)
    for row, label in enumerate(labels[1]):
        if label is not None:
            waiting[label].append(row)
    labelled = [(row, waiting[label].pop(0)) for row, label in enumerate(labels[0]) if label and waiting[label]]
    if labelled:
        return Pairs(labelled, "images of the same expression, in order")
    if not any(labels[0]) or not any(labels[1]):
        return Pairs([], "the sets have no names in common, and no labels on both sides")
    return Pairs([], "no expression is in both sets")
