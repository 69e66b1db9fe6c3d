"""The tokens recognisers are trained on."""

from __future__ import annotations

from collections.abc import Iterable

from hmeg.graph import SymbolGraph
from hmeg.graph.baselines import baseline_from, to_latex
from hmeg.graph.vocabulary import SYMBOL_LABELS

from .sample import Sample

# Where the official CROHME captions, which CAN, CoMER, TAMER and ICAL share, spell a symbol otherwise than graphs do.
# "" leaves no token: these dictionaries have no \\nolimits, and their \\sum has its limits where it may.
OFFICIAL = {r"\lt": "<", r"\gt": ">", r"\nolimits": ""}
# Tokens of theirs that our graphs never need: \\cdot is written as a point, \\cdots as \\ldots.
_THEIRS = (r"\cdot", r"\cdots")
_STRUCTURE = (r"\frac", r"\limits", "^", "_", "{", "}")

# All tokens of the official captions: 109.
TOKENS: tuple[str, ...] = tuple(
    sorted({*(OFFICIAL.get(label, label) for label in SYMBOL_LABELS), *_THEIRS, *_STRUCTURE})
)

# Leave no ink. CAN does not count them, and finds them by their ids: the last four of its dictionary's 111.
LAYOUT_TOKENS = ("^", "_", "{", "}")


def can_dictionary() -> tuple[str, ...]:
    """CAN's dictionary of 111: every token of the official captions; those without ink where CAN's code wants them."""
    return ("eos", "sos", *(token for token in TOKENS if token not in LAYOUT_TOKENS), *LAYOUT_TOKENS)


def official(tokens: Iterable[str]) -> list[str]:
    """Tokens of a graph as the official captions spell them."""
    return [spelled for token in tokens if (spelled := OFFICIAL.get(token, token))]


def check_caption(graph: SymbolGraph) -> None:
    """``ValueError`` for a graph that no caption can be written of: the message says why, and the way out."""
    try:
        missing = set(official(to_latex(baseline_from(graph)).split())) - set(TOKENS)
    except ValueError as error:
        raise ValueError(f"it has no LaTeX ({error}), which recognisers need; choose another format") from None
    if missing:
        raise ValueError(f"recognisers' dictionaries have no token {' '.join(sorted(missing))}; choose another format")


def caption(name: str, sample: Sample) -> str:
    """``name token token ...`` and a line end; ``ValueError`` as for :func:`check_caption`."""
    check_caption(sample.graph)
    return " ".join([name, *official(sample.tokens or ())]) + "\n"
