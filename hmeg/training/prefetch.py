"""Batches made ahead of time, in a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
AHEAD = 3  # batches that wait at most


class Prefetcher(Generic[T]):
    """Batches of steps ``first``, ``first + 1``, ... before ``last``, made in order while earlier ones are used.

    What ``make(step)`` raises is raised by :meth:`take`. A context manager: leaving it ends the thread.
    """

    def __init__(self, make: Callable[[int], T], first: int, last: int) -> None:
        self._make, self._steps = make, iter(range(first, last))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hmeg-prefetch")
        self._waiting: deque[Future[T]] = deque()
        for _ in range(AHEAD):
            self._ask()

    def _ask(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._waiting.append(self._thread.submit(self._make, step))

    def take(self) -> T:
        """The next batch; waits for it if need be."""
        batch = self._waiting.popleft().result()
        self._ask()
        return batch

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
