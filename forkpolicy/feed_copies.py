"""The last good copy of each feed (a source `https://...`), next to the tables that are compiled from it.

A copy is a file with the feed's text and a note, a JSON file that says what the text is, when its server last confirmed
it, and since when the server has failed. Both are of one table and one URL: `.TABLE.HASH.copy`, `.TABLE.HASH.feed`.
forkpolicy-compile writes them; `check`, `status` and the metrics read the notes alone. No note has a password.
Writing raises OSError; reading returns nothing where there is no note that can be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.documents import InvalidDocumentError, parse, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

NOTE_SUFFIX: Final = ".feed"
TEXT_SUFFIX: Final = ".copy"
_MAX_NOTE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class FeedNote:
    """What is known of a copy. `url`: as messages show it; `digest`: SHA-256 of the text; `etag` and `last_modified`
    as the server sent them. Times are seconds since 1970: `fetched`, `confirmed` by the server as still its own, and
    `failing_since`, 0 while the last attempt succeeded, else `reason` says why it failed.
    """

    table: str
    url: str
    digest: str
    size_bytes: int
    fetched: float
    confirmed: float
    etag: str = ""
    last_modified: str = ""
    failing_since: float = 0.0
    reason: str = ""


def text_path(directory: Path, table: str, url: str) -> Path:
    """The file with the text of a copy."""
    return directory / f".{table}.{_hash(url)}{TEXT_SUFFIX}"


def read_note(directory: Path, table: str, url: str) -> FeedNote | None:
    """What is known of one copy."""
    return _read(_note_path(directory, table, url))


def notes_of(directory: Path, tables: Collection[str]) -> Iterator[FeedNote]:
    """Those of some tables, by table and URL."""
    with contextlib.suppress(OSError):
        for path in sorted(directory.glob(f".*{NOTE_SUFFIX}")):
            note = _read(path)
            if note and note.table in tables:
                yield note


def write_copy(directory: Path, url: str, note: FeedNote, aside: Path, text: Path | None) -> None:
    """Replace a note, written to the path `aside` first, and by the file `text` what it is of, unless that is the same.

    Nothing is replaced before all of it is on the disk: a text and the note of another one are no copy.
    """
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
        # Whatever the umask: `status` and the metrics process read it as other users.
        os.fchmod(fd, 0o644)
        file.write(json.dumps(plain(note), indent=1).encode())
        file.flush()
        os.fsync(fd)
    if text:
        text.replace(text_path(directory, note.table, url))
    aside.replace(_note_path(directory, note.table, url))


def forget_others(directory: Path, table: str, urls: Collection[str]) -> None:
    """Remove the copies of a table that are of no URL of it any more. Raises OSError."""
    kept = {f".{table}.{_hash(url)}" for url in urls}
    for suffix in (NOTE_SUFFIX, TEXT_SUFFIX):
        for path in directory.glob(f".*{suffix}"):
            stem = path.name.removesuffix(suffix)
            if stem.rpartition(".")[0] == f".{table}" and stem not in kept:
                path.unlink(missing_ok=True)


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _note_path(directory: Path, table: str, url: str) -> Path:
    return directory / f".{table}.{_hash(url)}{NOTE_SUFFIX}"


def _read(path: Path) -> FeedNote | None:
    with contextlib.suppress(OSError, ValueError, InvalidDocumentError):
        # The directory may be another user's, and opening a pipe would wait for as long as that user likes.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return parse(FeedNote, json.loads(file.read(_MAX_NOTE_BYTES)), others=True)
    return None
