"""Whether this process is asked to stop, for work that may do so between two steps only."""

from __future__ import annotations

import signal
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """TERM and INT, which interrupt nothing from now on. Without a handler: one could come while an Event is locked."""

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._has_come = False

    def __call__(self, wait_s: float) -> bool:
        """Wait so many seconds at most; whether one has come."""
        self._has_come = self._has_come or signal.sigtimedwait(_SIGNALS, wait_s) is not None
        return self._has_come
