"""Processes that work for another one, and what they do first. Imports no torch, so that they start quickly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any


class WorkerPool(ProcessPoolExecutor):
    """Processes started anew (a copy of one that computes on a GPU or in threads may not work); see `follow_parent`.

    They do not see Ctrl-C, not even while they start, which may take seconds.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, multiprocessing.get_context("spawn"), initializer=follow_parent)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # This may start a process, which inherits what is blocked; here an interrupt waits for a moment.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def follow_parent() -> None:
    """First of all in a worker process: it lives as long as the process that started it, and leaves Ctrl-C to that.

    Ctrl-C reaches all processes of a terminal, but one has to decide what happens. And a process that was killed tells
    nobody: its workers would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is for processes that multiprocessing has started"
    threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # the main thread may wait in a pool's queue, which nothing else ends
