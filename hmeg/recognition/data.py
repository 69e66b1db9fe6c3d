"""Labelled images of one or several sources, as one sequence."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from hmeg.image_sets.tokens import LAYOUT_TOKENS

from .sources import Source, open_source
from .words import Words

_SHOWN = 3


class RecognitionData:
    """Images with their tokens.

    names     of the expressions · tokens  of each, as text
    digest    changes when names, tokens or their order do · images_digest  when images do, see :class:`Source`
    notes     what was left out, in sentences for people
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        self._rows = [(source, row) for source in self.sources for row in range(len(source))]
        self.notes = [_note(str(s.path), s.left_out, "without LaTeX") for s in self.sources if s.left_out]
        self._refresh()
        if not self._rows:
            raise ValueError(f"{', '.join(str(s.path) for s in self.sources)}: no labelled image there")
        self.digest = _joined(source.digest for source in self.sources)

    @cached_property
    def images_digest(self) -> str:
        return _joined(source.images_digest for source in self.sources)

    def _refresh(self) -> None:
        self.names = [source.names[row] for source, row in self._rows]
        self.tokens = [source.tokens[row] for source, row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, row: int) -> np.ndarray:
        """(H, W) uint8, dark ink on light paper."""
        source, inner = self._rows[row]
        return source.image(inner)

    def first(self, count: int) -> None:
        """Keeps the first ``count`` expressions only; 0: all."""
        self._rows = self._rows[: count or None]
        self._refresh()

    def leave_out(self, words: Words, longest: int) -> None:
        """Drops what cannot be learned: tokens that are not in the dictionary, more than ``longest`` symbols.

        ValueError, naming the tokens, if nothing is left.
        """
        unknown, long, kept = [], [], []
        for name, tokens, row in zip(self.names, self.tokens, self._rows, strict=True):
            if strange := words.unknown(tokens):
                unknown.append(f"{name}: {' '.join(dict.fromkeys(strange))}")
            elif sum(token not in LAYOUT_TOKENS for token in tokens) > longest:
                long.append(name)
            else:
                kept.append(row)
        first = str(self.sources[0].path) if len(self.sources) == 1 else "the data"
        if unknown:
            self.notes.append(_note(first, unknown, "with tokens that the dictionary lacks"))
        if long:
            self.notes.append(_note(first, long, f"of more than {longest} tokens that leave ink"))
        if not kept:
            raise ValueError(f"no expression is left to learn from: {'; '.join(self.notes)}")
        self._rows = kept
        self._refresh()

    def unknown_tokens(self, words: Words) -> Counter[str]:
        """Tokens that the dictionary lacks, with the number of expressions that have them."""
        return Counter(token for tokens in self.tokens for token in set(words.unknown(tokens)))


def open_data(places: Iterable[str | Path] | str | Path) -> RecognitionData:
    """The labelled images at one or several places; a text may join several by commas.

    ValueError, naming the place, for one that holds none.
    """
    given = [places] if isinstance(places, (str, Path)) else list(places)
    paths = list(itertools.chain.from_iterable(_split(place) for place in given))
    if not paths:
        raise ValueError("no data given")
    return RecognitionData([open_source(path) for path in paths])


def _joined(digests: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _split(place: str | Path) -> list[Path]:
    if isinstance(place, Path) or (place.strip() and Path(place).exists()):
        return [Path(place)]
    return [Path(part.strip()) for part in place.split(",") if part.strip()]


def _note(place: str, what: Sequence[str], why: str) -> str:
    shown = "; ".join(what[:_SHOWN]) + ("; ..." if len(what) > _SHOWN else "")
    return f"{place}: {len(what)} expressions {why} left out ({shown})"
