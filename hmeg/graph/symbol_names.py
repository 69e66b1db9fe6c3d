"""Other names of the 101 symbols: Unicode characters, entity names, LaTeX synonyms -> labels."""

from __future__ import annotations

from hmeg.quoting import quoted

from . import vocabulary

# Characters (and LaTeX macros) that a symbol is also written with. Every name maps to a label of the vocabulary.
_SYNONYMS: dict[str, str] = {
    # minus, hyphens and dashes
    "\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": "-", "\\minus": "-",
    # order
    "<": r"\lt", ">": r"\gt", "\\less": r"\lt",
    "\u2264": r"\leq", "le": r"\leq", "leq": r"\leq", "\\le": r"\leq", "\u2a7d": r"\leq", "\\leqslant": r"\leq",
    "\u2265": r"\geq", "ge": r"\geq", "geq": r"\geq", "\\ge": r"\geq", "\u2a7e": r"\geq", "\\geqslant": r"\geq",
    "\u2260": r"\neq", "ne": r"\neq", "neq": r"\neq", "\\ne": r"\neq", "lt": r"\lt", "gt": r"\gt",
    # brackets
    "{": r"\{", "}": r"\}", "\\lbrace": r"\{", "\\rbrace": r"\}", "\\lbrack": "[", "\\rbrack": "]",
    "\\lparen": "(", "\\rparen": ")", "\\vert": "|", "\\lvert": "|", "\\rvert": "|", "\\mid": "|",
    "\u2223": "|", "\u2758": "|",
    # operators
    "\u00d7": r"\times", "times": r"\times", "\u2a2f": r"\times", "\u00f7": r"\div", "div": r"\div",
    "\u00b1": r"\pm", "pm": r"\pm", "\u2215": "/", "\u2044": "/", "\\slash": "/",
    "\u2211": r"\sum", "sum": r"\sum", "\u222b": r"\int", "int": r"\int", "\u221a": r"\sqrt", "\\surd": r"\sqrt",
    # a product dot on the base line or at mid height is written as the same dot: CROHME labels both "."
    "\u22c5": ".", "\u00b7": ".", "\u2219": ".", "\\cdot": ".", "sdot": ".", "\\cdotp": ".", "\\ldotp": ".",
    # dots
    "\u2026": r"\ldots", "\u22ef": r"\ldots", "...": r"\ldots", "hellip": r"\ldots", "ctdot": r"\ldots",
    "\\dots": r"\ldots", "\\cdots": r"\ldots", "\\dotsc": r"\ldots", "\\dotsb": r"\ldots", "\\mathellipsis": r"\ldots",
    # arrows, logic, sets
    "\u2192": r"\rightarrow", "rarr": r"\rightarrow", "rightarrow": r"\rightarrow", "\\to": r"\rightarrow",
    "\u27f6": r"\rightarrow", "\\longrightarrow": r"\rightarrow",
    "\u2200": r"\forall", "forall": r"\forall", "\u2203": r"\exists", "exist": r"\exists", "exists": r"\exists",
    "\u2208": r"\in", "\u220a": r"\in", "in": r"\in", "isin": r"\in", "\\isin": r"\in",
    "\u221e": r"\infty", "infin": r"\infty", "infty": r"\infty",
    # primes
    "\u2032": r"\prime", "prime": r"\prime", "'": r"\prime", "\u2019": r"\prime",
    # letters
    "\u0394": r"\Delta", "\u2206": r"\Delta", "Delta": r"\Delta", "\\increment": r"\Delta",
    "\u03b1": r"\alpha", "alpha": r"\alpha", "\u03b2": r"\beta", "beta": r"\beta",
    "\u03b3": r"\gamma", "gamma": r"\gamma", "\u03b8": r"\theta", "theta": r"\theta", "\u03d1": r"\theta",
    "\u03bb": r"\lambda", "lambda": r"\lambda", "\u03bc": r"\mu", "\u00b5": r"\mu", "mu": r"\mu",
    "\u03c0": r"\pi", "pi": r"\pi", "\u03c3": r"\sigma", "sigma": r"\sigma",
    "\u03c6": r"\phi", "\u03d5": r"\phi", "phi": r"\phi", "\\varphi": r"\phi", "\\vartheta": r"\theta",
    # functions
    "sin": r"\sin", "cos": r"\cos", "tan": r"\tan", "log": r"\log", "lim": r"\lim",
    # CROHME's label graphs write the comma so, because their fields are separated by commas
    "COMMA": ",",
}  # fmt: skip

_SEVERAL: dict[str, tuple[str, ...]] = {
    "\u2033": (r"\prime", r"\prime"),
    "\u2034": (r"\prime", r"\prime", r"\prime"),
    "\u2057": (r"\prime", r"\prime", r"\prime", r"\prime"),
    "\u2016": ("|", "|"),
    "\u2225": ("|", "|"),
    "\\|": ("|", "|"),
}

# Function application, invisible times/separator/plus, zero-width characters: they put nothing on paper.
_INVISIBLE_CHARACTERS = frozenset("\u2061\u2062\u2063\u2064\u200b\u200c\u200d\ufeff\u00ad\u2060")


def label_of_name(name: str) -> str | None:
    """Label of one symbol by any of its names (label, character, entity, synonym), or None when it has none."""
    return name if vocabulary.is_symbol(name) else _SYNONYMS.get(name)


def labels_of_text(text: str, names: bool = True) -> list[str]:
    """Labels for the text of one token: a symbol's name, or else one symbol a character, spaces left out.

    names  whether a word may be a symbol's name (``in`` for the sign) or is always letters, as in running text
    Raises ValueError naming the first character that is no symbol.
    """
    text = "".join(c for c in text if not c.isspace() and c not in _INVISIBLE_CHARACTERS)
    whole = label_of_name(text) if names or len(text) == 1 else None
    if whole is not None:
        return [whole]
    if text.startswith("\\") and len(text) > 1 and text not in _SEVERAL:
        raise ValueError(f"symbol {quoted(text)} is not one of the {len(vocabulary.SYMBOL_LABELS)} known symbols")
    if text in _SEVERAL:
        return list(_SEVERAL[text])
    labels: list[str] = []
    for character in text:
        label = label_of_name(character)
        if label is not None:
            labels.append(label)
        elif character in _SEVERAL:
            labels.extend(_SEVERAL[character])
        else:
            known = len(vocabulary.SYMBOL_LABELS)
            raise ValueError(f"symbol {quoted(character)} is not one of the {known} known symbols")
    return labels
