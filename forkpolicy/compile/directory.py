"""The tables directory: one compile at a time, files that appear whole, no leftovers.

Everything is written under a name that begins with a dot, synced, and renamed; under the lock every such name belongs
to us or to no live process. What stands in a table's place and is not a table of ours (a map that postmap wrote, when
`tables` names Postfix's own directory) is never replaced. Raises CannotWriteError with the reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError
from forkpolicy.lock import locked as file_locked
from forkpolicy.tables.format import SUFFIX, ends_as_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOCK: Final = ".compile.lock"
_ASIDE: Final = ".aside"
# As `TablesDirectory.aside` makes them; other hidden files of the directory are not ours.
_ASIDE_NAME: Final = re.compile(rf"\..+{re.escape(SUFFIX)}\.[0-9]+[^/]*{re.escape(_ASIDE)}")
# The largest tables take minutes, and the timers of all tables may come at once.
PATIENCE_S: Final = 600.0


class TablesDirectory:
    """Where tables are written; made by `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def table(self, name: str) -> Path:
        """The file of a table."""
        return self.path / f"{name}{SUFFIX}"

    def aside(self, name: str, part: str = "") -> Path:
        """A name for something unfinished that belongs to a table."""
        return self.path / f".{name}{SUFFIX}.{os.getpid()}{part}{_ASIDE}"

    def refuse_foreign(self, name: str) -> None:
        """Raises CannotWriteError where something else than a table of ours has the table's name."""
        path = self.table(name)
        try:
            status = path.lstat()
            # An empty file has nothing that could be lost.
            if stat.S_ISREG(status.st_mode) and (not status.st_size or ends_as_table(path)):
                return
        except FileNotFoundError:
            return
        except OSError as error:
            reason = error.strerror or error
            raise CannotWriteError(f"{path} cannot be read, and is not replaced unread: {reason}") from error
        is_link = stat.S_ISLNK(status.st_mode)
        kind = "a symbolic link" if is_link else "not a forkpolicy table, or one that was truncated"
        raise CannotWriteError(f"{path} is {kind}, and is not replaced: move it away, and compile again")

    def put_in_place(self, aside: Path, name: str) -> None:
        """Rename a finished and synced file to its table's name, for good."""
        self.refuse_foreign(name)
        with writing(self.table(name)):
            aside.replace(self.table(name))
            directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def remove_leftovers(self) -> int:
        """Remove what dead compiles left behind; how many files that were."""
        leftovers = [each for each in self.path.iterdir() if _ASIDE_NAME.fullmatch(each.name)]
        for each in leftovers:
            each.unlink(missing_ok=True)
        return len(leftovers)


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None]) -> Iterator[TablesDirectory]:
    """The directory, made if it is missing, for this process alone; a second compile waits for the first, with a word,
    and gives up after ten minutes.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)

    def wait(holder: str) -> None:
        say(f"another forkpolicy-compile is running in {path} ({holder}): waiting for it, {PATIENCE_S:g} s at most")

    with file_locked(path / _LOCK, PATIENCE_S, wait):
        directory = TablesDirectory(path)
        with writing(path):
            directory.remove_leftovers()
        try:
            yield directory
        finally:
            with contextlib.suppress(OSError):
                directory.remove_leftovers()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError into CannotWriteError that names the path."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise CannotWriteError(f"{where} cannot be written: {error.strerror or error}") from error
