"""Users' lists of a gateway: where they stand, how they change, whether the server has them.

A list is the text source of a table that the policy declares, below the console's directory of tables. Changes of all
threads and processes go one after the other, by a lock file; each replaces a file as a whole. A sender is in one list
of a recipient or in none: who moves from one into the other is added first, so that nobody reads neither.

Raises ConfigError, CannotWriteError, UnreadableError; NotFound where the policy has no such tables; ListMistakeError.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.compile_failures import Failure, failures
from forkpolicy.console.change.compiled import CompiledTable
from forkpolicy.console.change.tables import sources_of
from forkpolicy.console.change.text_files import put_back, read_text, replace_text
from forkpolicy.console.errors import NotFound
from forkpolicy.console.lists.background import InBackground
from forkpolicy.errors import CannotWriteError, ForkpolicyError
from forkpolicy.gateway.lists import BLOCK, FILES, KIND, LISTS, MOST_BYTES, WELCOME, added, entries, own_of, removed
from forkpolicy.loading import table_path
from forkpolicy.lock import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.console.change.rules import Server
    from forkpolicy.console.change.text_files import Text
    from forkpolicy.gateway.lists import Entry
    from forkpolicy.gateway.store_messages import Scope
    from forkpolicy.loading import Loaded
    from forkpolicy.translations import Say

_LOCK: Final = ".lists.lock"
_PATIENCE_S: Final = 10.0
_MOST_LAST: Final = 1000
# Compiled and loaded by every worker within two seconds; on a busy machine somebody looks at the page again.
_WAIT_S: Final = 4.0
_LOOK_AGAIN_S: Final = 0.1
# Of the threads of the console, which has others to answer.
_MOST_WAITING: Final = 3
_log: Final = logging.getLogger("forkpolicy.console")


@dataclass(frozen=True, slots=True)
class UserList:
    """One of them."""

    path: Path
    compiled: CompiledTable

    def read(self) -> Text:
        """What it has now."""
        return read_text(self.path, MOST_BYTES)


class Put(NamedTuple):
    """What a change found and did: the list that the sender was in, and the one that it is in now; empty: none."""

    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Last:
    """The last change of a session, to be undone. `hidden`: how many held mails a block has deleted; None where the
    store did not answer.
    """

    n: int
    entry: Entry
    put: Put
    hidden: int | None


class UserLists:
    """`now`: the policy in the files; `directory`: of the console."""

    def __init__(self, now: Callable[[], Loaded], server: Server, directory: Path) -> None:
        self._now, self._server, self._directory = now, server, directory
        self._compiled: dict[str, tuple[object, bool]] = {}
        self._compiling = InBackground(self._compile)
        self._waiting = BoundedSemaphore(_MOST_WAITING)
        self._last: OrderedDict[str, Last] = OrderedDict()
        self._numbers = itertools.count(1)

    def all(self) -> Mapping[str, UserList]:
        """The lists of this policy, by their names."""
        loaded = self._now()
        return {name: self._list(loaded, name) for name in LISTS}

    def entries(self, scope: Scope) -> Iterator[tuple[str, Entry]]:
        """Those of recipients in a scope, with the name of their list: what is blocked first, the newest first."""
        for name, each in sorted(self.all().items()):
            for entry in entries(each.read().text, scope):
                yield name, entry

    def put(self, entry: Entry, to: str, say: Say, note: Callable[[str], None]) -> Put:
        """Put a sender into a list of a recipient and out of the other one; `to` is empty: out of both. `note`: is
        called with the list that it was in before anything is written.
        """
        lists = self.all()
        with locked(self._directory / _LOCK, _PATIENCE_S):
            texts = {name: each.read() for name, each in lists.items()}
            was = next((name for name in (BLOCK, WELCOME) if _has(texts[name].text, entry)), "")
            new = {
                name: added(each.text, entry, say) if name == to else removed(each.text, entry)
                for name, each in texts.items()
            }
            changed = [name for name in lists if new[name] != texts[name].text or not texts[name].exists]
            changed.sort(key=lambda name: name != to)
            if changed:
                note(was)
                _write([(lists[name].path, texts[name], new[name]) for name in changed])
        if changed:
            self._compiling.ask()
            self._wait()
        return Put(was, to)

    def remember(self, session: str, entry: Entry, put: Put, hidden: int | None) -> None:
        """Keep the last change of a session, for as long as the console runs and not too many others have changed."""
        self._last[session] = Last(next(self._numbers), entry, put, hidden)
        self._last.move_to_end(session)
        while len(self._last) > _MOST_LAST:
            self._last.popitem(last=False)

    def last(self, session: str) -> Last | None:
        """The last change of a session."""
        return self._last.get(session)

    def is_in_force(self) -> bool:
        """Whether the server decides by what is in the files. Raises ForkpolicyError where it does not say."""
        lists = self.all().values()
        status = self._server.status()
        return all(self._is_compiled(each) and each.compiled.is_served_by(status) for each in lists)

    def why_not(self) -> list[str]:
        """Why the last compile was refused, for an administrator."""
        return [line for each in self.all().values() for line in _failure(each).reason.splitlines()]

    def mend(self) -> None:
        """Have compiled what a console that was killed has written."""
        with contextlib.suppress(ForkpolicyError, NotFound):
            if not all(self._is_compiled(each) for each in self.all().values()):
                self._compiling.ask()

    def _compile(self) -> None:
        """Elsewhere a unit of the server's user does it."""
        for each in self.all().values():
            if each.compiled.is_compiled_here:
                for line in each.compiled.compile():
                    _log.warning("%s", line)

    def _wait(self) -> None:
        """Until the server decides by it, or somebody has said why not; some at a time, as others want pages, too."""
        began_s, until_s = time.time(), time.monotonic() + _WAIT_S
        if not self._waiting.acquire(blocking=False):
            return
        try:
            while time.monotonic() < until_s and not self.is_in_force():
                if any(_failure(each).at >= began_s for each in self.all().values()):
                    return
                time.sleep(_LOOK_AGAIN_S)
        except ForkpolicyError as error:
            _log.info("users' lists are written, and the server does not say what it serves: %s", error)
        finally:
            self._waiting.release()

    def _list(self, loaded: Loaded, name: str) -> UserList:
        declaration = loaded.declarations.get(name)
        paths = sources_of(declaration, loaded.settings.console.tables) if declaration else []
        if declaration is None or not paths or declaration.kind != KIND:
            wanted = f"table {name} {KIND} may-shrink {loaded.settings.console.tables}/{FILES[name]}"
            raise NotFound(f"This gateway has no lists of users: the policy {loaded.settings.policy} needs `{wanted}`.")
        return UserList(paths[0], CompiledTable(declaration, loaded.settings, self._server))

    def _is_compiled(self, one: UserList) -> bool:
        """Looked at again when the source or the table is another file."""
        settings, declaration = one.compiled.settings, one.compiled.declaration
        stamps = [_stamp(one.path), _stamp(Path(table_path(settings.tables, declaration.name)))]
        kept = self._compiled.get(declaration.name)
        if kept is None or kept[0] != stamps:
            self._compiled[declaration.name] = kept = (stamps, one.compiled.is_compiled())
        return kept[1]


def _failure(one: UserList) -> Failure:
    """The last compile of a list, if it failed."""
    compiled = one.compiled
    return failures(Path(compiled.settings.tables)).get(compiled.declaration.name, Failure(0.0, ""))


def _has(text: str, entry: Entry) -> bool:
    return any(each[:2] == entry[:2] for each in entries(text, own_of(entry.recipient)))


def _write(changes: list[tuple[Path, Text, str]]) -> None:
    """All of them, or none."""
    written = []
    try:
        for path, before, text in changes:
            written.append((path, before))
            replace_text(path, text)
    except CannotWriteError:
        for path, before in written[:-1]:
            with contextlib.suppress(CannotWriteError):
                put_back(path, before)
        raise


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)
