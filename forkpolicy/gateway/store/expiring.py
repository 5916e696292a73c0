"""Held mail goes with time: what is older than `keep_days`, and the oldest of a recipient above `keep_bytes`.

What arrived within a day never expires by size, so that a flood does not push out what nobody has seen yet. Sent mail
of which the log never said more is taken as delivered after `keep_days`: Postfix itself gives up after five. What is
over for `keep_days` is pruned (pruning.py). Some rows a transaction, since mail arrives meanwhile. Times are seconds
since 1970. Raises sqlite3.Error, OSError.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.attempts import mark_delivered
from forkpolicy.gateway.store.changes import Change, change_held, digests_of, remove_unneeded
from forkpolicy.gateway.store.pruning import prune
from forkpolicy.gateway.store_messages import Scope
from forkpolicy.sizes import size_bytes

if TYPE_CHECKING:
    import sqlite3

    from forkpolicy.gateway.settings import StoreSettings
    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.mail_files import MailFiles

_DAY_S: Final = 86_400.0
_AT_ONCE: Final = 200
_WHO: Final = "expiry"
_ALL: Final = Scope(everything=True)


class Expiring:
    """`expire` does it once."""

    def __init__(self, settings: StoreSettings, files: MailFiles, database: Database) -> None:
        self._settings, self._files, self._database = settings, files, database
        self._keep_bytes = size_bytes(settings.keep_bytes)

    async def expire(self) -> int:
        """How many copies expired."""
        now_s = time.time()
        before_s = now_s - self._settings.keep_days * _DAY_S
        await self._settle(before_s, now_s)
        while await self._database.write(partial(prune, before_s=before_s, most=_AT_ONCE)):
            pass
        count = await self._expire_older(before_s, now_s)
        recipients = await self._database.count(partial(_full, keep_bytes=self._keep_bytes))
        return count + sum([await self._shrink(each, now_s) for each in recipients])

    async def _expire_older(self, before_s: float, now_s: float) -> int:
        count = 0
        why = f"older than {self._settings.keep_days} days"
        while ids := await self._database.read(partial(_older, state="held", before_s=before_s)):
            count += await self._expire_ids(ids, why, now_s)
        return count

    async def _shrink(self, recipient: str, now_s: float) -> int:
        question = partial(_over, recipient=recipient, keep_bytes=self._keep_bytes, before_s=now_s - _DAY_S)
        ids = await self._database.read(question)
        why = f"more than {self._settings.keep_bytes} are held for {recipient}"
        return sum([await self._expire_ids(ids[at : at + _AT_ONCE], why, now_s) for at in range(0, len(ids), _AT_ONCE)])

    async def _expire_ids(self, ids: list[int], why: str, now_s: float) -> int:
        def change(connection: sqlite3.Connection) -> tuple[int, set[str]]:
            done = change_held(connection, _ALL, ids, Change("expired", _WHO, f"expired: {why}", now_s))
            return done.changed, digests_of(connection, ids)

        count, digests = await self._database.write(change)
        await self._database.write(partial(remove_unneeded, files=self._files, digests=digests))
        return count

    async def _settle(self, before_s: float, now_s: float) -> None:
        while ids := await self._database.read(partial(_older, state="sent", before_s=before_s)):

            def change(connection: sqlite3.Connection, ids: list[int] = ids) -> set[str]:
                for held in ids:
                    mark_delivered(connection, held, "the mail log never said what became of it", now_s)
                return digests_of(connection, ids)

            digests = await self._database.write(change)
            await self._database.write(partial(remove_unneeded, files=self._files, digests=digests))


def _older(connection: sqlite3.Connection, state: str, before_s: float) -> list[int]:
    """Some rows that arrived before; of sent ones those that were sent before."""
    sent = " AND changed_s < ?" if state == "sent" else ""
    values = (state, before_s, *((before_s,) if sent else ()), _AT_ONCE)
    question = f"SELECT id FROM held WHERE state = ? AND arrived_s < ?{sent} LIMIT ?"  # noqa: S608 - texts of ours
    return [int(held) for (held,) in connection.execute(question, values)]


def _full(connection: sqlite3.Connection, keep_bytes: int) -> list[str]:
    """Recipients for whom more than that is held."""
    question = """SELECT recipient_key FROM held JOIN message ON message.id = held.message WHERE state = 'held'
      GROUP BY recipient_key HAVING sum(size_bytes) > ?"""
    return [str(recipient) for (recipient,) in connection.execute(question, (keep_bytes,))]


def _over(connection: sqlite3.Connection, recipient: str, keep_bytes: int, before_s: float) -> list[int]:
    """The oldest rows of a recipient above that size, as far as they arrived before."""
    question = """SELECT held.id, size_bytes, held.arrived_s FROM held JOIN message ON message.id = held.message
      WHERE recipient_key = ? AND state = 'held' ORDER BY held.arrived_s DESC, held.id DESC"""
    total, found = 0, []
    for held, size, arrived_s in connection.execute(question, (recipient,)):
        total += size
        if total > keep_bytes and arrived_s < before_s:
            found.append(int(held))
    return found
