"""Words for floating types, as options, settings and functions take them."""

from __future__ import annotations

from collections.abc import Collection

# What each was called before everything called it the same; exported files hold these words.
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_OF_SHORT = {short: word for word, short in SHORT.items()}


def canonical(precision: str) -> str:
    """``float32`` for ``fp32`` and so on; other texts as they are."""
    return _OF_SHORT.get(precision, precision)


def checked(precision: str, allowed: Collection[str] = ("float32", "bfloat16")) -> str:
    """The canonical word; ``ValueError`` for one that is not ``allowed``."""
    word = canonical(precision)
    if word not in allowed:
        raise ValueError(f"precision must be {' or '.join(allowed)}, got {precision!r}")
    return word
