"""The worker's end of its link to the master: messages come in, reports go out. The end of the link is the end of the
worker: nothing is left to coordinate with, and the next master finds the socket stale.

Never waits for the master. Raises InvalidMessageError for an invalid message, which only a bug can send.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import TYPE_CHECKING, NoReturn

import gevent

from forkpolicy import link
from forkpolicy.messages import TO_WORKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.messages import ToMaster, ToWorker

READ = 1
READ_BYTES = 1 << 18


class MasterLink:
    """The link. `handle_message` is called for each message in a greenlet of its own: preparing waits for a
    thread, a shutdown for connections.
    """

    def __init__(self, master: socket.socket, handle_message: Callable[[ToWorker], None]) -> None:
        self._master = master
        self._handle_message = handle_message
        self._decoder = link.Decoder(TO_WORKER)
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._watcher = gevent.get_hub().loop.io(master.fileno(), READ)

    def start(self) -> None:
        """Take messages from now on."""
        self._watcher.start(self._master_speaks)

    def report(self, message: ToMaster, fd: int | None = None) -> None:
        """Send the master a message, and pass it a descriptor; `flush` sends what it does not take at once."""
        # A duplicate: by the time that it is sent, the file may be closed here.
        self._unsent.append((link.encode(message), [] if fd is None else [os.dup(fd)]))
        self.flush()

    def flush(self) -> None:
        """Send what is left. Called by every beat."""
        while self._unsent:
            data, fds = self._unsent[0]
            try:
                # A descriptor goes with the first byte.
                sent = socket.send_fds(self._master, [data], fds)
            except BlockingIOError:
                return
            except OSError:
                _end()
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], [])

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
            gevent.spawn(self._handle_message, message)


def _end() -> NoReturn:
    os._exit(0)
