"""A set of images, and what is known about each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from hmeg.graph import SymbolGraph
from hmeg.quoting import quoted

from .labels import Label

_SAMPLED_FOR_POLARITY = 16
_DARK, _LIGHT = 85, 170  # mean grey of images whose paper is beyond doubt: not even a third of them is ink


class Entry:
    """One image of a set, not read yet.

    name    unique in its set
    read    gives the image as it is stored: (H, W) uint8; ``ValueError``, naming it, if it cannot be read
    known   what is said about it
    stored  gives the bytes that hold the image: they tell whether it is still the same, without decoding; errors as of
            ``read``

    ``label`` and ``graph`` are worked out when first asked for: ``ValueError``, naming the place, if what is said makes
    no sense.
    """

    def __init__(self, name: str, read: Callable[[], np.ndarray], known: Label, stored: Callable[[], bytes]) -> None:
        self.name, self.read, self.known, self.stored = name, read, known, stored

    @cached_property
    def label(self) -> str | None:
        """The expression as LaTeX tokens (:func:`canonical_label`), None where nobody says."""
        return self.known.canonical()

    @cached_property
    def graph(self) -> SymbolGraph | None:
        """The expression with boxes in [0, 1] of the image, where they are known."""
        return self.known.graph()


class ImageSet(Sequence[np.ndarray]):
    """Images by number, each (H, W) uint8, dark ink on light paper; read when asked for.

    source    where they are
    kind      what was found there, in words
    inverted  whether they are stored as light ink on dark paper (and are turned round on reading). None: nobody says,
              and each image is judged by its own looks: a dark one is turned round; one that is neither dark nor
              light, such as a bar cut out closely, goes with most of the set
    settings  how all of them were made, as a file says it; empty where none does
    ``ValueError`` for no images, and for two of one name.
    """

    def __init__(
        self, source: Path, kind: str, entries: Sequence[Entry], inverted: bool | None = None, settings: bytes = b""
    ) -> None:
        if not entries:
            raise ValueError(f"{source}: {kind} without a single image")
        twice = [name for name, count in Counter(entry.name for entry in entries).items() if count > 1]
        if twice:
            raise ValueError(f"{source}: two images are called {quoted(twice[0])}")
        self.source, self.kind, self.settings = source, kind, settings
        self.entries = list(entries)
        self.by_looks = inverted is None
        self.inverted = _dark_paper(self.entries) if inverted is None else inverted
        self._turned: set[str] = set()  # names of those read so far

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # one image at a time
        entry = self.entries[index]
        pixels = entry.read()
        if not (self._looks_dark(pixels) if self.by_looks else self.inverted):
            return pixels
        self._turned.add(entry.name)
        return 255 - pixels

    def _looks_dark(self, pixels: np.ndarray) -> bool:
        grey = pixels.mean()
        return self.inverted if _DARK <= grey <= _LIGHT else bool(grey < _DARK)

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]

    @property
    def labels(self) -> list[str | None]:
        return [entry.label for entry in self.entries]

    def part(self, rows: Sequence[int]) -> ImageSet:
        """The images of those rows, as a set."""
        part = ImageSet(self.source, self.kind, [self.entries[row] for row in rows], self.inverted, self.settings)
        part.by_looks = self.by_looks
        return part

    def described(self) -> str:
        """``CAN pickle, 985 images, 985 labelled``; how many were turned round is known once they have been read."""
        labelled = sum(label is not None for label in self.labels)
        turned = "" if not self.by_looks or len(self._turned) == len(self) else f"{len(self._turned)} of them "
        dark = bool(self._turned) if self.by_looks else self.inverted
        light = f", {turned}light ink on dark paper turned round" if dark else ""
        return f"{self.kind}, {len(self)} images, {labelled} labelled{light}"


def _dark_paper(entries: Sequence[Entry]) -> bool:
    """Paper outweighs ink by far: images that are dark on the whole have dark paper. Looks at 16 of them."""
    step = max(1, len(entries) // _SAMPLED_FOR_POLARITY)
    return bool(np.median([entry.read().mean() for entry in entries[::step]]) < 127.5)
