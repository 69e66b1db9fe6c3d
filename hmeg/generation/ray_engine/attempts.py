"""Counts how often a block was begun, so that one that kills every worker does not go round for ever.

Ray starts a worker that died again and gives it its block again, without end. Imports neither Ray nor torch.
"""

from __future__ import annotations

MOST = 4


class Attempts:
    """One for a run, in a process of its own that all workers ask."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}

    def begin(self, block: int) -> bool:
        """Whether block ``block`` may be drawn: not if it was begun :data:`MOST` times and never ended."""
        self._begun[block] = self._begun.get(block, 0) + 1
        return self._begun[block] <= MOST

    def end(self, block: int) -> None:
        """Its worker has lived through it."""
        self._begun.pop(block, None)
