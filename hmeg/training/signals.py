"""Being told to stop: SIGTERM and SIGINT wait for the end of the step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

EXIT_STATUS = 75  # sysexits' EX_TEMPFAIL: stopped on request, go on with --resume


class Interrupted(Exception):
    """A run was told to stop; it has written a checkpoint."""


class StopRequests:
    """While entered, the first SIGTERM or SIGINT sets :attr:`name`; a second one acts as it did before.

    Only a process's main thread can take signals: elsewhere nothing changes.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.name = ""

    def __enter__(self) -> StopRequests:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in self._SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
