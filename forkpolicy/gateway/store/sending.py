"""Sends one copy to Postfix's release port by SMTP, in a thread: the bytes of mail_bytes.py, piece by piece.

The envelope's sender is that of the arrival. What a person releases is sent with NOTIFY=NEVER: a refusal must not go to
a forged sender. smtplib's `sendmail` knows no DSN for one recipient and encodes addresses as ASCII, so the commands are
ours; dots are stuffed here. Raises NoServerError, WaitError, RefusedError, UnknownOutcomeError.
"""

from __future__ import annotations

import re
import smtplib
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.envelope import quoted
from forkpolicy.gateway.store.mail_bytes import UnreadableError, dot_stuffed

if TYPE_CHECKING:
    from forkpolicy.gateway.store.attempts import Outgoing
    from forkpolicy.gateway.store.mail_bytes import MailBytes

_TIMEOUT_S: Final = 60.0
# RFC 5321 4.5.3.2.6: a server may take that long to reply to the last dot.
_DOT_TIMEOUT_S: Final = 600.0
_QUEUED: Final = re.compile(r"queued as ([0-9A-Za-z]{6,24})\b")
_GREATEST_REPLY: Final = 500


class NoServerError(Exception):
    """Nobody listens, or the server closes: no mail can be sent now."""


class WaitError(Exception):
    """A copy cannot be sent now."""


class RefusedError(Exception):
    """A copy is refused for good, with these words."""


class UnknownOutcomeError(Exception):
    """The connection broke behind the last dot: the server may have it."""


class Sender:
    """A connection to the release port, for mail after mail. Close it."""

    def __init__(self, server: str, helo: str) -> None:
        self._host, _, port = server.rpartition(":")
        self._server, self._port, self._helo = server, int(port), helo
        self._smtp: smtplib.SMTP | None = None

    def send(self, mail: Outgoing, content: MailBytes, name: str = "") -> tuple[str, str]:
        """Send a copy; the reply of the server and its queue id, empty where the reply names none. `name`: that of the
        try, for the server's log.
        """
        try:
            return self._send(mail, content, name)
        except UnreadableError as error:
            # In the midst of it perhaps: the server must not take what it has.
            self.close()
            raise WaitError(str(error)) from error
        except (NoServerError, UnknownOutcomeError):
            self.close()
            raise
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            self.close()
            raise NoServerError(f"{self._server}: {_reason(error)}") from error

    def close(self) -> None:
        """Close the connection, without a word."""
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None

    def _send(self, mail: Outgoing, content: MailBytes, name: str) -> tuple[str, str]:
        smtp = self._smtp or self._connect()
        self._smtp = smtp
        # Both before the first is sent: what cannot be sent must not leave half a mail behind in the session.
        sender = f"MAIL FROM:<{quoted(mail.sender)}>{self._mail_options(mail, content)}"
        recipient = f"RCPT TO:<{quoted(mail.recipient)}>{self._recipient_options(mail)}"
        if any(end in sender + recipient for end in "\r\n"):
            raise RefusedError("an address has a line end in it")
        if name and self._offers("xforward"):
            # XFORWARD_README: smtpd(8) logs it with the queue id, long before it replies with one.
            self._command(f"XFORWARD IDENT={name}", 250)
        self._command(sender, 250)
        self._command(recipient, 250)
        self._command("DATA", 354)
        return self._data(smtp, content)

    def _connect(self) -> smtplib.SMTP:
        smtp = smtplib.SMTP(timeout=_TIMEOUT_S, local_hostname=self._helo)
        code, words = smtp.connect(self._host.strip("[]"), self._port)
        if code != 220:
            smtp.close()
            raise NoServerError(f"{self._server}: {_shown(code, words)}")
        code, words = smtp.ehlo()
        if code != 250:
            smtp.close()
            raise NoServerError(f"{self._server}: {_shown(code, words)}")
        return smtp

    def _mail_options(self, mail: Outgoing, content: MailBytes) -> str:
        options = ""
        if self._offers("size"):
            options += f" SIZE={content.size_bytes}"
        if self._offers("8bitmime") and (mail.body8 or not content.is_ascii()):
            options += " BODY=8BITMIME"
        if mail.smtputf8 or not (mail.sender + mail.recipient).isascii():
            self._need("smtputf8", "an address or a header is not ASCII")
            options += " SMTPUTF8"
        if mail.passed and self._offers("dsn"):
            options += f" RET={mail.ret}" if mail.ret else ""
            options += f" ENVID={mail.envid}" if mail.envid else ""
        return options

    def _recipient_options(self, mail: Outgoing) -> str:
        if not mail.passed:
            self._need("dsn", "a refusal would go to a forged sender")
            return " NOTIFY=NEVER"
        if not self._offers("dsn"):
            return ""
        options = f" NOTIFY={mail.notify}" if mail.notify else ""
        return f"{options} ORCPT={mail.orcpt}" if mail.orcpt else options

    def _offers(self, extension: str) -> bool:
        return self._smtp is not None and self._smtp.has_extn(extension)

    def _need(self, extension: str, why: str) -> None:
        if not self._offers(extension):
            raise WaitError(f"{self._server} does not offer {extension.upper()}: {why}")

    def _command(self, line: str, wanted: int) -> None:
        assert self._smtp is not None
        self._smtp.send(line.encode("utf-8", "surrogateescape") + b"\r\n")
        code, words = self._smtp.getreply()
        if code != wanted:
            self._raise(code, words)

    def _data(self, smtp: smtplib.SMTP, content: MailBytes) -> tuple[str, str]:
        # As smtplib's `data` does it; that one sends DATA too, whose reply must be known alone.
        for piece in dot_stuffed(content.pieces()):
            smtp.send(piece)
        assert smtp.sock is not None
        smtp.sock.settimeout(_DOT_TIMEOUT_S)
        try:
            smtp.send(b".\r\n")
            code, words = smtp.getreply()
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise UnknownOutcomeError(f"{self._server}: no reply to the whole mail: {_reason(error)}") from error
        smtp.sock.settimeout(_TIMEOUT_S)
        if code != 250:
            self._raise(code, words)
        reply = _shown(code, words)
        queued = _QUEUED.search(reply)
        return reply, queued[1] if queued else ""

    def _raise(self, code: int, words: bytes) -> None:
        assert self._smtp is not None
        if code in (421, -1):
            raise NoServerError(f"{self._server}: {_shown(code, words)}")
        try:
            self._smtp.rset()
        except (smtplib.SMTPServerDisconnected, OSError):
            # It refused and hung up: the reply counts.
            self.close()
        if 500 <= code < 600:
            raise RefusedError(_shown(code, words))
        raise WaitError(_shown(code, words))


def _shown(code: int, words: bytes) -> str:
    text = " ".join(words.decode("utf-8", "replace").split())
    return f"{code} {''.join(each if each.isprintable() else '?' for each in text)}"[:_GREATEST_REPLY]


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
