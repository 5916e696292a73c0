"""What the store does next to taking mail: sending on, the mail log, learning, expiry, answers. Begins and ends them.

Use as an asynchronous context manager; on leaving, the mail under way gets its reply and its commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from forkpolicy.gateway.store.answering import Answering
from forkpolicy.gateway.store.api import Api, listen
from forkpolicy.gateway.store.digest_answering import DigestAnswering
from forkpolicy.gateway.store.expiring import Expiring
from forkpolicy.gateway.store.learning import Learning
from forkpolicy.gateway.store.link_tokens import LinkTokens
from forkpolicy.gateway.store.mail_log import MailLog
from forkpolicy.gateway.store.outbox import Outbox
from forkpolicy.gateway.store.troubles import Troubles
from forkpolicy.sizes import size_bytes

if TYPE_CHECKING:
    import socket

    from forkpolicy.gateway.settings import GatewaySettings
    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.mail_files import MailFiles

_EXPIRE_S: Final = 3600.0
_PART: Final = "expiry"


class Services:
    """All of them. `start`: the id of this process's row in `start`."""

    def __init__(self, settings: GatewaySettings, files: MailFiles, database: Database, start: int) -> None:
        self._troubles = Troubles()
        self._mail_log = MailLog(settings.store.mail_log, files, database, self._troubles)
        self.outbox = Outbox(settings.release, files, database, self._mail_log, self._troubles)
        self._learning = Learning(settings.scanner, settings.store.keep_days, files, database, self._troubles)
        self._expiring = Expiring(settings.store, files, database)
        tokens = LinkTokens(Path(settings.store.path))
        self.answering = Answering(
            files,
            database,
            self.outbox,
            self._learning,
            self._expiring,
            DigestAnswering(settings, tokens, files, database, self.outbox, self._mail_log),
            self._troubles,
            start,
            size_bytes(settings.store.min_free),
        )
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin."""
        await self._mail_log.open()
        jobs = (self.outbox.run(), self._mail_log.run(), self._learning.run(), self._expire())
        self._tasks = [asyncio.create_task(each) for each in jobs]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        self._ending.set()
        for each in (self.outbox, self._mail_log, self._learning):
            each.end()
        await asyncio.gather(*self._tasks)

    async def listen(self, sock: socket.socket, group: int) -> asyncio.Server:
        """Answer at a socket; `group`: the id of the group that may ask, or -1."""
        return await listen(Api(self.answering, group), sock)

    async def _expire(self) -> None:
        while not self._ending.is_set():
            try:
                await self._expiring.expire()
                self._troubles.clear(_PART)
            except (OSError, sqlite3.Error) as error:
                self._troubles.note(_PART, str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _EXPIRE_S)
