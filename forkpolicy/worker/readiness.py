"""Which connections may be read or written, in the order in which they became so: first come, first served.

One epoll of the worker's own has all its connections; gevent's loop watches that epoll alone. libev would call back
what became ready together last-come first, and costs a watcher and its dispatch for each connection.

Edge-triggered (epoll(7)): the kernel queues a descriptor once when something happens to it. A level-triggered one
would be queued again behind each call, in front of whatever comes next, and the order would be that of the last calls.
So a callback takes all that is there, or asks to be called again with `again`. A closed peer is looked at again by
itself, since its last bytes and its end may be one event.

A turn serves MAX_A_TURN at most; then accepting, the master and timers have theirs. What a callback raises is reported
as gevent reports it, and the next is served. A descriptor must be removed before it is closed or given away: the kernel
knows files, not descriptors, and goes on reporting one that another process holds.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Final

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[], object]

MAX_A_TURN: Final = 64
READ: Final = 1
TO_READ: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
TO_WRITE: Final = select.EPOLLOUT | select.EPOLLET
GONE: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Readiness:
    """Of one worker, made after the fork. Each descriptor is waited for to read or to write, never both."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[int, Callback]] = {}
        self._held: dict[int, Callback] = {}
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._epoll.fileno(), READ)
        self._watcher.start(self._serve)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._watcher.stop()
        self._watcher.close()
        self._epoll.close()

    def to_read(self, fd: int, callback: Callback) -> None:
        """Call back when there is something to read, now or later."""
        self._wait(fd, TO_READ, callback)

    def to_write(self, fd: int, callback: Callback) -> None:
        """Call back when there is room to write: in the next turn of the loop, for nearly all."""
        self._wait(fd, TO_WRITE, callback)

    def again(self, fd: int) -> None:
        """Call back once more, behind those that wait, if there is still something."""
        self._epoll.modify(fd, self._waiting[fd][0])

    def hold(self, fd: int, callback: Callback) -> None:
        """Call this instead, until `release`. A closed peer is not looked at again meanwhile."""
        events, called = self._waiting[fd]
        self._held[fd] = called
        self._waiting[fd] = (events, callback)

    def release(self, fd: int) -> None:
        """Call back what was held."""
        self._waiting[fd] = (self._waiting[fd][0], self._held.pop(fd))

    def remove(self, fd: int) -> None:
        """Wait for it no longer. Harmless for one that is not waited for."""
        self._held.pop(fd, None)
        if self._waiting.pop(fd, None):
            self._epoll.unregister(fd)

    def _wait(self, fd: int, events: int, callback: Callback) -> None:
        change = self._epoll.modify if fd in self._waiting else self._epoll.register
        change(fd, events)
        self._held.pop(fd, None)
        self._waiting[fd] = (events, callback)

    def _serve(self) -> None:
        waiting = self._waiting
        for fd, events in self._epoll.poll(0, MAX_A_TURN):
            # Closed by what was served before it in this turn.
            if fd not in waiting:
                continue
            try:
                waiting[fd][1]()
            except BaseException:  # noqa: BLE001 - nobody reports the next ones again: they have nothing to do with it
                self._hub.handle_error(self._watcher, *sys.exc_info())
                events |= GONE  # noqa: PLW2901 - it did not come to its end
            if events & GONE and fd in waiting and fd not in self._held:
                self.again(fd)
