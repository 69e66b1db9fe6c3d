"""The dictionary of a recogniser: tokens and their ids. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hmeg.image_sets.tokens import LAYOUT_TOKENS, OFFICIAL, can_dictionary
from hmeg.quoting import quoted

from .config import PUBLISHED_WORDS

EOS, SOS = "eos", "sos"
_PUBLISHED_LAYOUT_IDS = (107, 108, 109, 110)
_LARGEST = 100_000


class Words:
    """Tokens in the order of their ids; ``eos`` is 0, ``sos`` is 1.

    uncounted  ids that counting leaves out: eos, sos and ``^ _ { }``. A dictionary of 111 words that has no such tokens
               is taken for one of the published kind, where they are 107 to 110
    ValueError for words that are no such dictionary.
    """

    def __init__(self, words: Sequence[str], source: str = "the dictionary") -> None:
        self.words = tuple(words)
        self.ids = {word: number for number, word in enumerate(self.words)}
        if self.words[:2] != (EOS, SOS):
            raise ValueError(f"{source}: the first two words must be {EOS} and {SOS}, got {list(self.words[:2])}")
        if len(self.words) < 3 or len(self.words) > _LARGEST:
            raise ValueError(f"{source} has {len(self.words)} words; wanted are 3 to {_LARGEST}")
        if len(self.ids) < len(self.words):
            twice = next(word for number, word in enumerate(self.words) if self.ids[word] != number)
            raise ValueError(f"{source} has the word {quoted(twice)} twice")
        layout = tuple(self.ids[word] for word in LAYOUT_TOKENS if word in self.ids)
        if not layout and len(self.words) == PUBLISHED_WORDS:
            layout = _PUBLISHED_LAYOUT_IDS
        self.uncounted = (0, 1, *layout)
        both = [pair for graphs, captions in OFFICIAL.items() for pair in ((graphs, captions), (captions, graphs))]
        self._own = {
            one: other for one, other in both if one and one not in self.ids and (not other or other in self.ids)
        }

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def own(self, tokens: Sequence[str]) -> list[str]:
        """Tokens as this dictionary spells them: of two spellings of one symbol (``<`` and ``\\lt``) the one it has."""
        return [spelled for token in tokens if (spelled := self._own.get(token, token))]

    def unknown(self, tokens: Sequence[str]) -> list[str]:
        """The tokens that are not in the dictionary (eos and sos are no tokens of an expression)."""
        return [token for token in self.own(tokens) if self.ids.get(token, 0) < 2]

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Ids of known tokens, eos at the end."""
        return [*(self.ids[token] for token in self.own(tokens)), 0]

    def decode(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Tokens of ids."""
        return tuple(self.words[number] for number in ids)


def default_words() -> Words:
    """111 words: those of the official captions, the dictionary that ``hmeg generate --format can`` writes."""
    return Words(can_dictionary())


def read_words(path: Path) -> Words:
    """A dictionary file: one word a line, the line's number is the id. ValueError for a file that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no dictionary: not UTF-8 text") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return Words([line.strip() for line in lines], str(path))
