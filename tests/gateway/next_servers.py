"""The server behind the gateway, and a private Postfix between the store and it: the release port of the recipe."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, NamedTuple

from loadtest.servers.postfix import PrivatePostfix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_OFFERS = ("SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")


class Taken(NamedTuple):
    """A mail: the commands MAIL and RCPT as they came, and the bytes without the dots of SMTP."""

    mail: str
    recipient: str
    data: bytes


class NextServer:
    """Speaks SMTP on a port of 127.0.0.1. Use as a context manager.

    `replies`: what RCPT gets, by address; `offers`: its extensions; `hangs_up`: after a 5xx; `at_dot`: is called with a
    whole mail before the 250. `taken` grows, and `arrived` says so.
    """

    def __init__(self, port: int = 0, offers: tuple[str, ...] = _OFFERS) -> None:
        self.replies: dict[str, str] = {}
        self.offers, self.taken, self.hangs_up = offers, [], False
        self.at_dot: Callable[[Taken], None] = lambda _: None
        self.arrived = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _Session)
        self._server.next_server = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, count: int, timeout_s: float = 60) -> None:
        """Until so many mails were taken."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.taken) >= count, timeout_s), self.taken


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Session(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError):
            self._converse()

    def _converse(self):
        server = self.server.next_server
        mail, recipient = "", ""
        self._say("220 next ESMTP")
        while line := self.rfile.readline().decode("utf-8", "surrogateescape").rstrip("\r\n"):
            verb = line[:4].upper()
            reply = "250 2.0.0 Ok"
            if verb == "EHLO":
                reply = "\r\n".join(
                    [*(f"250-{each}" for each in ("next", *server.offers[:-1])), f"250 {server.offers[-1]}"]
                )
            elif verb == "MAIL":
                reply = "503 5.5.1 Nested MAIL command" if mail else reply
                mail = line
            elif verb == "RSET":
                mail = ""
            elif verb == "RCPT":
                recipient = line
                reply = server.replies.get(line[line.index("<") + 1 : line.index(">")], reply)
            elif verb == "DATA":
                self._say("354 go on")
                self._take(server, mail, recipient)
                mail = ""
                continue
            self._say(reply)
            if verb == "QUIT" or (server.hangs_up and reply.startswith("5")):
                return

    def _take(self, server, mail, recipient):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        taken = Taken(mail, recipient, b"".join(lines))
        with server.arrived:
            server.taken.append(taken)
            number = len(server.taken)
            server.arrived.notify_all()
        server.at_dot(taken)
        self._say(f"250 2.0.0 Ok: queued as AAAA{number:04}")

    def _say(self, text):
        self.wfile.write(f"{text}\r\n".encode("utf-8", "surrogateescape"))


class Between:
    """Passes bytes between one client at a time and a server on a port of 127.0.0.1. Use as a context manager.

    Once, the server's reply to a whole mail does not reach the client: `instead` is called, and the connection ends.
    """

    def __init__(self, server_port: int, instead: Callable[[], None] = lambda: None) -> None:
        self._server_port, self._instead = server_port, instead
        self.cut = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._socket.accept()[0]
                with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
                    self._pass(client, server)

    def _pass(self, client, server):
        while True:
            for source in select.select([client, server], [], [])[0]:
                try:
                    data = source.recv(1 << 16)
                except ConnectionError:
                    data = b""
                if not data:
                    return
                if source is server and b"queued as" in data and not self.cut.is_set():
                    self._instead()
                    self.cut.set()
                    return
                (server if source is client else client).sendall(data)


def release_postfix(base: Path, backend_port: int) -> PrivatePostfix:
    """A Postfix that takes all mail, with the recipe's options, and tries the backend again every second."""
    main = {
        "relay_transport": f"smtp:[127.0.0.1]:{backend_port}",
        "default_transport": f"smtp:[127.0.0.1]:{backend_port}",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        "receive_override_options": "no_address_mappings,no_milters",
        "smtputf8_enable": "yes",
        "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
        # As the recipe has it: a short one comes again with the next mail, and the store knows a copy by it.
        "enable_long_queue_ids": "yes",
        "queue_run_delay": "1s",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "1s",
        "smtp_tls_security_level": "none",
        "transport_retry_time": "1s",
    }
    return PrivatePostfix(base / "postfix", main=main, services="smtp unix - - n - - smtp\nrelay unix - - n - - smtp\n")
