"""Follows Postfix's log: what became of the mail that was sent on, by the queue id that the release port gave it.

`sent` means that the next server took it: the row is `delivered`, and its file goes when it was the last. A refusal
puts the row back to `held` with that server's words. Digests have queue ids from there, too (digests.py). The place in
the log is kept in held.db, with the first bytes of the file: a log that was renamed is read to its end, since inode
numbers are reused. Times are seconds since 1970.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sqlite3
import time
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store.attempts import (
    mark_delivered,
    mark_refused,
    mark_waiting,
    note_queue_id,
    note_taken,
    undecided_queue_ids,
)
from forkpolicy.gateway.store.changes import remove_unneeded
from forkpolicy.gateway.store.digests import note_outcome
from forkpolicy.gateway.store.log_place import LogReader
from forkpolicy.postfix.mail_lines import read_mail_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.mail_files import MailFiles
    from forkpolicy.gateway.store.troubles import Troubles

logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.5
# A place is written with what was found; without anything found, that often.
_PLACE_S: Final = 60.0
# Lines that may be about a copy whose queue id is not yet known here: the reply is on its way.
_MOST_UNKNOWN: Final = 10_000
_UNKNOWN_S: Final = 120.0
_PART: Final = "mail log"
# Other lines say nothing here.
_TELLING: Final = (" status=", "postsuper", "(queue active)", "orig_queue_id=held-")
_STATUS: Final = re.compile(r"(\w+)(?: \((.*)\))?")
_REFUSED: Final = ("bounced", "expired", "undeliverable")
_NAME: Final = re.compile(r"client=.*, orig_queue_id=(held-\d{1,18}-\d{1,18})(?:,|\Z)")
# What is written of a mail follows soon: a try is undecided when the log was read to its end that long afterwards,
# or when that has not happened for longer.
_FOLLOWS_S: Final = 3.0
_UNREADABLE_S: Final = 60.0


class Outcome(NamedTuple):
    """What the log says of a queue id. `status`: delivered, refused or waits, and `words` are the next server's; named,
    and `words` are the name of a try; queued: Postfix has the whole mail.
    """

    queue_id: str
    status: str
    words: str


def read_outcome(text: str) -> Outcome | None:
    """What a line says about a delivery; None: nothing."""
    line = read_mail_line(text)
    if line is None or not line.queue_id:
        return None
    if line.program.endswith("postsuper") and line.text == "removed":
        return Outcome(line.queue_id, "refused", "removed from Postfix's queue by an administrator")
    if line.program.endswith("qmgr") and line.text.startswith("from=<") and line.text.endswith("(queue active)"):
        return Outcome(line.queue_id, "queued", "")
    if named := _NAME.match(line.text):
        return Outcome(line.queue_id, "named", named[1])
    found = _STATUS.match(line.status)
    if found is None:
        return None
    words = (found[2] or line.status).strip()
    if found[1] == "sent":
        return Outcome(line.queue_id, "delivered", words)
    if found[1] in _REFUSED:
        return Outcome(line.queue_id, "refused", words)
    return Outcome(line.queue_id, "waits", words) if found[1] == "deferred" else None


class MailLog:
    """`run` is its task. Without a path it does nothing: sent mail stays `sent` until it expires."""

    def __init__(self, path: str, files: MailFiles, database: Database, troubles: Troubles) -> None:
        self._path, self._files, self._database, self._troubles = path, files, database, troubles
        # With the monotonic second at which each was read.
        self._unknown: OrderedDict[str, tuple[float, Outcome]] = OrderedDict()
        # Tries whose reply is not known, by queue id; and up to when the log was read.
        self._undecided: OrderedDict[str, int] = OrderedDict()
        self._read_s = 0.0
        self._ending = asyncio.Event()
        self._reader: LogReader | None = None

    def end(self) -> None:
        """Let `run` return."""
        self._ending.set()

    async def open(self) -> None:
        """Find the place to go on from: before any mail is sent on, so that no line about it is passed over."""
        if not self._path:
            return
        self._reader = LogReader(self._path, await self._database.read(_place))
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._reader.open)
        await self._database.write(partial(_keep_place, place=self._reader.place))
        self._undecided.update(await self._database.read(undecided_queue_ids))

    def has_read_since(self, at_s: float) -> bool:
        """Whether the log would have said by now that Postfix has what was sent before then."""
        return not self._path or self._read_s > at_s + _FOLLOWS_S or time.time() > at_s + _UNREADABLE_S

    async def run(self) -> None:
        """Follow the log until `end`."""
        reader = self._reader
        if reader is None:
            return
        kept_s = time.monotonic()
        while not self._ending.is_set():
            kept_s = await self._look(reader, kept_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _LOOK_S)
        with contextlib.suppress(sqlite3.Error):
            await self._database.write(partial(_keep_place, place=reader.place))
        reader.close()

    async def _look(self, reader: LogReader, kept_s: float) -> float:
        """Read what is new; when the place was kept last."""
        try:
            while True:
                now_s = time.time()
                outcomes = await asyncio.to_thread(_outcomes, reader)
                if outcomes is None:
                    self._read_s = now_s
                    break
                if outcomes and await self._apply(outcomes, reader):
                    kept_s = time.monotonic()
            if time.monotonic() - kept_s > _PLACE_S:
                await self._database.write(partial(_keep_place, place=reader.place))
                kept_s = time.monotonic()
            self._troubles.clear(_PART)
        except (OSError, sqlite3.Error) as error:
            self._troubles.note(_PART, f"{self._path}: {getattr(error, 'strerror', None) or error}")
        return kept_s

    async def _apply(self, outcomes: list[Outcome], reader: LogReader) -> bool:
        """Whether one of them was about a copy of ours."""
        ours = await self._database.write(partial(self._applied, outcomes=outcomes, place=reader.place))
        await self.remove_files(ours)
        return bool(ours)

    def _applied(
        self, connection: sqlite3.Connection, outcomes: Iterable[Outcome], place: tuple[int, int, str]
    ) -> set[str]:
        digests = set()
        for each in outcomes:
            if each.status in ("named", "queued"):
                self._note_try(connection, each)
                continue
            digest = apply_outcome(connection, each)
            if digest:
                digests.add(digest)
            elif each.status != "waits":
                self._unknown[each.queue_id] = time.monotonic(), each
        for kept in (self._unknown, self._undecided):
            while len(kept) > _MOST_UNKNOWN:
                kept.popitem(last=False)
        if digests:
            _keep_place(connection, place)
        return digests

    def _note_try(self, connection: sqlite3.Connection, outcome: Outcome) -> None:
        if outcome.status == "named" and (attempt := note_queue_id(connection, outcome.words, outcome.queue_id)):
            self._undecided[outcome.queue_id] = attempt
        elif outcome.status == "queued" and (attempt := self._undecided.pop(outcome.queue_id, 0)):
            note_taken(connection, attempt)

    def catch_up(self, connection: sqlite3.Connection, queue_id: str) -> None:
        """Apply what the log said before the reply to the mail was known here. In the writing thread."""
        read_s, outcome = self._unknown.pop(queue_id, (0.0, None))
        # Short queue ids come again: an old one was another mail's.
        if outcome and time.monotonic() - read_s < _UNKNOWN_S:
            apply_outcome(connection, outcome)

    async def remove_files(self, digests: Iterable[str]) -> None:
        """Remove files of mail that nothing needs any more."""
        if digests:
            await self._database.write(partial(remove_unneeded, files=self._files, digests=tuple(digests)))


def _outcomes(reader: LogReader) -> list[Outcome] | None:
    """Those of the next lines; None: there are no more lines."""
    lines = reader.lines()
    about_mail = (line for line in lines if any(each in line for each in _TELLING))
    return [each for each in map(read_outcome, about_mail) if each] if lines else None


def apply_outcome(connection: sqlite3.Connection, outcome: Outcome) -> str:
    """Note what became of a copy; the digest of its mail, empty where the queue id is not that of a copy."""
    row = connection.execute(
        "SELECT held.id, digest FROM held JOIN message ON message.id = held.message"
        " WHERE new_queue_id = ? AND new_queue_id != '' AND state = 'sent'",
        (outcome.queue_id,),
    ).fetchone()
    if row is None:
        note_outcome(connection, outcome.queue_id, outcome.status, outcome.words, time.time())
        return ""
    mark = {"delivered": mark_delivered, "refused": mark_refused, "waits": mark_waiting}[outcome.status]
    mark(connection, row["id"], outcome.words, time.time())
    return str(row["digest"])


def _place(connection: sqlite3.Connection) -> tuple[int, int, str] | None:
    row = connection.execute("SELECT inode, offset, head FROM log_place").fetchone()
    return (int(row[0]), int(row[1]), str(row[2])) if row else None


def _keep_place(connection: sqlite3.Connection, place: tuple[int, int, str]) -> None:
    connection.execute("INSERT OR REPLACE INTO log_place (id, inode, offset, head) VALUES (1, ?, ?, ?)", place)
