"""The metrics process: answers Prometheus on `[metrics] listen`. Forked by the master, as the logger is.

A process of its own, because no client there must be able to stall supervision, and because the master should not read
HTTP from strangers, least of all as root. It asks the master for `status` over a socket pair, as any client of the
control socket does, and turns the answer into text. Many clients are served at a time, each for two seconds at most;
of more than it holds, the one that has been there longest is disconnected. It ends when the master's end of the
pair closes, or does not answer.

Raises ConfigError, in the master and before the fork, if the address cannot be listened on.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy import metrics
from forkpolicy.compile_failures import failures_of
from forkpolicy.documents import parse
from forkpolicy.feed_copies import notes_of
from forkpolicy.master.processes.child import start_child
from forkpolicy.master.sockets.send_buffer import write_some
from forkpolicy.status import Status

if TYPE_CHECKING:
    from forkpolicy.master.sockets.listener import Listener
    from forkpolicy.process import Identity

CLIENT_TIMEOUT_S = 2.0
# The master answers in milliseconds; it may be reading a large policy for a reload.
MASTER_TIMEOUT_S = 30.0
MAX_CLIENTS = 32
MAX_HEAD_BYTES = 8192
READ_BYTES = 1 << 16
HEAD_ENDS = (b"\r\n\r\n", b"\n\n")


class Exporter:
    """The master's side: starts the process, and starts it again."""

    def __init__(self, listeners: list[Listener], identity: Identity | None, title: str) -> None:
        self.listeners = listeners
        self._identity = identity
        self._title = title
        self.pid = 0

    def start(self) -> socket.socket:
        """Fork the process; the master's end of the pair, on which commands will come. Raises OSError."""
        ours, theirs = socket.socketpair()
        listening = [each.sock for each in self.listeners]
        keep = [theirs.fileno(), *(sock.fileno() for sock in listening)]
        try:
            run = _Serving(listening, theirs).run
            self.pid = start_child(run, title=self._title, keep=keep, identity=self._identity)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


class _MasterGoneError(Exception):
    """The other end of the pair has closed or does not answer."""


class _Client:
    """One connection: a request comes, an answer goes."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.until_s = time.monotonic() + CLIENT_TIMEOUT_S
        self.unsent = bytearray()
        self._head = b""

    def read(self) -> bytes | None:
        """The head of its request, empty while it is incomplete. None: it is not valid, or the client has gone."""
        try:
            part = self.sock.recv(4096)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        self._head += part
        if not part or len(self._head) > MAX_HEAD_BYTES:
            return None
        return self._head if any(end in self._head for end in HEAD_ENDS) else b""


class _Serving:
    """The process's whole life."""

    def __init__(self, listeners: list[socket.socket], master: socket.socket) -> None:
        self._listeners = listeners
        self._master = master
        # By age: the first has been there longest.
        self._clients: dict[socket.socket, _Client] = {}

    def run(self) -> None:
        self._master.settimeout(MASTER_TIMEOUT_S)
        self._selector = selectors.DefaultSelector()
        for sock in (*self._listeners, self._master):
            self._selector.register(sock, selectors.EVENT_READ)
        with contextlib.suppress(_MasterGoneError):
            while True:
                self._turn()

    def _turn(self) -> None:
        now_s = time.monotonic()
        for client in [each for each in self._clients.values() if each.until_s <= now_s]:
            self._disconnect(client)
        oldest = next(iter(self._clients.values()), None)
        for key, _ in self._selector.select(oldest.until_s - now_s if oldest else None):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock is self._master:
                # It never sends anything first: this is its end.
                raise _MasterGoneError
            if sock in self._clients:
                self._serve(self._clients[sock])
            elif sock in self._listeners:
                self._accept(sock)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            # The client has gone.
            return
        if len(self._clients) >= MAX_CLIENTS:
            self._disconnect(next(iter(self._clients.values())))
        self._clients[sock] = _Client(sock)
        self._selector.register(sock, selectors.EVENT_READ)

    def _serve(self, client: _Client) -> None:
        if not client.unsent:
            head = client.read()
            if head:
                client.unsent += self._answer(head)
                self._selector.modify(client.sock, selectors.EVENT_WRITE)
            if not client.unsent and head is not None:
                return
        write_some(client.sock, client.unsent)
        if not client.unsent:
            self._disconnect(client)

    def _disconnect(self, client: _Client) -> None:
        self._selector.unregister(client.sock)
        del self._clients[client.sock]
        client.sock.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "GET is all there is\n")
        if rest.partition(b" ")[0].partition(b"?")[0] not in (b"/metrics", b"/"):
            return _response("404 Not Found", "the metrics are at /metrics\n")
        response = _response("200 OK", self._page(), metrics.CONTENT_TYPE)
        return response if method == b"GET" else response[: response.index(b"\r\n\r\n") + 4]

    def _page(self) -> str:
        status = self._status()
        directory, tables = status.tables_directory, status.served_tables
        return metrics.render(status, failures_of(directory, tables), notes_of(Path(directory), tables))

    def _status(self) -> Status:
        answer = bytearray()
        try:
            self._master.sendall(b'{"command": "status"}\n')
            while not answer.endswith(b"\n"):
                part = self._master.recv(READ_BYTES)
                if not part:
                    raise _MasterGoneError
                answer += part
        except OSError as error:
            # Half an answer would be taken for the next one: a new process starts again.
            raise _MasterGoneError from error
        # The reply has `ok`, too.
        return parse(Status, json.loads(answer), others=True)


def _response(status: str, text: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
