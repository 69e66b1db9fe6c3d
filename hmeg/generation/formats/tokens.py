"""The tokens recognisers are trained on."""

from __future__ import annotations

from hmeg.graph.vocabulary import SYMBOL_LABELS

from ..sample import Sample

# Every token to_latex can write that is no symbol.
_STRUCTURE = ("\\frac", "\\limits", "\\nolimits", "^", "_", "{", "}")

TOKENS: tuple[str, ...] = tuple(sorted({*SYMBOL_LABELS, *_STRUCTURE}))


def caption(name: str, sample: Sample) -> str:
    """``name token token ...`` and a line end; ``ValueError`` for a graph that LaTeX cannot write."""
    tokens = sample.tokens
    if tokens is None:
        raise ValueError(f"sample {sample.index} has no LaTeX; recognisers need it: choose folder or webdataset")
    return " ".join([name, *tokens]) + "\n"
