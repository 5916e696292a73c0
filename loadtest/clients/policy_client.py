"""The policy protocol from Postfix's side: what smtpd does with one connection, and what a policy server costs it.

As attr_clnt.c, auto_clnt.c and smtpd_check.c of Postfix 3.0 and newer have it. The connection is opened when there is
something to ask and kept. One that is readable before a request is a lost server; so is one that cannot be opened,
breaks, times out or sends no `action`: smtpd sleeps a second, opens another and asks once more. After the second
failure it replies 451 by itself. Only between two SMTP sessions, in its event loop, does it notice for nothing that a
connection has ended, and close one that is too old. (Its `request_limit` is 0 by default and not here.)

`PostfixClient` does that and counts it in a `Tally`. `PolicyClient` is for who asserts that nothing happens to a
connection: the first trouble is a LostReplyError.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READ_BYTES = 4096


class LostReplyError(Exception):
    """The server closed, answered too much, too late or not in the form of a reply."""


@dataclass(frozen=True)
class Limits:
    """Postfix's smtpd_policy_service_* parameters, with their defaults."""

    timeout_s: float = 100.0
    max_idle_s: float = 300.0
    max_ttl_s: float = 1000.0
    try_limit: int = 2
    retry_delay_s: float = 1.0
    default_action: str = "451 4.3.5 Server configuration problem"


POSTFIX = Limits()


@dataclass
class Tally:
    """What a server has cost its clients. `given_up`: requests that Postfix answered with its default_action;
    `overlooked`: replies that Postfix takes, though there was more than one `action` in them, or after them.
    """

    sent: int = 0
    answered: int = 0
    asked_again: int = 0
    waited_s: float = 0.0
    given_up: int = 0
    overlooked: int = 0

    def add(self, other: Tally) -> None:
        """Count what another client has counted."""
        for each in fields(Tally):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def wait(self, limits: Limits) -> float:
        """Count one pause before a request is asked again; how long it is."""
        self.asked_again += 1
        self.waited_s += limits.retry_delay_s
        return limits.retry_delay_s


class PostfixClient:
    """One smtpd's connection to a policy server. Use as a context manager."""

    def __init__(
        self,
        path: str | Path,
        limits: Limits = POSTFIX,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Of the server at the UNIX socket `path`. Not before there is something to ask is it opened."""
        self.limits = limits
        self.tally = Tally()
        self._path = str(path)
        self._clock = clock
        # Looked up now: locust has replaced it with one that lets others work.
        self._sleep = sleep or time.sleep
        self._socket: socket.socket | None = None
        self._idle_until_s = self._lives_until_s = 0.0

    def __enter__(self) -> Self:
        """Nothing to do yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def ask(self, request: bytes) -> str:
        """The action for one request, Postfix's own where the server gives none."""
        self.tally.sent += 1
        tries = 0
        while True:
            try:
                action = self._try(request)
                break
            except (LostReplyError, OSError) as error:
                tries += 1
                if self.limits.try_limit and tries >= self.limits.try_limit:
                    # Not closed here, as in attr_clnt_request: the next request begins with what is left of it.
                    return self._give_up(error)
                self._sleep(self.tally.wait(self.limits))
                self.close()
        try:
            text = action.decode()
        except UnicodeDecodeError as error:
            # With smtputf8_enable, the default; no second try, it was an answer.
            return self._give_up(error)
        self.tally.answered += 1
        return text

    def between_sessions(self) -> None:
        """What smtpd's event loop does when its SMTP client has gone: see that the server has, mind the timers."""
        if self._socket is None:
            return
        now_s = self._clock()
        if now_s >= min(self._idle_until_s, self._lives_until_s) or readable(self._socket):
            self.close()

    def close(self) -> None:
        """Close the connection. Harmless when there is none."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def connect(self) -> socket.socket:
        """The connection, opened if there is none. Raises OSError."""
        now_s = self._clock()
        if self._socket is None:
            self._socket = connected(self._path, self.limits.timeout_s)
            self._lives_until_s = now_s + self.limits.max_ttl_s
        self._idle_until_s = now_s + self.limits.max_idle_s
        return self._socket

    def _try(self, request: bytes) -> bytes:
        connection = self.connect()
        if readable(connection):
            raise LostReplyError("the connection was readable before the request")
        connection.sendall(request)
        reply = b""
        # As attr_scan_plain.c: attributes line by line, up to an empty line; the first `action` counts.
        while b"\n\n" not in b"\n" + reply:
            part = connection.recv(READ_BYTES)
            if not part:
                raise LostReplyError(f"the server closed the connection after {reply!r}")
            reply += part
        attributes, _, rest = (b"\n" + reply).partition(b"\n\n")
        actions = [line for line in attributes.split(b"\n") if line.startswith(b"action=")]
        if not actions:
            raise LostReplyError(f"no action in {reply!r}")
        if rest or attributes != b"\n" + actions[0]:
            self._overlook(reply)
        return actions[0].removeprefix(b"action=")

    def _overlook(self, _reply: bytes) -> None:
        # Other attributes are skipped; what comes after the reply is forgotten with the next write (vstream(3)).
        self.tally.overlooked += 1

    def _give_up(self, _error: Exception) -> str:
        self.tally.given_up += 1
        return self.limits.default_action


class PolicyClient(PostfixClient):
    """A connection to which nothing may happen: open from the start, and the first trouble raises LostReplyError."""

    def __init__(self, path: str | Path, timeout_s: float = 10.0) -> None:
        """Connect. Raises OSError."""
        super().__init__(path, Limits(timeout_s=timeout_s, try_limit=1))
        self.connect()

    def _overlook(self, reply: bytes) -> None:
        raise LostReplyError(f"not exactly one reply: {reply!r}")

    def _give_up(self, error: Exception) -> str:
        raise LostReplyError(str(error)) from error


def connected(path: str, timeout_s: float) -> socket.socket:
    """A connection to a UNIX socket. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def readable(connection: socket.socket) -> bool:
    """Whether there is something to read, or the other end has closed."""
    # poll, not select: there may be more than 1,024 of them.
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
