"""Names of symbols in running text: characters, entity names and LaTeX spellings -> names of the vocabulary."""

from __future__ import annotations

from hmeg.quoting import quoted

from .vocabulary import Vocabulary

# What looks like several symbols is several symbols.
SEVERAL: dict[str, tuple[str, ...]] = {
    "\u2033": (r"\prime",) * 2,
    "\u2034": (r"\prime",) * 3,
    "\u2057": (r"\prime",) * 4,
    "\u2016": ("|", "|"),
    "\u2225": ("|", "|"),
    r"\|": ("|", "|"),
    r"\Vert": ("|", "|"),
    r"\lVert": ("|", "|"),
    r"\rVert": ("|", "|"),
    r"\parallel": ("|", "|"),
    "\u222c": (r"\int",) * 2,
    r"\iint": (r"\int",) * 2,
    "\u222d": (r"\int",) * 3,
    r"\iiint": (r"\int",) * 3,
    "\u2236": (":",),
    r"\coloneqq": (":", "="),
    "\u2254": (":", "="),
    r"\lll": (r"\lt",) * 3,
    r"\ggg": (r"\gt",) * 3,
}

# Function application, invisible times/separator/plus, zero-width characters: they put nothing on paper.
INVISIBLE_CHARACTERS = frozenset("\u2061\u2062\u2063\u2064\u200b\u200c\u200d\ufeff\u00ad\u2060")


def label_of_name(name: str) -> str | None:
    """Name of one symbol by any of its spellings (character, entity, LaTeX), or None when it has none."""
    return Vocabulary.open().spelled(name)


def labels_of_text(text: str, names: bool = True) -> list[str]:
    """Symbols for the text of one token: a symbol by its name, or else one symbol a character, spaces left out.

    names  whether a word may be a symbol's name (``in`` for the sign) or is always letters, as in running text
    Raises ValueError naming the first character that is no symbol.
    """
    text = "".join(c for c in text if not c.isspace() and c not in INVISIBLE_CHARACTERS)
    whole = label_of_name(text) if names or len(text) == 1 else None
    if whole is not None:
        return [whole]
    if text in SEVERAL:
        return list(SEVERAL[text])
    if text.startswith("\\") and len(text) > 1:
        raise ValueError(unknown(text))
    labels: list[str] = []
    for character in text:
        label = label_of_name(character)
        if label is not None:
            labels.append(label)
        elif character in SEVERAL:
            labels.extend(SEVERAL[character])
        else:
            raise ValueError(unknown(character))
    return labels


def unknown(piece: str) -> str:
    """What is said of a piece that is no symbol."""
    return f"symbol {quoted(piece, 40)} is not one of the {len(Vocabulary.open())} known symbols"
