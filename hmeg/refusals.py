"""What libraries, machines and processes refuse."""

from __future__ import annotations


class Refusal(RuntimeError):
    """Something that is needed is not here or cannot do it; the text, a line, says what and what to do.

    Base of :class:`hmeg.backends.BackendError`, :class:`hmeg.export.errors.Unavailable` and
    :class:`hmeg.generation.engine.WorkerDiedError`. Commands show the text alone.
    """
