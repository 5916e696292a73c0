"""A stand-in for Dovecot's authentication server, so that Postfix can be asked for a real AUTH without one.

Speaks the server side of Dovecot's auth-client protocol, version 1.2, as smtpd_sasl_type=dovecot expects it, with the
mechanisms PLAIN and LOGIN. Any user is known; one password is right. Holds no state but its socket.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from loadtest.traffic.mail import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import BinaryIO

    # Yields challenges, is sent responses, returns user and password.
    Mechanism = Generator[str, str, tuple[str, str]]


def plain() -> Mechanism:
    """RFC 4616: one message of authorisation identity, user and password."""
    message = yield ""
    _, user, password = message.split("\0")
    return user, password


def login() -> Mechanism:
    """The older LOGIN: two questions, two answers."""
    user = yield "Username:"
    password = yield "Password:"
    return user, password


MECHANISMS: dict[str, Callable[[], Mechanism]] = {"PLAIN": plain, "LOGIN": login}


class DovecotAuth:
    """The listening socket and one thread for each connection. Use as a context manager."""

    def __init__(self, path: str | Path) -> None:
        """Listen on `path`; anybody may connect."""
        self.path = Path(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self.path.chmod(0o666)
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Already listening."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening; connections end with their clients."""
        self.close()

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        # shutdown, not only close: a thread that waits in accept() would keep the socket open.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=_serve, args=(connection, number), daemon=True).start()


def _serve(connection: socket.socket, number: int) -> None:
    with connection, connection.makefile("rb") as lines:
        greeting: list[tuple[object, ...]] = [("VERSION", 1, 2), *(("MECH", name, "plaintext") for name in MECHANISMS)]
        greeting += [("SPID", os.getpid()), ("CUID", number), ("COOKIE", "0" * 32), ("DONE",)]
        connection.sendall(b"".join(_line(*words) for words in greeting))
        try:
            _converse(connection, lines)
        except OSError:
            return  # smtpd went away in the middle; its business


def _converse(connection: socket.socket, lines: BinaryIO) -> None:
    running: dict[str, Mechanism] = {}
    for raw in lines:
        verb, *words = raw.decode().rstrip("\n").split("\t")
        if verb == "AUTH":
            number, name, *options = words
            running[number] = MECHANISMS[name]()
            challenge = next(running[number])
            first = next((each[5:] for each in options if each.startswith("resp=")), None)
            reply = ("CONT", number, _encode(challenge)) if first is None else _step(running, number, first)
        elif verb == "CONT":
            reply = _step(running, words[0], words[1])
        else:
            continue
        connection.sendall(_line(*reply))


def _step(running: dict[str, Mechanism], number: str, response: str) -> tuple[str, ...]:
    try:
        challenge = running[number].send(base64.b64decode(response).decode())
    except StopIteration as done:
        user, password = done.value
        del running[number]
        return ("OK" if password == PASSWORD else "FAIL", number, f"user={user}")
    return ("CONT", number, _encode(challenge))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _line(*words: object) -> bytes:
    return ("\t".join(map(str, words)) + "\n").encode()
