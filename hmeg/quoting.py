"""How text of users stands in messages."""

from __future__ import annotations


def quoted(text: str, longest: int = 100) -> str:
    r"""``text`` in quotes, as it was given: ``'\frac'`` has one backslash, where ``repr`` would write two.

    What cannot be printed is written as Python's escapes, so a message stays one line and a terminal as it is. Of more
    than ``longest`` characters, the last ones become three dots.
    """
    text = text if len(text) <= longest else text[: longest - 3] + "..."
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    mark = '"' if "'" in shown and '"' not in shown else "'"
    return mark + shown + mark
