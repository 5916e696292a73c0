"""gevent's loop as the resolver of world/dns wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import gevent

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.world.dns.loop import Handle, Ready

READ: Final = 1
WRITE: Final = 2


class GeventLoop:
    """That of this process's hub. Made after the fork."""

    def __init__(self) -> None:
        """Nothing is waited for yet."""
        self._loop = gevent.get_hub().loop

    @property
    def turn(self) -> int:
        """See Loop."""
        return self._loop.iteration

    def watch(self, fd: int, *, read: bool, write: bool, ready: Ready) -> Handle:
        """See Loop."""
        watcher = self._loop.io(fd, (READ if read else 0) | (WRITE if write else 0))
        watcher.start(lambda events: ready(bool(events & READ), bool(events & WRITE)), pass_events=True)
        return _Watcher(watcher)

    def after(self, delay_s: float, call: Callable[[], object]) -> Handle:
        """See Loop."""
        timer = self._loop.timer(delay_s)
        handle = _Watcher(timer)

        def fire() -> None:
            handle.stop()
            call()

        timer.start(fire)
        return handle


class _Stoppable(Protocol):
    def stop(self) -> object: ...

    def close(self) -> object: ...


class _Watcher:
    """A watcher of gevent: it must be closed, or libev keeps it."""

    def __init__(self, watcher: _Stoppable) -> None:
        self._watcher = watcher

    def stop(self) -> None:
        """Wait no longer."""
        self._watcher.stop()
        self._watcher.close()
