"""The feeds of one table (its sources by HTTPS) while it is compiled: fetched once each, or the last good copy instead.

A feed that cannot be fetched, or comes damaged, is compiled from its copy, with a warning. What was fetched becomes the
copy only by `keep`, when its table was compiled: a list that the compile refuses never replaces a good one. `KeptFeeds`
has the copies alone, for `check`. Both raise ValueError where there is nothing to read; Feeds raises CannotWriteError
where the tables' directory cannot be written.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from forkpolicy.compile.directory import writing
from forkpolicy.compile.download import Answer, download
from forkpolicy.durations import show_duration
from forkpolicy.feed_copies import FeedNote, forget_others, read_note, text_path, write_copy
from forkpolicy.secrets import masked

if TYPE_CHECKING:
    from pathlib import Path

    from forkpolicy.compile.directory import TablesDirectory


class FeedFiles(Protocol):
    """Where the text of a feed is."""

    def path_of(self, url: str) -> Path:
        """The file to read. Raises ValueError."""
        ...


class KeptFeeds:
    """The copies as the last compile left them."""

    def __init__(self, directory: Path, table: str) -> None:
        self._directory, self._table = directory, table

    def path_of(self, url: str) -> Path:
        """The copy's file. Raises ValueError where there is none."""
        if not self.note_of(url):
            raise ValueError("it was not fetched yet")
        return text_path(self._directory, self._table, url)

    def note_of(self, url: str) -> FeedNote | None:
        """What is known of a copy that is there and complete."""
        note = read_note(self._directory, self._table, url)
        return note if note and _digest_of(text_path(self._directory, self._table, url)) == note.digest else None


class Feeds:
    """The feeds of one table, in one compile. `discard` at its end, in any case."""

    def __init__(self, directory: TablesDirectory, table: str) -> None:
        self._directory, self._table = directory, table
        self._kept = KeptFeeds(directory.path, table)
        self._paths: dict[str, Path] = {}
        self._failed: dict[str, str] = {}
        self._notes: dict[str, FeedNote] = {}
        # What was fetched, and is not the copy yet.
        self._fetched: dict[str, Path] = {}
        # What the operator should know, by URL.
        self.warnings: dict[str, str] = {}

    def path_of(self, url: str) -> Path:
        """The file to read, fetched at the first call. Raises ValueError, CannotWriteError."""
        if url in self._failed:
            raise ValueError(self._failed[url])
        if url not in self._paths:
            self._paths[url] = self._fetch(url)
        return self._paths[url]

    def keep(self) -> None:
        """What was fetched is good: it is the copy from now on. Raises CannotWriteError."""
        directory = self._directory.path
        with writing(directory):
            for url, note in self._notes.items():
                write_copy(directory, url, note, self._directory.aside(self._table, "-note"), self._fetched.get(url))
                self._fetched.pop(url, None)
            forget_others(directory, self._table, self._notes)

    def discard(self) -> None:
        """Remove what was fetched and not kept."""
        for path in self._fetched.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _fetch(self, url: str) -> Path:
        aside = self._directory.aside(self._table, f"-feed{len(self._fetched)}")
        note = self._kept.note_of(url)
        self._fetched[url] = aside
        answer = download(url, note.etag if note else "", note.last_modified if note else "", aside)
        now = round(time.time(), 3)
        if answer.state == "new":
            self._notes[url] = self._note(url, answer, now)
            return aside
        del self._fetched[url]
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if note is None:
            self._failed[url] = f"it cannot be fetched: {answer.reason}"
            raise ValueError(self._failed[url])
        if answer.state == "same":
            self._notes[url] = replace(note, confirmed=now, failing_since=0.0, reason="")
        else:
            self._notes[url] = replace(note, failing_since=note.failing_since or now, reason=masked(answer.reason))
            age = show_duration(max(0.0, now - note.confirmed))
            self.warnings[url] = f"it cannot be fetched: {answer.reason}; its last good copy is used, {age} old"
        return text_path(self._directory.path, self._table, url)

    def _note(self, url: str, answer: Answer, now_s: float) -> FeedNote:
        return FeedNote(
            table=self._table,
            url=masked(url),
            digest=answer.digest,
            size_bytes=answer.size_bytes,
            fetched=now_s,
            confirmed=now_s,
            etag=answer.etag,
            last_modified=answer.last_modified,
        )


def _digest_of(path: Path) -> str:
    """Of a file's content; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
