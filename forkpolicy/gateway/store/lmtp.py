"""The store's LMTP server (RFC 2033) for Postfix's lmtp(8): one socket for each cause, one status for each recipient.

The loop and the state of a session are aiosmtpd's. Ours are XFORWARD, DSN options, addresses as Postfix writes them,
lines of any length, and the end of DATA: aiosmtpd 1.4.6 sends one status there, LMTP wants one for each recipient.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from typing import TYPE_CHECKING, Final

from aiosmtpd.lmtp import LMTP

from forkpolicy.gateway.store.arrival import FAILED, NO_ROOM
from forkpolicy.gateway.store.envelope import (
    XFORWARD_NAMES,
    Envelope,
    EnvelopeError,
    parse_mail,
    parse_recipient,
    parse_xforward,
)

if TYPE_CHECKING:
    from forkpolicy.gateway.store.arrival import Arrivals
    from forkpolicy.gateway.store.mail_files import IncomingFile

logger = logging.getLogger(__name__)

# XFORWARD and MAIL have long values: addresses of thousands of characters arrive (line_length_limit is 2048).
_COMMAND_BYTES: Final = 16 << 10
# A piece of DATA: not a line, or 64 MiB of empty ones would keep everybody waiting for minutes.
_PIECE_BYTES: Final = 64 << 10
# The line with a dot alone, and the end of the line in front of it.
_END: Final = b"\r\n.\r\n"
_IDLE_S: Final = 300.0
_TOO_LARGE: Final = "552 5.3.4 Message size exceeds fixed limit"
_NO_MAIL: Final = "503 5.5.1 Need MAIL command"
MOST_RECIPIENTS: Final = 1000


class Stuffed:
    """The bytes of DATA (RFC 5321 4.5.2) as they come, in pieces that end anywhere. `ended`: that was the last one."""

    def __init__(self) -> None:
        self.ended = False
        # In front of the first line, too.
        self._kept, self._unsent = b"\r\n", 2

    def plain(self, piece: bytes) -> bytes:
        """The bytes of the mail in it: without dots that were put in front of others, and without the end."""
        raw = self._kept + piece
        self._kept = b""
        if raw.endswith(_END):
            self.ended, raw = True, raw[:-3]
        else:
            # A dot may come.
            self._kept = next((each for each in (b"\r\n", b"\r") if raw.endswith(each)), b"")
            raw = raw.removesuffix(self._kept)
        unsent, self._unsent = self._unsent, 0
        return raw.replace(b"\r\n.", b"\r\n")[unsent:]


class Lmtp(LMTP):
    """A session."""

    line_length_limit = _PIECE_BYTES
    command_size_limit = _COMMAND_BYTES

    def __init__(self, arrivals: Arrivals, cause: str) -> None:
        super().__init__(
            self,
            enable_SMTPUTF8=True,
            hostname="store",
            ident="LMTP",
            timeout=_IDLE_S,
            data_size_limit=arrivals.most_bytes,
        )
        self.command_size_limits = collections.defaultdict(lambda: _COMMAND_BYTES)
        self._arrivals, self._cause = arrivals, cause
        self._client: dict[str, str] = {}
        self._mail: Envelope | None = None

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: object, session: object, _envelope: object, hostname: str, responses: list[str]
    ) -> list[str]:
        """What we offer besides aiosmtpd's own list."""
        session.host_name = hostname  # type: ignore[attr-defined] # aiosmtpd's Session
        offers = [f"XFORWARD {' '.join(XFORWARD_NAMES)}", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING"]
        return [*responses[:-1], *(f"250-{each}" for each in offers), responses[-1]]

    async def handle_exception(self, error: Exception) -> str:
        """A fault of ours: Postfix keeps the mail and comes again."""
        logger.error("a session failed", exc_info=error)
        return FAILED

    async def smtp_XFORWARD(self, argument: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """The client of the mail that follows (XFORWARD_README)."""
        try:
            self._client.update(parse_xforward(argument or ""))
        except EnvelopeError as error:
            await self.push(str(error))
        else:
            await self.push("250 2.0.0 Ok")

    async def smtp_MAIL(self, argument: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """Begin a mail, if there is room for one."""
        if self._mail is not None:
            return await self._reply("503 5.5.1 Nested MAIL command")
        if not self._arrivals.has_room():
            return await self._reply(NO_ROOM)
        try:
            self._mail = parse_mail(argument or "")
        except EnvelopeError as error:
            return await self._reply(str(error))
        return await self._reply("250 2.1.0 Ok")

    async def smtp_RCPT(self, argument: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """One more recipient."""
        if self._mail is None:
            return await self._reply(_NO_MAIL)
        if len(self._mail.recipients) >= MOST_RECIPIENTS:
            return await self._reply("452 4.5.3 Too many recipients")
        try:
            self._mail.recipients.append(parse_recipient(argument or ""))
        except EnvelopeError as error:
            return await self._reply(str(error))
        return await self._reply("250 2.1.5 Ok")

    async def smtp_DATA(self, argument: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """The mail itself, and a status for each recipient."""
        mail = self._mail
        if argument or mail is None or not mail.recipients:
            return await self._reply("503 5.5.1 Need RCPT command" if mail else _NO_MAIL)
        client = self._client
        self._set_rset_state()
        statuses = await self._receive(mail, client)
        return await self._reply("\r\n".join(statuses))

    async def _reply(self, text: str) -> None:
        await self.push(text)

    async def _receive(self, mail: Envelope, client: dict[str, str]) -> list[str]:
        try:
            incoming = self._arrivals.files.begin()
        except OSError:
            return [NO_ROOM]
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            refused = await self._read_data(incoming)
            if refused:
                return [refused] * len(mail.recipients)
            return await self._take(mail, client, incoming)
        finally:
            incoming.drop()

    async def _take(self, mail: Envelope, client: dict[str, str], incoming: IncomingFile) -> list[str]:
        """Also of a fault of ours each recipient has a status: Postfix would wait for the others for ten minutes."""
        try:
            return await self._arrivals.take(self._cause, client, mail, incoming)
        except Exception:
            logger.exception("mail %s is not taken", client.get("IDENT", ""))
            return [FAILED] * len(mail.recipients)

    async def _read_data(self, incoming: IncomingFile) -> str:
        """Read up to the line with a dot alone, whatever happens; a status where the mail cannot be taken."""
        refused, stuffed, piece = "", Stuffed(), await self._begin()
        while True:
            data = stuffed.plain(piece)
            if not refused:
                refused = self._write(incoming, data)
            if stuffed.ended:
                return refused
            piece = await self._piece()
            self._reset_timeout()

    async def _begin(self) -> bytes:
        """The beginning, so far that nothing of an end that may follow is in it; or all of it. Postfix puts headers in
        front, so that is one byte.
        """
        begun = bytearray()
        while bytes(begun[-1:]) in (b"", b"\r", b"\n", b".") and not (b"\r\n" + begun[-5:]).endswith(_END):
            begun += await self._reader.readexactly(1)
        return bytes(begun)

    async def _piece(self) -> bytes:
        """Up to the end, or a part that has none."""
        try:
            return bytes(await self._reader.readuntil(_END))
        except asyncio.LimitOverrunError as error:
            return bytes(await self._reader.readexactly(error.consumed))

    def _write(self, incoming: IncomingFile, data: bytes) -> str:
        if incoming.size_bytes + len(data) > self._arrivals.most_bytes:
            return _TOO_LARGE
        try:
            incoming.write(data)
        except OSError:
            return NO_ROOM
        return ""

    def _set_rset_state(self) -> None:
        super()._set_rset_state()  # type: ignore[no-untyped-call] # aiosmtpd's
        self._mail, self._client = None, {}
