"""Write one table's LMDB file, information and trailer, under a name aside.

Keys come in ascending order and are appended, a transaction a batch. The map begins small and doubles when it is full,
so that no size must be guessed; nothing is written through the map, because a full disk would then be a SIGBUS
instead of an error. From beginning to end it is the file that was made here, whatever its name leads to meanwhile: the
directory may be another user's. Raises CannotWriteError.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import lmdb

from forkpolicy.compile.directory import writing
from forkpolicy.errors import CannotWriteError
from forkpolicy.tables import format as layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from forkpolicy.compile.sorting.tally import Pair

_FIRST_MAP_BYTES: Final = 1 << 20
_NO_SPACE_BYTES: Final = 1 << 16

# The file format of LMDB 0.9, which Postfix and every tool of it reads.
_LMDB_MAJOR: Final = 0


class TableWriter:
    """One table file on its way. `put` batches, `finish`, and `close` in any case; the caller removes what failed."""

    def __init__(self, path: Path, kind: layout.Kind) -> None:
        self.path = path
        self._content = layout.ContentDigest(kind)
        self._map_bytes = _FIRST_MAP_BYTES
        with writing(path):
            self._file = path.open("xb+", buffering=0)
        try:
            self._env = lmdb.open(
                f"/proc/self/fd/{self._file.fileno()}",
                map_size=self._map_bytes,
                subdir=False,
                mode=0o644,
                lock=False,
                sync=False,
                max_dbs=2,
                lib_version=_LMDB_MAJOR,
            )
            self._entries = self._env.open_db(layout.ENTRIES_DB)
            self._info = self._env.open_db(layout.INFO_DB)
        except lmdb.Error as error:
            self._file.close()
            raise _cannot_write(path, error) from error

    def put(self, batch: Iterable[Pair]) -> None:
        """Append a batch whose keys are above all that came before."""
        pairs = list(batch)
        self._write(pairs, self._entries)
        self._content.add(pairs)

    def finish(self, info: layout.TableInfo) -> layout.Trailer:
        """Write the information with the digest of the content, sync, seal; the file is ready to be renamed."""
        info = replace(info, content_digest=self._content.hexdigest())
        self._write([(layout.INFO_KEY, info.pack())], self._info)
        try:
            self._env.sync(True)
            pages = self._env.info()["last_pgno"] + 1
            lmdb_bytes = pages * self._env.stat()["psize"]
        except lmdb.Error as error:
            raise _cannot_write(self.path, error) from error
        self._env.close()
        with writing(self.path), self._file:
            return _seal(self._file.fileno(), lmdb_bytes)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._env.close()
        self._file.close()

    def _write(self, batch: list[Pair], database: lmdb._Database) -> None:
        while True:
            try:
                with self._env.begin(write=True, db=database) as txn:
                    txn.cursor().putmulti(batch, append=True)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise _cannot_write(self.path, error) from error
            else:
                return

    def _grow(self) -> None:
        self._map_bytes *= 2
        try:
            self._env.set_mapsize(self._map_bytes)
        except lmdb.Error as error:
            raise _cannot_write(self.path, error) from error


def _seal(fd: int, lmdb_bytes: int) -> layout.Trailer:
    trailer = layout.seal(fd, lmdb_bytes)
    # Workers run as another user than the compiler; what may be read is a matter of the directory's mode.
    os.fchmod(fd, 0o644)
    os.fsync(fd)
    return trailer


def _cannot_write(path: Path, error: lmdb.Error) -> CannotWriteError:
    # LMDB calls a write that a full disk cut short an input/output error.
    disk = os.statvfs(path.parent)
    is_full = disk.f_bavail * disk.f_frsize < _NO_SPACE_BYTES
    return CannotWriteError(f"{path} cannot be written: {os.strerror(errno.ENOSPC) if is_full else error}")
