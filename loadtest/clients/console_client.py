"""A browser for the console: one session, one connection that is kept, no scripts.

Raises SetupError where the console answers otherwise than a page.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from loadtest.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSWORD: Final = "a password of a load test"  # noqa: S105 - of an account that ends with the run
_TIMEOUT_S: Final = 60.0


class Answer(NamedTuple):
    """One answer; `ms`: from the first byte that was sent to the last that came."""

    status: int
    body: bytes
    ms: float


class ConsoleClient:
    """Use as a context manager. `link`: a one-time link, which signs it in."""

    def __init__(self, link: str) -> None:
        address = urlsplit(link)
        self._origin, self._first = f"{address.scheme}://{address.netloc}", address.path
        self._connection = http.client.HTTPConnection(address.netloc, timeout=_TIMEOUT_S)
        self._cookie = ""

    def __enter__(self) -> Self:
        """Sign in."""
        form = {"name": "", "password": PASSWORD, "again": PASSWORD}
        answer = self._ask("POST", self._first, form)
        if answer.status != http.client.SEE_OTHER or not self._cookie:
            raise SetupError(f"signing in was answered with {answer.status}: {answer.body[:200].decode()}")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str) -> Answer:
        """A page. A kept connection that was closed meanwhile is made again, as browsers do."""
        try:
            return self._ask("GET", path)
        except ConnectionError:
            self._connection.close()
            return self._ask("GET", path)

    def listen(self, path: str) -> socket.socket:
        """The connection of a stream, which is the caller's to read and to close."""
        host, _, port = urlsplit(self._origin).netloc.rpartition(":")
        sock = socket.create_connection((host, int(port)), _TIMEOUT_S)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {self._cookie}\r\n\r\n"
        sock.sendall(head.encode())
        if b" 200 " not in sock.recv(64):
            sock.close()
            raise SetupError(f"{path} is not a stream")
        return sock

    def _ask(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Answer:
        headers = {"Origin": self._origin, "Cookie": self._cookie}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        started_s = time.perf_counter()
        self._connection.request(method, path, urlencode(form) if form else None, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        ms = (time.perf_counter() - started_s) * 1000
        if found := re.match(r"([^;]+=[^;]+)", answer.getheader("Set-Cookie") or ""):
            self._cookie = found[1]
        return Answer(answer.status, body, ms)
