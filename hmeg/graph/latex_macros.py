"""What LaTeX's macros mean for a symbol graph: tables, no code."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Sizes of single delimiters. A point after them is the invisible delimiter.
SIZES = _words(
    r"""
    \big \Big \bigg \Bigg \bigl \Bigl \biggl \Biggl \bigr \Bigr \biggr \Biggr \bigm \Bigm \biggm \Biggm
    """
)
# Spaces, sizes and style switches leave nothing on paper that a symbol graph could tell.
IGNORED = _words(
    r"""
    \, \; \: \! \> \/ \- \quad \qquad \enspace \enskip \thinspace \medspace \thickspace \negthinspace \negmedspace
    \negthickspace \nobreakspace \space \hfill \hfil \null \mathstrut \strut \nonumber \notag \allowbreak \nobreak
    \rm \bf \it \sf \tt \cal \mit \sl \sc \scshape \boldmath \unboldmath \tiny \scriptsize \footnotesize \small
    \normalsize \large \Large \LARGE \huge \Huge \relax \protect \noindent \centering
    """
) | {"\\ ", "\\\n", "\\\t", "~"}
# Macros with one argument that is set as it is: letters of a word are symbols of their own.
TRANSPARENT = _words(
    r"""
    \mbox \hbox \text \textrm \textit \textbf \textsf \texttt \textnormal \textup \textmd \textsc \emph
    \mathrm \mathit \mathbf \mathsf \mathtt \mathnormal \boldsymbol \bm \pmb
    \mathbin \mathrel \mathord \mathopen \mathclose \mathpunct \mathinner \ensuremath \smash \mathstrut
    """
)
# Fonts whose letters are symbols of their own, by the name that the symbols bear.
FONTS = {
    r"\mathcal": r"\mathcal",
    r"\mathscr": r"\mathcal",
    r"\mathbb": r"\mathbb",
    r"\mathds": r"\mathbb",
    r"\Bbb": r"\mathbb",
    r"\mathfrak": r"\mathfrak",
}
# Their argument leaves nothing on paper.
WITHOUT_INK = _words(
    r"""
    \hspace \hspace* \vspace \vspace* \label \tag \tag* \phantom \hphantom \vphantom
    """
)
FRACTIONS = _words(r"\frac \dfrac \tfrac \cfrac")
BINOMIALS = _words(r"\binom \dbinom \tbinom")
# {above MACRO below}: the brackets around, and whether there is a bar.
INFIX = {
    r"\over": ("", "", True),
    r"\atop": ("", "", False),
    r"\choose": ("(", ")", False),
    r"\brace": (r"\{", r"\}", False),
    r"\brack": ("[", "]", False),
}
STYLES = {r"\displaystyle": True, r"\textstyle": False, r"\scriptstyle": False, r"\scriptscriptstyle": False}
# Names of operators that are one symbol; all others are written in letters.
ONE_SYMBOL_NAMES = _words("sin cos tan log lim")
OPERATOR_NAMES = _words(
    r"""
    arccos arcsin arctan arg cosh cot coth csc deg dim exp hom ker lg ln sec sinh tanh
    arccot arcsec arccsc arsinh arcosh artanh tg ctg sgn
    """
)
# These take scripts below and above in display style.
LIMIT_NAMES = {
    "det": "det", "gcd": "gcd", "inf": "inf", "max": "max", "min": "min", "sup": "sup", "Pr": "Pr",
    "liminf": "lim inf", "limsup": "lim sup", "injlim": "inj lim", "projlim": "proj lim",
}  # fmt: skip
OTHER_WORDS = {r"\bmod": "mod", r"\mod": "mod"}
# Marks over or under an argument are the symbols of kind accent; these macros stand for one of them.
OVER_SEVERAL = {
    r"\frown": r"\wideparen",
    r"\wideparen": r"\wideparen",
    r"\rightarrow": r"\overrightarrow",
    r"\leftarrow": r"\overleftarrow",
    r"\leftrightarrow": r"\overleftrightarrow",
    "-": r"\overline",
    r"\sim": r"\tilde",
    r"\wedge": r"\hat",
}
UNDER_SEVERAL = {"-": r"\underline", r"\rightarrow": r"\underrightarrow"}
UNDER_MARKS = _words(r"\underline \underbrace \underrightarrow")
BRACES = {r"\overbrace": "Above", r"\underbrace": "Below"}
FRAMES = {r"\textcircled": r"\bigcirc", r"\boxed": r"\square", r"\fbox": r"\square", r"\framebox": r"\square"}
# A symbol with something over it (in braces) and under it (in brackets).
STRETCHED = {
    r"\xrightarrow": r"\rightarrow",
    r"\xleftarrow": r"\leftarrow",
    r"\xleftrightarrow": r"\leftrightarrow",
    r"\xRightarrow": r"\Rightarrow",
    r"\xLeftarrow": r"\Leftarrow",
    r"\xLeftrightarrow": r"\Leftrightarrow",
    r"\xrightleftharpoons": r"\rightleftharpoons",
    r"\xmapsto": r"\mapsto",
    r"\xlongequal": "=",
    r"\xequal": "=",
}
NEGATIONS = {
    "=": r"\neq",
    r"\in": r"\notin",
    r"\equiv": r"\not\equiv",
    r"\subseteq": r"\nsubseteq",
    "|": r"\nmid",
    r"\exists": r"\nexists",
    r"\rightarrow": r"\nrightarrow",
    r"\Rightarrow": r"\nRightarrow",
    r"\models": r"\nvDash",
}
_OPEN_ARRAYS = _words(
    """
    matrix smallmatrix array aligned align align* alignedat split gathered gather gather* eqnarray eqnarray*
    multline multline* flalign flalign* substack subarray tabular
    """
)
# Environments whose rows stand under each other, with the brackets around them.
ARRAYS = {
    **dict.fromkeys(_OPEN_ARRAYS, ("", "")),
    "pmatrix": ("(", ")"),
    "bmatrix": ("[", "]"),
    "Bmatrix": (r"\{", r"\}"),
    "vmatrix": ("|", "|"),
    "Vmatrix": ("| |", "| |"),
    "cases": (r"\{", ""),
    "dcases": (r"\{", ""),
    "rcases": ("", r"\}"),
}  # fmt: skip
WITH_COLUMNS = _words("array tabular alignedat subarray")
# Environments around one formula.
FORMULAS = _words("equation equation* displaymath math")
# Macros that people do write and that a symbol graph has no place for.
NO_COUNTERPART = _words(
    r"""
    \cancel \bcancel \xcancel \sideset \genfrac \above \newcommand \renewcommand \def \root \buildrel \prescript
    \includegraphics \overwithdelims \atopwithdelims \raisebox \raise \lower \kern \vrule \hrule \rule \put \multicolumn
    """
)
RULES = _words(r"\hline \cline \toprule \midrule \bottomrule \hdashline")

PRIMES = {"'": 1, "\u2019": 1, "\u2032": 1, "\u2033": 2, "\u2034": 3, "\u2057": 4}
RAISED = {
    **dict(zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789", strict=True)),
    **dict(zip("\u207f\u2071\u207a\u207b", "ni+-", strict=True)),
    "\u00b0": r"\circ",
    r"\degree": r"\circ",
}  # fmt: skip
LOWERED = dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789", strict=True))
