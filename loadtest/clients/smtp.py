"""An SMTP client that sends exactly the bytes it is given and shows exactly the bytes that came back.

smtplib corrects, quotes and lower-cases; odd addresses and a forged client (XCLIENT) need none of that. Every wait
has a deadline: TimeoutError and EOFError are the two ways in which a server can fail to answer.
"""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass
from typing import Self

from loadtest.traffic.mail import PASSWORD


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of one or more lines: its code and its lines without the line ends."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines without their codes."""
        return "\n".join(line[4:] for line in self.lines)

    def __str__(self) -> str:
        """As it came over the wire."""
        return "\n".join(self.lines)


def xtext(value: str) -> str:
    """RFC 3461 xtext, which XCLIENT uses for its values."""
    return "".join(chr(byte) if 33 <= byte <= 126 and byte not in b"+=" else f"+{byte:02X}" for byte in value.encode())


class SmtpClient:
    """One SMTP session. Use as a context manager: it ends with QUIT."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 20.0, first: bytes = b"") -> None:
        """Connect, send `first`, and read the banner."""
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._socket.sendall(first)
        self._lines = self._socket.makefile("rb")
        self.banner = self.read_reply()

    def __enter__(self) -> Self:
        """Connected already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave politely where possible."""
        self.quit()

    def read_reply(self) -> Reply:
        """The next reply, all lines of it. EOFError when the server has closed."""
        lines: list[str] = []
        while True:
            raw = self._lines.readline()
            if not raw.endswith(b"\n"):
                raise EOFError(f"the SMTP server closed the connection after {[*lines, raw]}")
            lines.append(raw.decode("utf-8", "surrogateescape").rstrip("\r\n"))
            if raw[3:4] != b"-":
                return Reply(int(raw[:3]), tuple(lines))

    def send(self, data: bytes) -> None:
        """Bytes as they are, for pipelining."""
        self._socket.sendall(data)

    def command(self, line: str | bytes) -> Reply:
        """One command, one reply."""
        self.send((line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")) + b"\r\n")
        return self.read_reply()

    def ehlo(self, name: str = "client.example.org") -> Reply:
        """EHLO."""
        return self.command(f"EHLO {name}")

    def xclient(self, address: str, **attributes: str) -> Reply:
        """Pretend to be the client `address`; `name`, `login` and the like as XCLIENT has them. EHLO again after it."""
        shown = f"IPV6:{address}" if ":" in address else address
        words = [f"ADDR={shown}", *(f"{name.upper()}={xtext(value)}" for name, value in attributes.items())]
        return self.command("XCLIENT " + " ".join(words))

    def auth(self, method: str, user: str, password: str = PASSWORD) -> Reply:
        """AUTH PLAIN with an initial response, or AUTH LOGIN with its two questions."""
        if method == "PLAIN":
            return self.command(f"AUTH PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}")
        reply = self.command("AUTH LOGIN")
        for answer in (user, password):
            if reply.code != 334:
                break
            reply = self.command(_base64(answer))
        return reply

    def mail(self, sender: str, parameters: str = "") -> Reply:
        """MAIL FROM, the address as it stands between the angle brackets."""
        return self.command(f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}")

    def rcpt(self, recipient: str) -> Reply:
        """RCPT TO, the address as it stands between the angle brackets."""
        return self.command(f"RCPT TO:<{recipient}>")

    def data(self, message: str = "Subject: test\r\n\r\ntest\r\n") -> Reply:
        """DATA with a whole message; the reply to DATA itself when that is not 354."""
        reply = self.command("DATA")
        return reply if reply.code != 354 else self.command(message + ".")

    def abandon(self) -> None:
        """Hang up without a word, as in the middle of a message."""
        self._lines.close()
        self._socket.close()

    def quit(self) -> None:
        """QUIT; a server that is gone already is fine."""
        try:
            self.command("QUIT")
        except (OSError, EOFError):
            pass
        finally:
            self.abandon()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
