"""The worker's end of its link to the master: orders come in, reports go out. The end of the link is the end of the
worker: nothing is left to coordinate with, and who starts the next master finds the socket stale.

Never waits for the master. Raises ValueError for what is no message, which only a bug can send.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gevent

from forkpolicy import link

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from forkpolicy.link import Message

READ = 1
READ_BYTES = 1 << 18


class Orders:
    """The link. `obey` is called for each order in a greenlet of its own: preparing waits for a thread, leaving for
    connections.
    """

    def __init__(self, master: socket.socket, obey: Callable[[Message], None]) -> None:
        self._master = master
        self._obey = obey
        self._decoder = link.Decoder()
        self._unsent = b""
        self._watcher = gevent.get_hub().loop.io(master.fileno(), READ)

    def start(self) -> None:
        """Obey from now on."""
        self._watcher.start(self._master_speaks)

    def report(self, message: Message) -> None:
        """Tell the master; `flush` sends what it does not take at once."""
        self._unsent += link.encode(message)
        self.flush()

    def flush(self) -> None:
        """Send what is left. Called by every beat."""
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self._master.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            _end()

    def _master_speaks(self) -> None:
        try:
            data = self._master.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            _end()
        for message in self._decoder.feed(data):
            gevent.spawn(self._obey, message)


def _end() -> None:
    os._exit(0)
