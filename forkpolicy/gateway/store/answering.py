"""Does what a command asks (store_messages.py), and wakes who has to act on it. Raises NoSuchMailError, sqlite3.Error,
OSError.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from forkpolicy.gateway.store.changes import (
    Change,
    change_held,
    digests_of,
    hide_sender,
    remove_unneeded,
    request_release,
)
from forkpolicy.gateway.store.digest_answering import DIGEST_COMMANDS
from forkpolicy.gateway.store.ledger import ledger, status, troubles_of
from forkpolicy.gateway.store.letter import HEADER_BYTES
from forkpolicy.gateway.store.queries import digest_of, list_held, show_held
from forkpolicy.gateway.store.training import bayes, lessons
from forkpolicy.gateway.store_messages import (
    Changed,
    Command,
    DeleteHeld,
    Expire,
    HeldMail,
    HideSender,
    Ledger,
    ListHeld,
    ReadMail,
    Refused,
    ReleaseHeld,
    Reply,
    RequestRelease,
    ShowHeld,
    ShowTraining,
    ShowTroubles,
    StoreStatus,
    TrainingReply,
)

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.digest_answering import DigestAnswering
    from forkpolicy.gateway.store.expiring import Expiring
    from forkpolicy.gateway.store.learning import Learning
    from forkpolicy.gateway.store.mail_files import MailFiles
    from forkpolicy.gateway.store.outbox import Outbox
    from forkpolicy.gateway.store.troubles import Troubles


class Answering:
    """`start`: the id of this process's row in `start`."""

    def __init__(
        self,
        files: MailFiles,
        database: Database,
        outbox: Outbox,
        learning: Learning,
        expiring: Expiring,
        digests: DigestAnswering,
        troubles: Troubles,
        start: int,
        least_free_bytes: int,
    ) -> None:
        self._files, self._database, self._start = files, database, start
        self._status = partial(status, files=files, troubles=troubles, least_free_bytes=least_free_bytes)
        self._troubles = partial(troubles_of, files=files, troubles=troubles, least_free_bytes=least_free_bytes)
        self._outbox, self._learning, self._expiring, self._digests = outbox, learning, expiring, digests

    async def answer(self, command: Command) -> Reply:
        """The reply to any command but ReadMail."""
        match command:
            case ListHeld():
                # A search may look at each mail of a domain.
                ask = self._database.count if command.wanted.text else self._database.read
                return await ask(partial(list_held, command=command))
            case ShowHeld():
                return await self._show(command)
            case ReleaseHeld() | DeleteHeld():
                return await self._change(command)
            case RequestRelease():
                asked = partial(request_release, scope=command.scope, ids=command.ids, by=command.by)
                return await self._database.write(partial(asked, at_s=time.time()))
            case HideSender():
                return await self._hide(command)
            case Expire():
                return Changed(await self._expiring.expire())
            case Ledger():
                return await ledger(self._database, self._files, self._start)
            case ShowTroubles():
                return await self._database.read(self._troubles)
            case ShowTraining():
                known = await asyncio.to_thread(bayes, self._learning.controller)
                return TrainingReply(*await self._database.read(lessons), *known)
            case StoreStatus():
                return await self._database.count(self._status)
        if isinstance(command, DIGEST_COMMANDS):
            return await self._digests.answer(command)
        return Refused("invalid", f"{type(command).__name__} has no reply of its own")

    async def mail_path(self, command: ReadMail) -> Path:
        """The file of a mail. Raises NoSuchMailError."""
        digest = await self._database.read(partial(digest_of, scope=command.scope, held=command.id))
        return self._files.path(digest)

    async def _show(self, command: ShowHeld) -> HeldMail:
        def show(connection: sqlite3.Connection) -> HeldMail:
            row, digest, symbols, events = show_held(connection, command.scope, command.id)
            return HeldMail(row, _headers(self._files.path(digest)), symbols, events)

        return await self._database.read(show)

    async def _change(self, command: ReleaseHeld | DeleteHeld) -> Changed:
        is_release = isinstance(command, ReleaseHeld)
        learn = ("ham" if is_release else "spam") if command.learn and self._learning.is_on else ""
        state, what = ("releasing", "released") if is_release else ("deleted", "deleted")
        change = Change(state, command.by, f"{what}, learn as {learn}" if learn else what, time.time(), learn)
        changed = await self._database.write(partial(change_held, scope=command.scope, ids=command.ids, change=change))
        if is_release:
            self._outbox.wake()
        else:
            await self._remove(command.ids)
        if learn:
            self._learning.wake()
        return changed

    async def _hide(self, command: HideSender) -> Changed:
        def hide(connection: sqlite3.Connection) -> tuple[Changed, set[str]]:
            ids, changed = hide_sender(connection, command, time.time())
            return changed, digests_of(connection, ids)

        changed, digests = await self._database.write(hide)
        await self._database.write(partial(remove_unneeded, files=self._files, digests=digests))
        return changed

    async def _remove(self, ids: tuple[int, ...]) -> None:
        digests = await self._database.read(partial(digests_of, ids=ids))
        await self._database.write(partial(remove_unneeded, files=self._files, digests=digests))


def _headers(path: Path) -> str:
    """The headers of a mail as text; empty where its file has gone."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return ""
    text = head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    return f"{text}\n"
