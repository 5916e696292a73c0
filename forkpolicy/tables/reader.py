"""Open a compiled table and look things up in it.

Called by workers (through `tables/live_table.py`) and by commands. Files are immutable: a new table is a new file under
the old name, so one read transaction lives as long as the table is open, without lock file and reader slots. Open
after the fork, never before: LMDB environments do not survive it.

A `Table` is one view of a file: which keys a text has depends on the recipient_delimiter of its policy. The file itself
is mapped once in a process, whatever the names that lead to it: LMDB refuses to open one twice. So a reload, a shadow
or a comparison of two policies may look at one file in two ways.

Every problem with a file is a TableError, raised when it is opened; a look-up answers with an entry's raw bytes or
None, and what it raises (a disk that fails under the map) is for the caller's `on_error`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import lmdb

from forkpolicy.errors import TableError
from forkpolicy.tables import format as layout
from forkpolicy.tables.format import Entry, Kind, TableInfo, Trailer
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.tables.kinds.kind import Find


class InUseError(TableError):
    """The file is not what it was, and cannot be opened again before others have closed it."""


class VerifiedFile(NamedTuple):
    """An open table file whose content is what was written. Its holder closes `fd` or opens it as a Table."""

    path: str
    fd: int
    trailer: Trailer
    identity: tuple[int, ...]

    def close(self) -> None:
        """Give the file back unopened."""
        os.close(self.fd)


class MappedFile:
    """One file in LMDB's hands, shared by every table that is open on it, and closed with the last of them."""

    __slots__ = ("_env", "entries", "identity", "raw_info", "tables", "txn")

    # Of this process, by device and inode. Threads of a console open and close tables at once.
    _mapped: ClassVar[dict[tuple[int, ...], MappedFile]] = {}
    _one: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, file: VerifiedFile) -> None:
        self.identity = file.identity
        self.tables = 0
        self._env, self.txn, self.entries, self.raw_info = _open_environment(file)

    @classmethod
    def of(cls, file: VerifiedFile) -> MappedFile:
        """The one of a verified file, for one table more. Raises TableError, and what LMDB raises."""
        inode = file.identity[:2]
        with cls._one:
            mapped = cls._mapped.get(inode)
            if mapped is None:
                mapped = cls._mapped[inode] = cls(file)
            elif mapped.identity != file.identity:
                # What is mapped is no longer what was verified when it was opened, and others look things up in it.
                raise InUseError("was written in place, and what was there before is still in use: try again later")
            mapped.tables += 1
            return mapped

    def let_go(self) -> None:
        """One table less."""
        with self._one:
            self.tables -= 1
            if not self.tables:
                del self._mapped[self.identity[:2]]
                self.txn.abort()
                self._env.close()


