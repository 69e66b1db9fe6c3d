"""Which samples of a run its contact sheet shows, and where they wait until it is drawn."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from PIL import Image

from hmeg.files import JsonLines, write_whole
from hmeg.image_sets.contact_sheet import Card, write_contact_sheet
from hmeg.image_sets.sample import Sample

from .run_files import CARDS, CONTACT_SHEET

MOST_SHOWN = 64


def step(samples: int) -> int:
    """One of how many is shown, of that many samples: the smallest power of two that makes it at most 64.

    When the step doubles, every second of those shown stays; so nobody has to know how many samples will come.
    """
    return 1 << max(0, (samples - 1).bit_length() - 6)


def is_shown(number: int) -> bool:
    """Whether the sample of this number, from 0 among those drawn, is shown until the step doubles."""
    return number % step(number + 1) == 0


class Overview:
    """The contact sheet of a run's folder: every :func:`step`-th of the samples drawn so far.

    folder   of the run
    samples  in its finished shards; what is there of later ones is forgotten

    Cards of finished shards wait in a file of their own, so that a run which is stopped and gone on with ends with the
    same page: at most 64, and 32 more whenever the samples have doubled. Drawing the page takes as long as encoding
    many an image, so while the run goes on that is done only when the samples have doubled.

    ``ValueError``, naming the file, if the cards in it cannot be read.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        self._sheet = folder / CONTACT_SHEET
        self._path = folder / CARDS
        self._cards: list[Card] = []
        self._file: JsonLines | None = None
        self._bytes = 0  # of the file that are kept
        self._read(samples)
        self._count = self._committed = samples
        self._on_sheet = 0

    def add(self, sample: Sample) -> None:
        """The next sample of the run, with its pixels if :func:`is_shown` says so."""
        if is_shown(self._count):
            self._cards.append(Card.of(self._count, sample))
        self._count += 1
        every = step(self._count)
        if every != step(self._count - 1):
            self._cards = [card for card in self._cards if card.number % every == 0]

    def commit(self) -> None:
        """The shard that the latest samples are of is finished. ``OSError`` when the disk says no."""
        new = [card for card in self._cards if card.number >= self._committed]
        if new and self._file is None:
            self._file = JsonLines(self._path, self._bytes)
        for card in new:
            assert self._file is not None
            self._file.append(_in_words(card))
        self._committed = self._count
        if self._count >= 2 * self._on_sheet:
            self.write()

    def drop(self) -> None:
        """Forget the samples of the shard that is not finished."""
        self._cards = [card for card in self._cards if card.number < self._committed]
        self._count = self._committed

    def write(self) -> None:
        """Write the page, unless it shows the samples already or there is none. ``OSError`` when the disk says no."""
        if self._cards and self._count != self._on_sheet:
            write_whole(self._sheet, write_contact_sheet(self._cards))
            self._on_sheet = self._count

    def close(self) -> None:
        """Let go of the file of cards."""
        if self._file is not None:
            self._file.close()

    def forget(self) -> None:
        """Remove the file of cards: the run is finished, the page written."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _read(self, samples: int) -> None:
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return
        every = step(samples)
        for line in lines:
            if not line.endswith(b"\n"):  # of a process that was killed
                break
            try:
                card = _card(line)
            except (ValueError, KeyError, TypeError, OSError) as error:
                raise ValueError(f"{self._path} is damaged ({error}); remove it: it is for the contact sheet") from None
            if card.number >= samples:
                break
            self._bytes += len(line)
            if card.number % every == 0:
                self._cards.append(card)


def _in_words(card: Card) -> dict[str, str | int]:
    encoded = io.BytesIO()
    card.picture.save(encoded, format="PNG", compress_level=1)
    picture = base64.b64encode(encoded.getvalue()).decode("ascii")
    return {"number": card.number, "caption": card.caption, "picture": picture}


def _card(line: bytes) -> Card:
    told = json.loads(line)
    with Image.open(io.BytesIO(base64.b64decode(told["picture"]))) as picture:
        picture.load()
        return Card(int(told["number"]), str(told["caption"]), picture.copy())
