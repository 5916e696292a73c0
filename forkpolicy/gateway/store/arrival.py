"""A mail arrives: its recipients' fates are asked for, file and rows are put on disk, and only then is it taken.

Never raises: a status for each recipient, in their order. What the machine cannot do now is 452 or 451, and Postfix
comes again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.asking import Asker
from forkpolicy.gateway.store.envelope import quoted
from forkpolicy.gateway.store.letter import HEADER_BYTES, Letter, read_letter
from forkpolicy.gateway.store.records import Arrived, Fate, client_address, insert_arrived
from forkpolicy.sizes import size_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.gateway.settings import StoreSettings
    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.envelope import Envelope, Recipient
    from forkpolicy.gateway.store.mail_files import IncomingFile, MailFiles

logger = logging.getLogger(__name__)

NO_ROOM: Final = "452 4.3.1 Insufficient system storage"
FAILED: Final = "451 4.3.0 The store cannot take mail now"
# Replies with which a copy goes on at once, by the cause for which it came; viruses stay without a question.
_PASSES: Final = {"policy": ("DUNNO", "OK"), "spam": ("OK",)}


class Arrivals:
    """What the store does with mail that Postfix delivers. `passed`: is called when something is to be sent on."""

    def __init__(
        self, settings: StoreSettings, files: MailFiles, database: Database, passed: Callable[[], None]
    ) -> None:
        self.files = files
        self.most_bytes = size_bytes(settings.max_message)
        self._least_free_bytes = size_bytes(settings.min_free)
        self._settings, self._database, self._passed = settings, database, passed

    def has_room(self) -> bool:
        """Whether there is room for one more mail, as far as that is known beforehand."""
        try:
            return self.files.free_bytes() >= self._least_free_bytes
        except OSError as error:
            logger.error("%s: %s", self._settings.path, error.strerror)  # noqa: TRY400 - no traceback to an operator
            return False

    async def take(self, cause: str, client: dict[str, str], envelope: Envelope, incoming: IncomingFile) -> list[str]:
        """Take a mail whose bytes have been written; a status for each recipient."""
        try:
            digest, letter = await asyncio.to_thread(self._finish, incoming, envelope.sender)
            size = incoming.size_bytes
            fates = await self._fates(cause, client, envelope, letter, size)
            mail = Arrived(digest, size, time.time(), cause, client, envelope, letter)
            await self._keep(mail, fates, incoming)
        except (OSError, sqlite3.Error) as error:
            logger.error("mail %s is not taken: %s", client.get("IDENT", ""), error)  # noqa: TRY400 - the same
            return [NO_ROOM if _no_room(error) else FAILED] * len(envelope.recipients)
        if any(fate.passes for fate in fates):
            self._passed()
        return [f"250 2.1.5 <{quoted(fate.recipient.address)}> {_kept(fate)}" for fate in fates]

    def _finish(self, incoming: IncomingFile, sender: str) -> tuple[str, Letter]:
        digest = incoming.finish()
        with Path(incoming.path).open("rb") as file:
            return digest, read_letter(file.read(HEADER_BYTES), sender)

    async def _keep(self, mail: Arrived, fates: Sequence[Fate], incoming: IncomingFile) -> None:
        """File first, then rows: a file without rows is swept, rows without a file would be a lost mail."""

        def change(connection: sqlite3.Connection) -> int:
            self.files.keep(incoming, mail.digest)
            return insert_arrived(connection, mail, fates)

        await self._database.write(change)

    async def _fates(
        self, cause: str, client: dict[str, str], envelope: Envelope, letter: Letter, size: int
    ) -> list[Fate]:
        if cause not in _PASSES:
            return [Fate(each, passes=False, why="the scanner found a virus") for each in envelope.recipients]
        common = _attributes(cause, client, envelope, letter, size)
        async with Asker(self._settings.policy, self._settings.policy_timeout_s) as asker:
            return [await self._fate(asker, cause, common, each, letter) for each in envelope.recipients]

    async def _fate(
        self, asker: Asker, cause: str, common: dict[str, str], recipient: Recipient, letter: Letter
    ) -> Fate:
        answer = await asker.ask({**common, "recipient": recipient.address})
        if answer.action is None:
            return Fate(recipient, passes=False, why=answer.why)
        passes = answer.action.split(" ")[0].upper() in _PASSES[cause]
        if not passes and cause == "spam" and answer.action == "DUNNO":
            score = "unknown" if letter.spam_score is None else f"{letter.spam_score:g}"
            return Fate(recipient, passes=False, why=f"the scanner's score is {score}")
        return Fate(recipient, passes=passes, why=answer.action)


def _attributes(cause: str, client: dict[str, str], envelope: Envelope, letter: Letter, size: int) -> dict[str, str]:
    """What every recipient's request has: the arrival as Postfix saw it, and what is known of the mail."""
    return {
        "protocol_state": "RCPT",
        "protocol_name": client.get("PROTO", "") or "ESMTP",
        "policy_context": f"held-{cause}",
        "client_address": client_address(client),
        "client_name": client.get("NAME", "") or "unknown",
        "client_port": client.get("PORT", ""),
        "helo_name": client.get("HELO", ""),
        "sender": envelope.sender,
        "queue_id": client.get("IDENT", ""),
        "instance": f"held.{client.get('IDENT', '')}",
        "size": str(size),
        "recipient_count": str(len(envelope.recipients)),
        "held_cause": cause,
        "spam_auth": letter.spam_auth,
        # Left out where there is none: an ACL about it is not known then.
        **({} if letter.spam_score is None else {"spam_score": f"{letter.spam_score:g}"}),
    }


def _kept(fate: Fate) -> str:
    return "goes on" if fate.passes else "held"


def _no_room(error: Exception) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or (isinstance(error, sqlite3.OperationalError) and "full" in str(error))
