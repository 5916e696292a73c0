"""Taking connections: from a shared listening socket, one at a time, and not more than a fair share.

Every worker is woken for a connection, and whoever calls accept first has it, for hours: left to chance, one worker
ends with 63 of 64 (measured). So a worker that has more than the mean of all leaves it to its siblings for a
millisecond, a few times; if nobody takes it, they are busy or stuck and it takes it after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

READ = 1
STEP_ASIDE_S = 0.001
STEPS_ASIDE = 5
# After a failed accept (no descriptor free): long enough to cost nothing, short enough that nobody in the queue
# gives up.
BACK_OFF_S = 0.5


class Acceptor:
    """Accepts on one listening socket. `take` gets each new connection; `above_share` says whether to step aside."""

    def __init__(
        self,
        listener: socket.socket,
        take: Callable[[socket.socket], None],
        above_share: Callable[[], bool],
        failed: Callable[[OSError], None],
    ) -> None:
        self._listener = listener
        self._take = take
        self._above_share = above_share
        self._failed = failed
        self._loop = gevent.get_hub().loop
        self._watcher = self._loop.io(listener.fileno(), READ)
        self._timer = self._loop.timer(STEP_ASIDE_S)
        self._stepped = 0

    def start(self) -> None:
        """Accept from now on."""
        self._watcher.start(self._acceptable)

    def stop(self) -> None:
        """Accept no more."""
        for watcher in (self._watcher, self._timer):
            watcher.stop()
            watcher.close()

    def _acceptable(self) -> None:
        if self._stepped < STEPS_ASIDE and self._above_share():
            self._stepped += 1
            self._pause(STEP_ASIDE_S)
            return
        self._stepped = 0
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # a sibling was faster, or the client has gone
        except OSError as error:
            # EMFILE and its like: the connection stays in the queue, and a loop that tries at once would only burn
            # CPU.
            self._failed(error)
            self._pause(BACK_OFF_S)
            return
        self._take(sock)

    def _pause(self, seconds: float) -> None:
        self._watcher.stop()
        self._timer.close()
        self._timer = self._loop.timer(seconds)
        self._timer.start(self._resume)

    def _resume(self) -> None:
        self._timer.stop()
        self._watcher.start(self._acceptable)
        # Without waiting for the loop: what waits is still there.
        self._acceptable()
