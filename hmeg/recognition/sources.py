"""Labelled images for recognisers: what :func:`hmeg.image_sets.open_images` finds, with its tokens."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from hmeg.image_sets import ImageSet, NoLatex, open_images


class Source:
    """The images of a set that have tokens.

    names     of the expressions, as messages and reports show them
    tokens    of each expression, as the file has them; of prepared data sets, as the graph is written
    left_out  expressions that have no LaTeX: text for people
    digest    changes when one of these does, and when a prepared data set is made otherwise
    images_digest  changes when an image does. Worked out when first asked for: every image is read, none decoded
    ``ValueError``, naming it, for an image without a label.
    """

    def __init__(self, images: ImageSet) -> None:
        self.path, self._images = images.source, images
        self.names: list[str] = []
        self.tokens: list[tuple[str, ...]] = []
        self.left_out: list[str] = []
        self._rows: list[int] = []
        digest = hashlib.sha256(images.settings)
        for row, entry in enumerate(images.entries):
            try:
                tokens = entry.known.tokens()
            except NoLatex as reason:
                self.left_out.append(f"{entry.name}: {reason}")
                continue
            digest.update(json.dumps([entry.name, tokens]).encode())
            self.names.append(entry.name)
            self.tokens.append(tokens)
            self._rows.append(row)
        self.digest = digest.hexdigest()

    @cached_property
    def images_digest(self) -> str:
        digest = hashlib.sha256()
        for row in self._rows:
            digest.update(hashlib.sha256(self._images.entries[row].stored()).digest())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def image(self, row: int) -> np.ndarray:
        """(H, W) uint8, dark ink on light paper. ValueError, naming the image, for one that cannot be read."""
        return self._images[self._rows[row]]


def open_source(path: Path) -> Source:
    """The labelled images at ``path``; ValueError, naming the place, where there are none."""
    return Source(open_images(path))
