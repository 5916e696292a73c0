"""Taking connections: from a shared socket, and from siblings that give some away; not more than a fair share.

Every worker is woken for a connection, and the first that calls accept has it, for hours: left to chance, one worker
ends with 63 of 64 (measured). So a worker that has its share already steps aside for a few milliseconds; if they still
wait then, the siblings are busy or stuck and it takes them after all.

A connection that waits here has a client that waits, as one has that is served. So each entrance has some CPU time in
each turn of the loop, whatever the number of connections: with one of either a turn, hundreds waited for seconds.
"""

from __future__ import annotations

from time import monotonic, thread_time_ns
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

READ = 1
# As long as a sibling's turn of the loop may take under load; a client that connects for each request pays it when all
# are busy. By the clock: counted in looks, each of which takes a turn of a busy loop, it was a hundred times as long.
STEP_ASIDE_S = 0.005
# Between two looks.
LOOK_S = 0.001
# After a failed accept (no descriptor free), or without room for one more: long enough to cost nothing, short enough
# that no client in the queue gives up.
BACK_OFF_S = 0.5
# CPU time of an entrance in one turn: a hundred connections, each with its first request.
TURN_NS = 10_000_000


class FairAcceptor:
    """Calls `enter` while a shared descriptor is readable and it returns that there may be more, each turn for TURN_NS.
    While `has_its_share` it first waits for STEP_ASIDE_S.
    """

    def __init__(self, fd: int, enter: Callable[[], bool], has_its_share: Callable[[], bool]) -> None:
        self._enter = enter
        self._has_its_share = has_its_share
        self._loop = gevent.get_hub().loop
        self._watcher = self._loop.io(fd, READ)
        self._timer = self._loop.timer(LOOK_S)
        self._aside_until_s = 0.0

    def start(self) -> None:
        """Let in from now on."""
        self._watcher.start(self._readable)

    def stop(self) -> None:
        """Let nothing in any more."""
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
        above = self._has_its_share()
        if above and self._steps_aside():
            self.pause(LOOK_S)
            return
        self._aside_until_s = 0.0
        until_ns = thread_time_ns() + TURN_NS
        # No sibling has come for what has waited: then it is ours, all of it.
        while self._enter() and thread_time_ns() < until_ns and (above or not self._has_its_share()):
            pass

    def _steps_aside(self) -> bool:
        now_s = monotonic()
        if not self._aside_until_s:
            self._aside_until_s = now_s + STEP_ASIDE_S
        return now_s < self._aside_until_s

    def _resume(self) -> None:
        self._timer.stop()
        self._watcher.start(self._readable)


class Acceptor:
    """Accepts on one listening socket while there is room. `take` gets each new connection, `failed` why there was
    none.
    """

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
        self._fair_acceptor = FairAcceptor(listener.fileno(), self._accept, above_share)

    def start(self) -> None:
        """Accept from now on."""
        self._fair_acceptor.start()

    def stop(self) -> None:
        """Accept no more."""
        self._fair_acceptor.stop()

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

    def _accept(self) -> bool:
        if not self._has_room():
            self._fair_acceptor.pause(BACK_OFF_S)
            return False
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False  # a sibling was faster
        except ConnectionAbortedError:
            return True  # the client has gone
        except OSError as error:
            # EMFILE and its like: the connection stays in the queue, and a loop that tries at once would only burn
            # CPU.
            self._failed(error)
            self._fair_acceptor.pause(BACK_OFF_S)
            return False
        self._take(sock)
        return True


class HandoverReceiver:
    """Takes over what siblings give away. `take` takes one and says whether there was one, `has_room` whether it
    may. The worker that gives sees them first, and steps aside for siblings with less.
    """

    def __init__(
        self, fd: int, take: Callable[[], bool], has_its_share: Callable[[], bool], has_room: Callable[[], bool]
    ) -> None:
        self._take = take
        self._has_room = has_room
        self._fair_acceptor = FairAcceptor(fd, self._take_one, has_its_share)

    def start(self) -> None:
        """Take from now on."""
        self._fair_acceptor.start()

    def stop(self) -> None:
        """Take no more."""
        self._fair_acceptor.stop()

    def drain(self, at_most: int) -> bool:
        """Take what is on its way, so many at most; False: more may be. After `stop`."""
        for _ in range(at_most):
            if not self._has_room():
                break
            if not self._take():
                return True
        return False

    def _take_one(self) -> bool:
        if self._has_room():
            return self._take()
        # Leave it to a sibling.
        self._fair_acceptor.pause(BACK_OFF_S)
        return False
