"""What became of everything that the store accepted, and what is wrong with it. Reads, and changes nothing.

A pair of tries is listed as `twice` where the first has no end and a later one was taken: between the server's 250 and
our commit the store was killed. Where the connection broke instead it is listed as `broken`. Raises sqlite3.Error.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.digests import failures, last_run_s
from forkpolicy.gateway.store.queries import NEEDED, count_by
from forkpolicy.gateway.store_messages import STATES, LedgerReply, StatusReply, TroublesReply
from forkpolicy.sizes import size_text

if TYPE_CHECKING:
    import sqlite3

    from forkpolicy.gateway.store.database import Database
    from forkpolicy.gateway.store.mail_files import MailFiles
    from forkpolicy.gateway.store.troubles import Troubles

_PAIRS: Final = """SELECT first.held, first.queue_id, later.queue_id FROM attempt AS first
  JOIN attempt AS later ON later.id = (SELECT min(id) FROM attempt WHERE held = first.held AND id > first.id
    AND ended_s IS NOT NULL AND reply LIKE '250 %')
  WHERE {undecided} ORDER BY first.id"""
_TWICE: Final = _PAIRS.format(undecided="first.ended_s IS NULL")
_BROKEN: Final = _PAIRS.format(undecided="first.is_lost")
_WAITING: Final = "('held', 'releasing', 'sent')"
_MOST_WRONG: Final = 100


async def ledger(database: Database, files: MailFiles, start: int) -> LedgerReply:
    """The ledger; `start`: the id of this process's own start, which has not ended yet."""
    counted = await database.count(partial(_counted, start=start))
    missing = await database.count(partial(_missing, files=files))
    # What went meanwhile had its file then: only what is missing now, too, is wrong.
    wrong = [each for each in await database.count(partial(_missing, files=files)) if each in missing]
    damage = await database.count(_damage)
    return replace(counted, wrong=(*damage, *wrong))


def _counted(connection: sqlite3.Connection, start: int) -> LedgerReply:
    found = Counter(count_by(connection, "SELECT state, count(*) FROM held GROUP BY state"))
    pruned = count_by(connection, "SELECT state, copies FROM pruned")
    by_state = {state: found[state] + pruned.get(state, 0) for state in STATES}
    (unclean,) = connection.execute("SELECT count(*) FROM start WHERE clean_end = 0 AND id != ?", (start,)).fetchone()
    pairs = [
        tuple((int(held), str(first), str(later)) for held, first, later in connection.execute(question))
        for question in (_TWICE, _BROKEN)
    ]
    return LedgerReply(sum(by_state.values()), by_state, pairs[0], int(unclean), (), sum(pruned.values()), pairs[1])


def _missing(connection: sqlite3.Connection, files: MailFiles) -> list[str]:
    """Rows that wait without a file, in words."""
    question = f"""SELECT held.id, digest, size_bytes FROM held JOIN message ON message.id = held.message
      WHERE state IN {_WAITING}"""  # noqa: S608 - a text of ours
    found: list[str] = []
    for held, digest, size in connection.execute(question):
        try:
            on_disk = os.stat(files.path(digest)).st_size  # noqa: PTH116 - 200,000 of them
        except FileNotFoundError:
            found.append(f"mail {held}: its file {digest} is missing")
        else:
            if on_disk != size:
                found.append(f"mail {held}: its file {digest} has {on_disk} bytes, not {size}")
        if len(found) == _MOST_WRONG:
            break
    return found


def _damage(connection: sqlite3.Connection) -> list[str]:
    found = [str(words) for (words,) in connection.execute("PRAGMA quick_check(10)")]
    return [] if found == ["ok"] else [f"held.db: {each}" for each in found]


def _full(free_bytes: int, least_free_bytes: int) -> tuple[str, ...]:
    if free_bytes >= least_free_bytes:
        return ()
    free, least = size_text(free_bytes), size_text(least_free_bytes)
    what = "mail is answered 452 and waits in Postfix's queue: make room, or have more expire (keep_days, keep_bytes)"
    return (f"room: {free} are free, less than min_free ({least}): {what}",)


def troubles_of(
    connection: sqlite3.Connection, files: MailFiles, troubles: Troubles, least_free_bytes: int
) -> TroublesReply:
    """What needs a person."""
    free = files.free_bytes()
    return TroublesReply(troubles.all() + _full(free, least_free_bytes), failures(connection), last_run_s(connection))


def status(connection: sqlite3.Connection, files: MailFiles, troubles: Troubles, least_free_bytes: int) -> StatusReply:
    """What the store has, and how it does."""
    held = count_by(
        connection,
        "SELECT cause, count(*) FROM held JOIN message ON message.id = held.message"
        " WHERE state = 'held' GROUP BY cause",
    )
    releasing, oldest_s = connection.execute(
        "SELECT count(*), min(changed_s) FROM held WHERE state = 'releasing'"
    ).fetchone()
    sizes = f"SELECT max(size_bytes) AS size FROM message WHERE id IN {NEEDED} GROUP BY digest"  # noqa: S608 - texts of ours
    (stored,) = connection.execute(f"SELECT coalesce(sum(size), 0) FROM ({sizes})").fetchone()  # noqa: S608
    learnt = count_by(connection, "SELECT state, count(*) FROM learning WHERE state != 'wanted' GROUP BY state")
    wrong = troubles_of(connection, files, troubles, least_free_bytes)
    digests = wrong.digest_failures, wrong.digests_ran_s
    return StatusReply(held, releasing, oldest_s, stored, files.free_bytes(), learnt, wrong.errors, *digests)
