"""The tokens recognisers are trained on."""

from __future__ import annotations

from hmeg.graph.vocabulary import SYMBOL_LABELS

from .sample import Sample

# Every token to_latex can write that is no symbol.
_STRUCTURE = ("\\frac", "\\limits", "\\nolimits", "^", "_", "{", "}")

TOKENS: tuple[str, ...] = tuple(sorted({*SYMBOL_LABELS, *_STRUCTURE}))

# Leave no ink. CAN does not count them, and finds them by their ids: the last four of its dictionary's 111.
LAYOUT_TOKENS = ("^", "_", "{", "}")
CAN_DICTIONARY_SIZE = 111


def can_dictionary() -> tuple[str, ...]:
    """CAN's dictionary: every token at the id that CAN's code takes for granted; a place that is left over is spare."""
    drawn = [token for token in TOKENS if token not in LAYOUT_TOKENS]
    spare = [f"<spare{n}>" for n in range(CAN_DICTIONARY_SIZE - 2 - len(drawn) - len(LAYOUT_TOKENS))]
    return ("eos", "sos", *drawn, *spare, *LAYOUT_TOKENS)


def caption(name: str, sample: Sample) -> str:
    """``name token token ...`` and a line end; ``ValueError`` for a graph that LaTeX cannot write."""
    tokens = sample.tokens
    if tokens is None:
        raise ValueError(f"sample {sample.index} has no LaTeX; recognisers need it: choose folder or webdataset")
    return " ".join([name, *tokens]) + "\n"
