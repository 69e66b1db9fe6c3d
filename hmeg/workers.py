"""What a process that works for another one does first. Imports no torch, so that such processes start quickly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


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
