"""A backup of the store, taken while it runs: held.db, and every file that a row of it needs.

While no transaction writes, held.db is copied and each file gets a second name (link(2)) in a directory next to it:
seconds in which arriving mail waits. Then files are copied to the backup, those that an earlier backup there has not,
and held.db last: one that was broken off has left the earlier backup. A file is compared with its name, the SHA-256
of its bytes. The key of digests' links is not copied (restoring.py). Raises StoreError.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store.errors import StoreError
from forkpolicy.gateway.store.mail_files import MailFiles
from forkpolicy.gateway.store.queries import count_by, needed_digests
from forkpolicy.gateway.store.schema import NAME, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

# In the copy of held.db: when it was made.
TAKEN: Final = "CREATE TABLE backup (at_s REAL NOT NULL)"
_LINKS: Final = "backup-"
_PIECE_BYTES: Final = 1 << 20
_BUSY_S: Final = 60.0


class Backup(NamedTuple):
    """What a backup has. `by_state`: copies; `new`: files that were not there; `wrong`: mails it has not, in words."""

    by_state: dict[str, int]
    mails: int
    new: int
    size_bytes: int
    wrong: tuple[str, ...]


def back_up(store: Path, target: Path) -> Backup:
    """Bring a backup up to date, or make one in an empty directory."""
    if not (store / NAME).is_file():
        raise StoreError(f"{store}: there is no store: expected {NAME}")
    if target.resolve().is_relative_to(store.resolve()):
        raise StoreError(f"{target}: is inside the store: expected a directory on another disk")
    try:
        with _alone(store), _linked(store) as links:
            return _copied(links, target)
    except sqlite3.Error as error:
        raise StoreError(f"{store / NAME}: {error}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or target}: {error.strerror}") from error


@contextlib.contextmanager
def _alone(store: Path) -> Iterator[None]:
    """One backup at a time. A store that runs, and a run of digests (digest/running.py), have locks of their own."""
    fd = os.open(store / "mail", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise StoreError(f"{store}: another backup is being made") from error
    finally:
        os.close(fd)


@contextlib.contextmanager
def _linked(store: Path) -> Iterator[Path]:
    """A directory with held.db and the files as they were at one moment."""
    for left in store.glob(f"{_LINKS}*"):
        shutil.rmtree(left)
    links = Path(tempfile.mkdtemp(prefix=_LINKS, dir=store))
    try:
        _freeze(store, links)
        yield links
    finally:
        shutil.rmtree(links)


def _freeze(store: Path, links: Path) -> None:
    files = MailFiles(store)
    (links / "mail").mkdir(mode=0o700)
    with contextlib.closing(_connected(store)) as writing, contextlib.closing(_connected(store)) as reading:
        check_version(writing, store / NAME)
        writing.execute("BEGIN IMMEDIATE")
        # Files are put in their place and removed within transactions alone.
        for digest in needed_digests(writing):
            with contextlib.suppress(FileNotFoundError):
                os.link(files.path(digest), links / "mail" / digest)
        with contextlib.closing(sqlite3.connect(links / NAME, isolation_level=None)) as copy:
            reading.backup(copy)
            writing.execute("ROLLBACK")
            # One file, for programs that copy files.
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute(TAKEN)
            copy.execute("INSERT INTO backup VALUES (?)", (time.time(),))


def _connected(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(directory / NAME, isolation_level=None, timeout=_BUSY_S)


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError for a database of a later release."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StoreError(
            f"{path}: is of version {version}, this release knows {VERSION}: use the release that wrote it"
        )


def _copied(links: Path, target: Path) -> Backup:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    others = [each.name for each in target.iterdir() if each.name not in (NAME, "mail", "incoming")]
    if others and not (target / NAME).exists():
        raise StoreError(f"{target}: has {others[0]}: expected an empty directory, or an earlier backup")
    files = MailFiles(target)
    files.sweep(_Everything())
    with contextlib.closing(sqlite3.connect(links / NAME)) as copy:
        needed = needed_digests(copy)
        by_state = count_by(copy, "SELECT state, count(*) FROM held GROUP BY state")
    new, size_bytes, wrong = 0, 0, []
    for digest in sorted(needed):
        there = files.path(digest)
        try:
            size = (links / "mail" / digest).stat().st_size
            if not there.exists() or there.stat().st_size != size:
                copy_mail(links / "mail" / digest, digest, files)
                new += 1
        except FileNotFoundError:
            wrong.append(f"the file {digest} is missing in the store")
        except DamagedFileError as error:
            wrong.append(str(error))
        else:
            size_bytes += size
    put_in_place(links / NAME, target / NAME)
    files.sweep(needed)
    return Backup(by_state, len(needed) - len(wrong), new, size_bytes, tuple(wrong))


class _Everything:
    """Every digest: what is swept is what a killed backup was writing."""

    def __contains__(self, _digest: object) -> bool:
        return True


class DamagedFileError(Exception):
    """A file that has other bytes than its name says, in words."""


def copy_mail(source: Path, digest: str, files: MailFiles) -> None:
    """Put a copy of a mail among other files, synced. Raises DamagedFileError, OSError."""
    incoming = files.begin()
    try:
        with source.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                incoming.write(piece)
        if incoming.finish() != digest:
            raise DamagedFileError(f"{source.name}: its bytes are others than when it arrived")
        files.keep(incoming, digest)
    finally:
        incoming.drop()


def put_in_place(source: Path, path: Path) -> None:
    """A copy of a file under a name, whole or not at all, on disk when this returns."""
    new = path.with_name(f"{path.name}.new")
    shutil.copyfile(source, new)
    new.chmod(0o600)
    with new.open("rb+") as file:
        os.fsync(file.fileno())
    new.replace(path)
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
