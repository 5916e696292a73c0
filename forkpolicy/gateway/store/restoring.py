"""A backup (backing_up.py) becomes a store again: nothing goes out by itself, and what may go out twice is listed.

What was released or deleted after the backup is held again. A copy that was on its way when the backup was made is
held, too: it may have arrived. Each of them gets a try without an end, so that a later release of it is one of the
ledger's `twice`. What Postfix had, `sent`, is looked for in its log; on another host there is no such log, and it is
held as well. Links of digests act no more: numbers of rows are given again, and a link would be about another mail.
Raises StoreError, CannotWriteError.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store.backing_up import DamagedFileError, check_version, copy_mail, put_in_place
from forkpolicy.gateway.store.errors import StoreError
from forkpolicy.gateway.store.holding import held_alone
from forkpolicy.gateway.store.link_tokens import NAME as KEY
from forkpolicy.gateway.store.mail_files import MailFiles
from forkpolicy.gateway.store.queries import count_by, needed_digests
from forkpolicy.gateway.store.schema import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_WHO: Final = "restore"
_NEW: Final = f"{NAME}.restored"
_MADE: Final = (NAME, _NEW, "mail", "incoming", "held.lock")


class Restored(NamedTuple):
    """What was put back. `taken_s`: when the backup was made; `by_state`: copies now; `held_again`: copies that were on
    their way; `wrong`: mails whose bytes are not there, in words.
    """

    taken_s: float
    by_state: dict[str, int]
    held_again: int
    wrong: tuple[str, ...]


def restore(source: Path, store: Path, *, elsewhere: bool) -> Restored:
    """Make a store of a backup, in a directory that has none. `elsewhere`: the Postfix here is another one."""
    if not (source / NAME).is_file():
        raise StoreError(f"{source}: there is no backup: expected {NAME}")
    try:
        with held_alone(store):
            if (store / NAME).exists():
                raise StoreError(f"{store}: there is a store already: move its files to another place")
            _refuse_links(store)
            with _owned(store):
                return _restored(source, store, elsewhere=elsewhere)
    except sqlite3.Error as error:
        raise StoreError(f"{source / NAME}: {error}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or store}: {error.strerror}") from error


def _refuse_links(store: Path) -> None:
    """What the store's user has put there must not lead root to files of others."""
    for each in (store / name for name in _MADE):
        if each.is_symlink():
            raise StoreError(f"{each}: is a symbolic link: expected a directory without a store")


@contextlib.contextmanager
def _owned(store: Path) -> Iterator[None]:
    """What root makes belongs to the owner of the directory."""
    try:
        yield
    finally:
        found = store.stat()
        if os.geteuid() == 0:
            made = [each for name in _MADE for each in (store / name, *(store / name).rglob("*"))]
            for each in made:
                with contextlib.suppress(FileNotFoundError):
                    os.chown(each, found.st_uid, found.st_gid, follow_symlinks=False)


def _restored(source: Path, store: Path, *, elsewhere: bool) -> Restored:
    files, backup = MailFiles(store), MailFiles(source)
    # Of a restore that was broken off.
    (store / _NEW).unlink(missing_ok=True)
    put_in_place(source / NAME, store / _NEW)
    with contextlib.closing(sqlite3.connect(store / _NEW, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        check_version(connection, source / NAME)
        if (damage := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise StoreError(f"{source / NAME}: is damaged: {damage}")
        taken_s = _taken_s(connection, source)
        wrong = _copy_files(backup, files, sorted(needed_digests(connection)))
        connection.execute("BEGIN IMMEDIATE")
        held_again = _hold(connection, taken_s, elsewhere=elsewhere)
        connection.execute("COMMIT")
        by_state = count_by(connection, "SELECT state, count(*) FROM held GROUP BY state")
    (store / KEY).unlink(missing_ok=True)
    put_in_place(store / _NEW, store / NAME)
    (store / _NEW).unlink()
    return Restored(taken_s, by_state, held_again, tuple(wrong))


def _taken_s(connection: sqlite3.Connection, source: Path) -> float:
    try:
        return float(connection.execute("SELECT at_s FROM backup").fetchone()[0])
    except sqlite3.OperationalError as error:
        hint = "`forkpolicy held backup` makes one; a copy of files of a running store is none"
        raise StoreError(f"{source / NAME}: does not come from a backup: {hint}") from error


def _copy_files(backup: MailFiles, files: MailFiles, digests: Sequence[str]) -> list[str]:
    wrong = []
    for digest in digests:
        try:
            copy_mail(backup.path(digest), digest, files)
        except FileNotFoundError:
            wrong.append(f"the file {digest} is missing in the backup")
        except DamagedFileError as error:
            wrong.append(str(error))
    return wrong


def _hold(connection: sqlite3.Connection, taken_s: float, *, elsewhere: bool) -> int:
    """Nothing is on its way any more; how many were."""
    when = f"{datetime.fromtimestamp(taken_s).astimezone():%Y-%m-%d %H:%M:%S}"
    note = f"restored from a backup of {when}: it may have been sent on since"
    waiting = "('held', 'releasing', 'sent')" if elsewhere else "('held', 'releasing')"
    connection.execute(
        f"INSERT INTO event (held, at_s, who, what) SELECT id, ?, ?, ? FROM held WHERE state IN {waiting}",  # noqa: S608
        (taken_s, _WHO, note),
    )
    connection.execute(
        f"INSERT INTO attempt (held, began_s) SELECT id, ? FROM held WHERE state IN {waiting}",  # noqa: S608
        (taken_s,),
    )
    cursor = connection.execute(
        "UPDATE held SET state = 'held', backend_reply = ?, changed_s = ?, changed_by = ?"  # noqa: S608
        f" WHERE state IN {waiting} AND state != 'held'",
        (note, taken_s, _WHO),
    )
    # The store that was copied while it ran was not killed then.
    connection.execute("UPDATE start SET clean_end = 1 WHERE id = (SELECT max(id) FROM start)")
    if elsewhere:
        connection.execute("DELETE FROM log_place")
    connection.execute("DROP TABLE backup")
    return cursor.rowcount
