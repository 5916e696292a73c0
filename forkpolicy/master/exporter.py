"""The metrics process: answers Prometheus on `[metrics] listen`. Forked by the master, as the logger is.

A process of its own, because whoever connects there must not be able to stall supervision, and because the master
should not read HTTP from strangers, least of all as root. It asks the master for `status` over a socket pair, as any
client of the control socket does, turns the answer into text and serves one client after another, each within two
seconds. It ends when the master's end of the pair closes, or keeps silent.

Raises ConfigError, in the master and before the fork, if the address cannot be listened on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, NoReturn

from setproctitle import setproctitle

from forkpolicy import metrics
from forkpolicy.master.signals import CAUGHT
from forkpolicy.process import SIGNALS_OF_MASTER, become, die_with_parent, leave_no_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.master.listener import Listener
    from forkpolicy.process import Identity

CLIENT_TIMEOUT_S = 2.0
# The master answers in milliseconds; it may be reading a large policy for a reload.
MASTER_TIMEOUT_S = 30.0
MAX_HEAD_BYTES = 8192
READ_BYTES = 1 << 16


class Exporter:
    """The master's side: starts the process, and starts it again."""

    def __init__(self, listeners: list[Listener], identity: Identity | None, title: str) -> None:
        self.listeners = listeners
        self._identity = identity
        self._title = title
        self.pid = 0

    def start(self, drop: Iterable[Callable[[], None]]) -> socket.socket:
        """Fork the process; the master's end of the pair, on which commands will come. Raises OSError."""
        ours, theirs = socket.socketpair()
        master = os.getpid()
        # As with workers: a signal that comes in between must not run the master's handler in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        try:
            self.pid = os.fork()
            if not self.pid:
                ours.close()
                self._run(theirs, master, drop)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        return ours

    def _run(self, master_socket: socket.socket, master: int, drop: Iterable[Callable[[], None]]) -> NoReturn:
        try:
            for each in drop:
                each()
            for signum in SIGNALS_OF_MASTER:
                signal.signal(signum, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if self._identity:
                become(self._identity)
            leave_no_core()
            die_with_parent(signal.SIGKILL, master)
            # At last: whoever sees the title sees a process without privileges.
            setproctitle(self._title)
            _Serving([each.sock for each in self.listeners], master_socket).run()
        finally:
            os._exit(0)


class _MasterGoneError(Exception):
    """The other end of the pair has closed or does not answer."""


class _Serving:
    """The process's whole life."""

    def __init__(self, listeners: list[socket.socket], master: socket.socket) -> None:
        self._listeners = listeners
        self._master = master
        self._master.settimeout(MASTER_TIMEOUT_S)

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([*self._listeners, self._master], [], [])
            if self._master in ready:
                # It never speaks first: this is its end.
                return
            try:
                for listener in ready:
                    self._serve(listener)
            except _MasterGoneError:
                return
            except OSError:
                # A client that is gone, mute or slow: the next one.
                continue

    def _serve(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            deadline_s = time.monotonic() + CLIENT_TIMEOUT_S
            head = _read_head(client, deadline_s)
            client.settimeout(CLIENT_TIMEOUT_S)
            client.sendall(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "GET is all there is\n")
        if rest.partition(b" ")[0].partition(b"?")[0] not in (b"/metrics", b"/"):
            return _response("404 Not Found", "the metrics are at /metrics\n")
        response = _response("200 OK", metrics.render(self._status()), metrics.CONTENT_TYPE)
        return response if method == b"GET" else response[: response.index(b"\r\n\r\n") + 4]

    def _status(self) -> dict[str, Any]:
        answer = bytearray()
        try:
            self._master.sendall(b'{"command": "status"}\n')
            while not answer.endswith(b"\n"):
                part = self._master.recv(READ_BYTES)
                if not part:
                    raise _MasterGoneError
                answer += part
        except OSError as error:
            # Half an answer would be taken for the next one: begin anew, in a new process.
            raise _MasterGoneError from error
        status: dict[str, Any] = json.loads(answer)
        return status


def _read_head(client: socket.socket, deadline_s: float) -> bytes:
    """The request up to its empty line, within the time and the size. Raises OSError."""
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or len(head) > MAX_HEAD_BYTES:
            raise OSError("no request")
        client.settimeout(left_s)
        part = client.recv(4096)
        if not part:
            raise OSError("no request")
        head += part
    return head


def _response(status: str, text: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
