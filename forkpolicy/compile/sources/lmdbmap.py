"""`lmdb:FILE`: another LMDB map of Postfix, as `postmap lmdb:FILE` writes it. FILE with or without `.lmdb`.

Read under the lock that Postfix's own programs take on the file, so that a running postmap is never read half-way. Who
may write to the file can hold that lock: it is not waited for without end.
"""

from __future__ import annotations

import fcntl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import lmdb

from forkpolicy.lock import LockHeldError, take
from forkpolicy.postfix.folding import warnings_for
from forkpolicy.tables.format import ends_as_table
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A postmap of millions of entries takes less.
PATIENCE_S: Final = 60.0
# What postalias adds to every map for the benefit of NIS.
_NOT_ENTRIES: Final = ("YP_LAST_MODIFIED", "YP_MASTER_NAME")


@dataclass(slots=True)
class LmdbSource:
    """One map."""

    name: str
    path: Path
    warnings: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """All entries. Raises ValueError, OSError."""
        with self.path.open("rb") as file:
            try:
                take(self.path, file.fileno(), fcntl.lockf, fcntl.LOCK_SH, PATIENCE_S)
                yield from _rows_of(self.path)
                self.warnings += warnings_for(self.path.with_suffix(""))
            except LockHeldError as error:
                raise ValueError(str(error)) from error
            except lmdb.Error as error:
                raise ValueError(f"{self.path} is not an LMDB map: {error}") from error


def _rows_of(path: Path) -> Iterator[Row]:
    size = path.stat().st_size
    with (
        lmdb.open(str(path), map_size=max(size, 1), subdir=False, readonly=True, lock=False, create=False) as env,
        env.begin() as txn,
        txn.cursor() as cursor,
    ):
        # LMDB maps the file: a page that is not there would end us by SIGBUS, without a word.
        if (env.info()["last_pgno"] + 1) * env.stat()["psize"] > size:
            raise ValueError(f"{path} is cut off: make it again with postmap")
        if ends_as_table(path):
            raise ValueError(f"{path} is a forkpolicy table and not a map of postmap: name its sources instead")
        for key, value in cursor:
            # Postfix stores the C strings' final NUL with both.
            text = key.rstrip(b"\0").decode("utf-8", "surrogateescape")
            if text not in _NOT_ENTRIES:
                yield Row(text, value.rstrip(b"\0").decode("utf-8", "surrogateescape") or None)


def open_source(argument: str, base: Path) -> LmdbSource:
    """The source of a path. Raises ValueError."""
    if not argument:
        raise ValueError("expected lmdb:FILE")
    path = base / argument
    if path.suffix != ".lmdb":
        path = path.with_name(f"{path.name}.lmdb")
    return LmdbSource(f"lmdb:{path}", path)
