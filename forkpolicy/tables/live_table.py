"""A table's place in a running worker: holds the version that serves and loads the next.

A slot never goes from a good table to none: when a new file is refused, the one before stays in use and `refused` says
why the new one is not. (A file that was written in place has overwritten the one before: should LMDB not open it,
although it is whole, there is nothing to go back to.) While there never was a good one, `find` raises TableError, which
the policy's evaluation turns into `on_error`: a table that cannot be read is never "no match".

Taking up a new table has two steps, because the first reads the whole file: `prepare` (any thread, touches no LMDB)
and `take` (the serving loop, 0.1 ms). `refresh` is both.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from forkpolicy.errors import TableError
from forkpolicy.tables import reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.status import TableStatus
    from forkpolicy.tables.format import Entry, Kind
    from forkpolicy.tables.reader import Table, VerifiedFile


class LiveTable:
    """One declared table in one worker. `find` is replaced when a new version is loaded."""

    __slots__ = ("_refused_identity", "delimiter", "find", "kind", "name", "path", "refused", "table")

    def __init__(self, name: str, kind: Kind, path: str, delimiter: str = "") -> None:
        self.name, self.kind, self.path, self.delimiter = name, kind, path, delimiter
        self.table: Table | None = None
        self.refused = ""
        self._refused_identity: tuple[int, ...] | None = None
        self.find: Callable[..., bytes | None] = self._find_nothing

    @property
    def version(self) -> str:
        """The version that serves; empty while there is none."""
        return self.table.version if self.table else ""

    def entry(self, raw: bytes) -> Entry:
        """What `find` just returned, as people read it."""
        return self._serving().entry(raw)

    def value(self, raw: bytes) -> str | None:
        """The value of what `find` just returned."""
        return self._serving().value(raw)

    def changed(self) -> bool:
        """Whether the file under the table's name is another than the one that serves or was refused: one stat."""
        try:
            identity = reader.identity_of(os.stat(self.path))  # noqa: PTH116 - asked every second by every worker
        except OSError as error:
            # The table in use stays, and status shows why no newer one can be loaded.
            self._refuse(None, self._why_unreadable(error))
            return False
        if self.table and identity == self.table.identity:
            self._refuse(None, "")
            return False
        return identity != self._refused_identity

    def prepare(self) -> VerifiedFile | None:
        """Verify the file if it changed; None if there is nothing to load. For any thread."""
        if not self.changed():
            return None
        try:
            identity = reader.identity_of(os.stat(self.path))  # noqa: PTH116 - as above
            return reader.verify_file(self.path)
        except TableError as error:
            self._refuse(identity, str(error))
        except OSError as error:
            self._refuse(None, self._why_unreadable(error))
        return None

    def _why_unreadable(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return f"{self.path} does not exist: compile it with forkpolicy-compile {self.name}"
        return f"{self.path} cannot be read: {error.strerror}"

    def take(self, file: VerifiedFile) -> bool:
        """Serve from a verified file from now on; False, with `refused` saying why, if it cannot be."""
        if self.table and file.identity[:2] == self.table.identity[:2]:
            # Touched, or written in place and verified since: LMDB opens no file twice in one process, and what is
            # mapped is no longer what was opened.
            self.close()
        try:
            table = reader.open_verified(file, self.name, self.kind, delimiter=self.delimiter)
        except reader.InUseError as error:
            # Of no identity: the next look tries again.
            self._refuse(None, str(error))
            return False
        except TableError as error:
            self._refuse(file.identity, str(error))
            return False
        before, self.table, self.find = self.table, table, table.find
        self._refuse(None, "")
        if before:
            before.close()
        return True

    def fall_back(self, fd: int) -> bool:
        """Serve from the last good file of other workers, while the one under the table's name is refused; whether
        that could be. The descriptor is ours to close.
        """
        # Its path may lead to nothing or to something else by now, so its owner has to vouch for it: a worker that was
        # captured cannot write the directory, and a file that it has made elsewhere must not be what others serve.
        if _is_made_by_us(fd, self.path):
            os.close(fd)
            return False
        refused = self._refused_identity, self.refused
        try:
            return self.take(reader.verify_descriptor(fd, self.path))
        except TableError:
            return False
        finally:
            self._refuse(*refused)

    def refresh(self) -> bool:
        """Load a new version if there is one; whether there was one."""
        file = self.prepare()
        return self.take(file) if file else False

    def status(self) -> TableStatus:
        """What this worker serves under the table's name, for `forkpolicy status`."""
        from forkpolicy.status import TableStatus  # noqa: PLC0415 - commands without a master need no status

        info = self.table.info if self.table else None
        return TableStatus(
            name=self.name,
            kind=self.kind,
            version=self.version,
            entries=info.entries if info else 0,
            created=info.created if info else 0.0,
            inode=self.table.identity[1] if self.table else 0,
            refused=self.refused,
            expires=info.expires if info else "",
        )

    def close(self) -> None:
        """Close the table; `find` raises from now on."""
        if self.table:
            self.find = self._find_nothing
            self.table.close()
            self.table = None

    def _refuse(self, identity: tuple[int, ...] | None, reason: str) -> None:
        self._refused_identity, self.refused = identity, reason

    def _serving(self) -> Table:
        if self.table is None:
            raise TableError(self.refused or f"table {self.name} is not loaded")
        return self.table

    def _find_nothing(self, *_texts: str) -> bytes | None:
        raise TableError(self.refused or f"table {self.name} is not loaded")


def _is_made_by_us(fd: int, path: str) -> bool:
    """Whether a file is our user's in a directory that is not."""
    try:
        owner = os.stat(os.path.dirname(path)).st_uid  # noqa: PTH116, PTH120 - as above
    except OSError:
        return False
    return os.fstat(fd).st_uid == os.geteuid() != owner
