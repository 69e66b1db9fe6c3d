"""LaTeX -> symbol graph, and by way of it -> Presentation MathML."""

from __future__ import annotations

from .baselines import baseline_from, graph_of, is_limit_operator, to_latex
from .latex_source import read_latex
from .latex_tokens import LatexError
from .symbol_graph import SymbolGraph
from .vocabulary import Vocabulary

__all__ = ["LatexError", "latex_to_mathml", "parse_latex"]


def parse_latex(text: str, display: bool | None = None, known: Vocabulary | None = None) -> SymbolGraph:
    r"""Symbol graph of a LaTeX expression, in CROHME's conventions; ``latex`` of the graph is ``text`` as it came.

    text     one expression, with or without ``$``; spaces, sizes and fonts are ignored, synonyms (``\le``, ``\to``)
             become symbols of the vocabulary
    display  whether ``\sum`` and ``\lim`` take scripts below and above or to the right; None: to the right between
             ``$ $`` and ``\( \)``, as TeX sets them, below and above otherwise. ``\limits``, ``\nolimits``,
             ``\displaystyle`` and ``\textstyle`` in the source come first.
    known    the vocabulary; None: :meth:`hmeg.graph.vocabulary.Vocabulary.open`. Further symbols than its are signs
             that stand on a row like letters, whatever their kind
    Whatever is read is written again by :func:`hmeg.graph.baselines.to_latex`, as LaTeX of the same graph.
    Raises LatexError (a ValueError) with ``piece`` and ``position`` for anything a symbol graph cannot hold: symbols
    outside the vocabulary, unknown macros, unbalanced braces, missing arguments, empty input, more than 256 symbols,
    several formulas or words around one.
    """
    return graph_of(read_latex(text, display, known), text)


def latex_to_mathml(text: str, display: bool | None = None) -> str:
    """Presentation MathML of an expression, as text; arguments and errors as for ``parse_latex``.

    ``ValueError`` for what latex2mathml cannot convert.
    """
    from latex2mathml import exceptions
    from latex2mathml.converter import convert

    tokens: list[str] = []
    for token in to_latex(baseline_from(parse_latex(text, display))).split():
        if token in ("_", "^") and is_limit_operator(tokens[-1]):
            tokens.append(r"\limits")  # or else latex2mathml sets them as in line
        tokens.append(token)
    plain = " ".join(tokens)
    # Its errors have no common base.
    errors: tuple[type[Exception], ...] = tuple(
        e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception)
    )
    errors += (RecursionError,)
    try:
        return str(convert(plain))
    except errors as error:
        raise LatexError(f"latex2mathml cannot convert the expression: {type(error).__name__}", text, 0) from None
