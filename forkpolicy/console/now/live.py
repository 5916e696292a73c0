"""New decisions as they come, for all who listen: one thread looks once a second while anybody does.

Each listener has a queue with room for so many; one that is too slow loses the oldest, and learns how many. Who comes
back says which decision it saw last, and gets those behind it that are still known.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import TooMany
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found

LOOK_S: Final = 1.0
# So many are shown of a second; of a busy server people read no more.
MOST_A_LOOK: Final = 50
ROOM: Final = 100
_KNOWN: Final = 500
# A decision that was on its way longer is not new.
_NEW_MS: Final = 600_000
MOST_OF_SESSION: Final = 6
MOST_LISTENERS: Final = 100


@dataclass(slots=True, eq=False)
class Listener:
    """One stream. `wake` is called from the thread that looks, when there is something to take. `lost`: decisions for
    which there was no room; `has_more`: and others, nobody knows how many.
    """

    session: str
    accepts: Callable[[Found], bool]
    wake: Callable[[], None]
    last_id: str = ""
    waiting: deque[Found] = field(default_factory=deque)
    lost: int = 0
    has_more: bool = False
    trouble: str = ""

    def put(self, found: Found) -> None:
        """One more; the oldest goes where there is no room."""
        if self.accepts(found):
            if len(self.waiting) >= ROOM:
                self.waiting.popleft()
                self.lost += 1
            self.waiting.append(found)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a listener gets at once; `lost` and `has_more` as in Listener, `trouble`: why nothing can be read."""

    found: list[Found]
    lost: int
    has_more: bool
    trouble: str


class Live:
    """All listeners. `open_history` is called by the thread, once for as long as it runs."""

    def __init__(self, open_history: Callable[[], Reader], clock: Callable[[], float], look_s: float = LOOK_S) -> None:
        self._open_history, self._clock, self._look_s = open_history, clock, look_s
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._newest: deque[Found] = deque(maxlen=_KNOWN)
        self._has_looked = False
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def listen(
        self, session: str, accepts: Callable[[Found], bool], wake: Callable[[], None], last_id: str = ""
    ) -> Listener:
        """Begin to listen; `last_id`: of the decision that was seen last. Raises TooMany."""
        with self._lock:
            self._check(session)
            listener = Listener(session, accepts, wake, last_id)
            self._listeners.append(listener)
            if self._thread and self._has_looked:
                self._catch_up(listener)
            if self._thread is None:
                self._has_looked = False
                self._stop = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(self._stop,), name="live", daemon=True)
                self._thread.start()
        return listener

    def check(self, session: str) -> None:
        """Whether another one may listen. Raises TooMany."""
        with self._lock:
            self._check(session)

    def leave(self, listener: Listener) -> None:
        """Stop listening; the thread ends with the last."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
            if not self._listeners and self._thread:
                self._stop.set()
                self._thread = None

    def take(self, listener: Listener) -> Taken:
        """What waits."""
        with self._lock:
            taken = Taken(list(listener.waiting), listener.lost, listener.has_more, listener.trouble)
            listener.waiting.clear()
            listener.lost, listener.has_more = 0, False
        return taken

    @property
    def is_looking(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None

    def _check(self, session: str) -> None:
        if sum(each.session == session for each in self._listeners) >= MOST_OF_SESSION:
            raise TooMany(f"This session has {MOST_OF_SESSION} live lists open: close one of them.")
        if len(self._listeners) >= MOST_LISTENERS:
            raise TooMany(f"{MOST_LISTENERS} live lists are open: try again later.")

    def _catch_up(self, listener: Listener) -> None:
        """Give one what is newer than what it saw last."""
        every = list(self._newest)
        ids = [each.id for each in every]
        if listener.last_id in ids:
            for found in every[ids.index(listener.last_id) + 1 :]:
                listener.put(found)
        elif listener.last_id:
            listener.has_more = True

    def _run(self, stop: threading.Event) -> None:
        history: Reader | None = None
        known: deque[str] | None = None
        while not stop.is_set():
            trouble = ""
            try:
                history = history or self._open_history()
                known = self._look(history, known, stop)
            except (HistoryError, sqlite3.Error, OSError) as error:
                trouble = str(error)
            self._wake(trouble)
            stop.wait(self._look_s)

    def _look(self, history: Reader, known: deque[str] | None, stop: threading.Event) -> deque[str] | None:
        """Pass on what is new; the ids that are known by now. The first look only learns them."""
        query = Query(since_ms=int(self._clock() * 1000) - _NEW_MS)
        newest = list(history.find(query, MOST_A_LOOK + 1))
        with self._lock:
            if stop.is_set():
                # The last listener has left meanwhile; the next one has a thread of its own.
                return known
            if known is None:
                known = deque(maxlen=4 * MOST_A_LOOK)
                before = {each.id for each in self._newest}
                self._newest.extend(each for each in reversed(newest) if each.id not in before)
                self._has_looked = True
                for listener in self._listeners:
                    self._catch_up(listener)
            else:
                self._pass_on([each for each in newest if each.id not in known])
        known.extend(each.id for each in newest if each.id not in known)
        return known

    def _pass_on(self, new: Sequence[Found]) -> None:
        for found in reversed(new[:MOST_A_LOOK]):
            self._newest.append(found)
            for listener in self._listeners:
                listener.put(found)
        if len(new) > MOST_A_LOOK:
            for listener in self._listeners:
                listener.has_more = True

    def _wake(self, trouble: str) -> None:
        with self._lock:
            listeners = [each for each in self._listeners if each.waiting or each.has_more or each.trouble != trouble]
            for each in listeners:
                each.trouble = trouble
        for each in listeners:
            each.wake()
