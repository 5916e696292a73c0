"""Applies changes of text files that the console owns, and undoes them: whole or not at all, one at a time.

In this order: the lock; what was left of a process that was killed is mended; the text must be what the author saw;
it is checked; the change is noted as pending; the file is replaced; the server (or the compile) takes it; the change is
noted as applied. Whatever refuses it has the previous file put back. A process that is killed in between leaves the
whole previous or the whole new file, and the next one mends: what was not yet in the file was not changed, what is in
the file is offered to the server again.

A target says what a file is and who loads it (rules.py, tables.py). Raises CannotWriteError with what to do.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from forkpolicy.console.change.merging import merge, tidy
from forkpolicy.console.change.text_files import digest_of, put_back, read_text, replace_text
from forkpolicy.console.change.versions import Change
from forkpolicy.errors import CannotWriteError
from forkpolicy.lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from forkpolicy.console.change.drafts import Checked
    from forkpolicy.console.change.merging import Merged
    from forkpolicy.console.change.text_files import Text
    from forkpolicy.console.change.versions import Versions

LOCK: Final = ".change.lock"
# A reload of the largest policy takes most of it.
_PATIENCE_S: Final = 60.0
MOST_NOTE_CHARS: Final = 1000
FOUND: Final = "somebody else"


class Audit(Protocol):
    """Where it stands who has changed what. What cannot be noted is not done."""

    def note(self, who: str, what: str, on: str = "", reason: str = "", client: str = "") -> None:
        """One entry, for good; `client`: the address of the browser. Raises CannotWriteError, sqlite3.Error."""
        ...


@dataclass(frozen=True, slots=True)
class Force:
    """What became of a file that was offered. `state`: `in force`, `refused`, with the reasons in `said`, or `unknown`:
    nobody answered, and it comes into force when somebody takes it.
    """

    state: str
    said: tuple[str, ...] = ()


class Target(Protocol):
    """A file, and who loads it."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    def check(self, text: str) -> Checked:
        """What is wrong with a text in its place."""
        ...

    def offer(self) -> Force:
        """Have what is in the file now taken."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """It is in the file; `force` says whether it is in force, too."""

    n: int
    force: Force


@dataclass(frozen=True, slots=True)
class Same:
    """The file has that text already, or the change is undone already."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """It was not written, for what the check has found."""

    checked: Checked


@dataclass(frozen=True, slots=True)
class Refused:
    """The server has refused it, and the previous text is in the file again."""

    n: int
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Differs:
    """Somebody has changed the file since the author has seen it. `base`: what the author saw, None where that is not
    known; `merged`: both changes, where the base is known; `later`: the change that is in the way of an undo.
    """

    mine: str
    current: Text
    base: str | None
    merged: Merged | None
    later: Change | None = None


class _Author(NamedTuple):
    """Of a change. `undoes`: the number of the change that it takes back."""

    who: str
    note: str
    client: str
    undoes: int | None = None


Outcome = Applied | Same | Wrong | Refused | Differs


class Engine:
    """Changes of targets, with their versions and the lock in the console's directory."""

    def __init__(
        self, directory: Path, versions: Versions, audit: Audit, clock: Callable[[], float] = time.time
    ) -> None:
        self.versions = versions
        self._directory, self._audit, self._clock = directory, audit, clock

    def apply(self, target: Target, seen: str, text: str, who: str, note: str, client: str = "") -> Outcome:
        """Put a text in the place of what the author saw, which is the version of the digest `seen`. `client`: the
        address of the author's browser, for the audit.
        """
        with self._locked(target):
            return self._apply(target, seen, tidy(text), _Author(who, note, client))

    def undo(self, target: Target, change: Change, who: str, note: str, client: str = "") -> Outcome:
        """Take back what one change has done, and keep what later ones have. Raises CannotWriteError where its texts
        are not kept any more.
        """
        with self._locked(target):
            if self.versions.undone_by(change.n):
                return Same()
            after, before = self.versions.text(change.digest), self.versions.text(change.digest_before)
            if after is None or before is None:
                raise CannotWriteError(f"the text of change {change.n} is not kept any more: it is too long ago")
            current = read_text(target.path)
            merged = merge(after.text, current.text, before.text)
            if merged.conflicts:
                return Differs(before.text, current, after.text, merged, self._in_the_way(change, after, before))
            return self._apply(target, current.digest, merged.text, _Author(who, note, client, change.n))

    def mend(self, target: Target) -> None:
        """What a process that was killed has left."""
        with self._locked(target):
            pass

    @contextlib.contextmanager
    def _locked(self, target: Target) -> Iterator[None]:
        """Alone, with everything mended."""
        with locked(self._directory / LOCK, _PATIENCE_S):
            for change in self.versions.pending():
                if change.path == str(target.path):
                    self._mend(target, change)
            yield

    def _apply(self, target: Target, seen: str, text: str, author: _Author) -> Outcome:
        current = read_text(target.path)
        if current.digest != seen:
            return self._differs(current, seen, text)
        if text == current.text:
            return Same()
        checked = target.check(text)
        if not checked.is_right:
            return Wrong(checked)
        self._note_found(target, current)
        before = current.digest if current.exists else None
        note = author.note[:MOST_NOTE_CHARS]
        new = self._change(target, "pending", author.who, note, before, digest_of(text), author.undoes)
        n = self.versions.begin(new, current, text)
        what = f"undoes change {author.undoes} by change {n}" if author.undoes else f"applies change {n}"
        try:
            self._audit.note(author.who, what, str(target.path), note, author.client)
            replace_text(target.path, text)
        except (CannotWriteError, sqlite3.Error) as error:
            with contextlib.suppress(CannotWriteError):
                # What stays pending is mended: the file shows that nothing was changed.
                self.versions.end(n, "refused", str(error))
            raise CannotWriteError(str(error)) from error
        return self._offer(target, self.versions.get(n) or new, current)

    def _offer(self, target: Target, change: Change, before: Text) -> Outcome:
        """Have the file taken, or put the previous one back."""
        force = target.offer()
        said = "\n".join(force.said)
        if force.state == "refused":
            put_back(target.path, before)
            self.versions.end(change.n, "refused", said)
            with contextlib.suppress(CannotWriteError, sqlite3.Error):
                self._audit.note(change.who, f"change {change.n} was refused by the server", change.path, change.note)
            return Refused(change.n, force.said)
        # A full disk keeps it pending, and the next change mends that: it is in the file.
        with contextlib.suppress(CannotWriteError):
            self.versions.end(change.n, "applied", said)
        return Applied(change.n, force)

    def _mend(self, target: Target, change: Change) -> None:
        current = read_text(target.path)
        before = self.versions.text(change.digest_before)
        if current.digest == change.digest and before:
            self._offer(target, change, before)
        elif before and current == before:
            self.versions.end(change.n, "refused", "the console was stopped before it had written the file")
        else:
            self.versions.end(change.n, "refused", "the console was stopped, and the file was changed since")

    def _differs(self, current: Text, seen: str, text: str) -> Differs:
        base = self.versions.text(seen)
        merged = merge(base.text, text, current.text) if base else None
        return Differs(text, current, base.text if base else None, merged)

    def _in_the_way(self, change: Change, after: Text, before: Text) -> Change | None:
        """The first later change that touches the same lines."""
        for each in self.versions.since(change.path, change.n):
            text = self.versions.text(each.digest)
            if text and merge(after.text, text.text, before.text).conflicts:
                return each
        return None

    def _note_found(self, target: Target, current: Text) -> None:
        """A version of the file that no change of the console has made."""
        last = self.versions.last(str(target.path))
        before = last.digest if last else None
        if current.exists and current.digest != before:
            new = self._change(target, "found", FOUND, "found when the next change was applied", before, current.digest)
            self.versions.begin(new, current, current.text)

    def _change(
        self,
        target: Target,
        state: str,
        who: str,
        note: str,
        before: str | None,
        after: str,
        undoes: int | None = None,
    ) -> Change:
        return Change(0, str(target.path), state, int(self._clock() * 1000), who, note, before, after, undoes, "")