class Table:
    """One open table. `find` takes the request's own text, one for each column, and returns an entry's raw bytes or
    None.
    """

    __slots__ = (
        "_mapped",
        "fd",
        "find",
        "identity",
        "info",
        "kind",
        "name",
        "path",
        "size_bytes",
        "version",
    )

    def __init__(self, file: VerifiedFile, name: str, kind: Kind, delimiter: str) -> None:
        self.path, self.name, self.kind = file.path, name, kind
        self.identity = file.identity
        self.size_bytes = file.trailer.lmdb_bytes + layout.TRAILER_BYTES
        self.fd = file.fd
        self._mapped = mapped = MappedFile.of(file)
        try:
            self.info = TableInfo.unpack(mapped.raw_info)
            _check_kind(self.info, name, kind)
            self.version = (self.info.content_digest or file.trailer.digest)[:12]
            cursor = mapped.txn.cursor(mapped.entries)
            self.find: Find = KINDS[kind].finder(cursor, self.info.traits, delimiter)
        except BaseException:
            mapped.let_go()
            raise

    def entry(self, raw: bytes) -> Entry:
        """What `find` returned, as people read it."""
        return layout.unpack_entry(raw, self.info.sources)

    def value(self, raw: bytes) -> str | None:
        """The value alone of what `find` returned: a fifteenth of the time for a network."""
        return layout.unpack_value(raw)

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its raw entry, in key order."""
        with self._mapped.txn.cursor(self._mapped.entries) as cursor:
            yield from self._with_keys(cursor)

    def entries_from(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The same from the first key that is not below `key`."""
        with self._mapped.txn.cursor(self._mapped.entries) as cursor:
            if cursor.set_range(key):
                yield from self._with_keys(cursor)

    def _with_keys(self, pairs: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
        return pairs if KINDS[self.kind].stores_ranges else ((key, raw + key) for key, raw in pairs)

    def close(self) -> None:
        """Close map and file; a previous version that was renamed away vanishes with its last reader."""
        self.find = _closed
        self._mapped.let_go()
        os.close(self.fd)


def open_table(path: str, name: str, kind: Kind, *, delimiter: str = "") -> Table:
    """Verify a table and open it. Raises TableError with the reason."""
    return open_verified(verify_file(path), name, kind, delimiter=delimiter)


def verify_file(path: str) -> VerifiedFile:
    """Open a file and check its digest; touches no LMDB, so that it may run in any thread. Raises TableError."""
    try:
        # Whatever the file is, opening it must not wait: the other tables are loaded after this one.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise TableError(f"{path} {_why_not_open(error)}") from error
    return verify_descriptor(fd, path)


def verify_descriptor(fd: int, path: str) -> VerifiedFile:
    """The same of an open file, which is closed on failure; `path` is what it is called. Raises TableError."""
    try:
        status = os.fstat(fd)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise TableError("is not a file: a pipe, a device or the like")  # noqa: TRY301 - reported with the path below
        return VerifiedFile(path, fd, layout.verify(fd), identity_of(status))
    except TableError as error:
        os.close(fd)
        raise TableError(f"{path} {error}") from error


def open_verified(file: VerifiedFile, name: str, kind: Kind, *, delimiter: str = "") -> Table:
    """Open a verified file as a table; on failure the file is closed. Raises TableError."""
    try:
        return Table(file, name, kind, delimiter)
    except InUseError as error:
        file.close()
        raise InUseError(f"{file.path} {error}") from error
    except (lmdb.Error, TableError) as error:
        file.close()
        raise TableError(f"{file.path} {_why_not_table(error)}") from error


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """What tells one file under a name from the next: a rename changes it, and so does a write in place."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _why_not_open(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there: run forkpolicy-compile"
    if isinstance(error, PermissionError):
        return "may not be read by this user: check the rights of the file and its directories"
    return f"cannot be opened: {error.strerror or error}"


def _why_not_table(error: Exception) -> str:
    if isinstance(error, lmdb.VersionMismatchError | lmdb.InvalidError):
        return f"is not an LMDB file of this version: {error}"
    return str(error) if isinstance(error, TableError) else f"cannot be opened by LMDB: {error}"


def _open_environment(
    file: VerifiedFile,
) -> tuple[lmdb.Environment, lmdb.Transaction[bytes], lmdb._Database, bytes]:
    # By descriptor, so that the file that is mapped is the one that was verified, whatever was renamed meanwhile.
    # Mapped no larger than it is: a fixed huge map fails under `ulimit -v` and on 32 bits.
    env = lmdb.open(
        f"/proc/self/fd/{file.fd}",
        map_size=file.trailer.lmdb_bytes,
        subdir=False,
        readonly=True,
        lock=False,
        create=False,
        readahead=False,
        max_dbs=2,
    )
    try:
        entries = env.open_db(layout.ENTRIES_DB, create=False)
        info_db = env.open_db(layout.INFO_DB, create=False)
        txn = env.begin()
        raw_info = txn.get(layout.INFO_KEY, b"", db=info_db)
    except BaseException:
        env.close()
        raise
    return env, txn, entries, raw_info


def _check_kind(info: TableInfo, name: str, kind: Kind) -> None:
    if info.kind != kind:
        raise TableError(f'is a table of kind {info.kind}, and the policy declares "{name}" as {kind}')
    if info.name != name:
        raise TableError(f'is the table "{info.name}" under the name of "{name}": compile, do not copy')


def _closed(*_texts: str) -> bytes | None:
    """The file stays mapped while others use it: what has closed a table must not go on with it unnoticed."""
    raise TableError("the table is closed")


def open_once() -> None:
    """Open LMDB for the first time, and close it: py-lmdb 3 imports a module of its own then. For a process that will
    not be allowed to read that module any more. Of a file in memory: no directory is needed.
    """
    fd = os.memfd_create("forkpolicy", os.MFD_CLOEXEC)
    try:
        # Without /proc no table can be opened either; the start says so.
        with contextlib.suppress(lmdb.Error):
            lmdb.open(f"/proc/self/fd/{fd}", map_size=1 << 20, subdir=False, lock=False).close()
    finally:
        os.close(fd)
