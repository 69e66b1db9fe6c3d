"""What goes wrong for reasons outside of files and arguments."""

from __future__ import annotations

from hmeg.refusals import Refusal


class Unavailable(Refusal):
    """A library, a compiler or a GPU that is needed is not here, or refuses; the text says which and what to do."""
