"""Taking connections: from a shared socket, one at a time, and not more than a fair share.

Every worker is woken for a connection, and whoever calls accept first has it, for hours: left to chance, one worker
ends with 63 of 64 (measured). So a worker that has its share already steps aside for a millisecond, a few times; if
nobody takes it, they are busy or stuck and it takes it after all. The same holds for connections that a sibling
gives away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

READ = 1
STEP_ASIDE_S = 0.001
# After a failed accept (no descriptor free), or without room for one more: long enough to cost nothing, short enough
# that nobody in the queue gives up.
BACK_OFF_S = 0.5
# Connections that are given away have clients that may be asking. One a turn of the loop, the last of hundreds waits up
# to 0.4 s under full load; so many, half of that (measured with 500 connections and a worker retired each second).
TAKEN_A_TURN = 16


class Turnstile:
    """Calls `enter` while a shared descriptor is readable, unless `has_its_share` for at most `steps`
    milliseconds.
    """

    def __init__(self, fd: int, enter: Callable[[], None], has_its_share: Callable[[], bool], steps: int) -> None:
        self._enter = enter
        self._has_its_share = has_its_share
        self._steps = steps
        self._loop = gevent.get_hub().loop
        self._watcher = self._loop.io(fd, READ)
        self._timer = self._loop.timer(STEP_ASIDE_S)
        self._stepped = 0
        self._open = True

    def start(self) -> None:
        """Let in from now on."""
        self._watcher.start(self._readable)

    def stop(self) -> None:
        """Let nothing in any more."""
        self._open = False
        for watcher in (self._watcher, self._timer):
            watcher.stop()
            watcher.close()

    def pause(self, seconds: float) -> None:
        """Let nothing in for a while."""
        self._watcher.stop()
        self._timer.close()
        self._timer = self._loop.timer(seconds)
        self._timer.start(self._resume)

    def _readable(self) -> None:
        if self._stepped < self._steps and self._has_its_share():
            self._stepped += 1
            self.pause(STEP_ASIDE_S)
            return
        self._stepped = 0
        self._enter()

    def _resume(self) -> None:
        self._timer.stop()
        self._watcher.start(self._readable)


class Acceptor:
    """Accepts on one listening socket while there is room. `take` gets each new connection, `failed` why there was
    none.
    """

    # As long as a sibling's turn of the loop may take under load; a client that connects for each request pays it
    # when all are busy.
    STEPS_ASIDE = 5

    def __init__(
        self,
        listener: socket.socket,
        take: Callable[[socket.socket], None],
        above_share: Callable[[], bool],
        has_room: Callable[[], bool],
        failed: Callable[[OSError], None],
    ) -> None:
        self._listener = listener
        self._take = take
        self._has_room = has_room
        self._failed = failed
        self._turnstile = Turnstile(listener.fileno(), self._accept, above_share, self.STEPS_ASIDE)

    def start(self) -> None:
        """Accept from now on."""
        self._turnstile.start()

    def stop(self) -> None:
        """Accept no more."""
        self._turnstile.stop()

    def drain(self, at_most: int) -> bool:
        """Accept what waits in the queue, so many at most; False: more may wait. After `stop`."""
        for _ in range(at_most):
            try:
                self._take(self._listener.accept()[0])
            except BlockingIOError:
                return True
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._failed(error)
                break
        return False

    def _accept(self) -> None:
        if not self._has_room():
            self._turnstile.pause(BACK_OFF_S)
            return
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # a sibling was faster, or the client has gone
        except OSError as error:
            # EMFILE and its like: the connection stays in the queue, and a loop that tries at once would only burn
            # CPU.
            self._failed(error)
            self._turnstile.pause(BACK_OFF_S)
            return
        self._take(sock)


class Taker:
    """Takes over what siblings give away. `take` takes one and says whether there was one, `has_room` whether it
    may.
    """

    # The worker that gives sees them first, and has to wait for siblings with less.
    STEPS_ASIDE = 5

    def __init__(
        self, fd: int, take: Callable[[], bool], has_its_share: Callable[[], bool], has_room: Callable[[], bool]
    ) -> None:
        self._take = take
        self._has_its_share = has_its_share
        self._has_room = has_room
        self._turnstile = Turnstile(fd, self._take_some, has_its_share, self.STEPS_ASIDE)

    def start(self) -> None:
        """Take from now on."""
        self._turnstile.start()

    def stop(self) -> None:
        """Take no more."""
        self._turnstile.stop()

    def drain(self, at_most: int) -> bool:
        """Take what is on its way, so many at most; False: more may be. After `stop`."""
        for _ in range(at_most):
            if not self._has_room():
                break
            if not self._take():
                return True
        return False

    def _take_some(self) -> None:
        for _ in range(TAKEN_A_TURN):
            if not self._has_room():
                # Leave it to a sibling.
                self._turnstile.pause(BACK_OFF_S)
                return
            if not self._take() or self._has_its_share():
                return
