"""Trials, one after the other in a thread of their own, so that no other page waits for them; with what they found.

A trial ends after BUDGET_S at the latest and then says since when it looked. What was found is kept for KEPT_S, as long
as policy and tables are the same, of MOST_KEPT trials and MOST_ROWS decisions at most. A trial that nobody looks at
any more before its turn is left out. The policy with its open tables belongs to the thread.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.console.change.drafts import NoRuleFileError, rule_file
from forkpolicy.console.errors import TooMany
from forkpolicy.console.whatif.trial import Answer, Asked, answer
from forkpolicy.errors import ForkpolicyError
from forkpolicy.files import SnapshotFiles
from forkpolicy.history.opening import open_history
from forkpolicy.history.whatif.policies import load_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.loading import Loaded
    from forkpolicy.settings import Settings

BUDGET_S: Final = 20.0
KEPT_S: Final = 600.0
MOST_KEPT: Final = 32
MOST_WAITING: Final = 32
# Of all answers that are kept: some 5 MB. A page with five proposals has 2,500 where each changes a lot.
MOST_ROWS: Final = 6000
# Of a page that refreshes itself each second.
_PATIENCE_S: Final = 60.0
# Pages take the interpreter many times, and would wait 5 ms each time for a thread that never lets go of it.
_STEPS: Final = 8
_PAUSE_S: Final = 0.0002


class _Key(NamedTuple):
    asked: Asked
    version: str


@dataclass(slots=True)
class Replay:
    """One trial. `read`: past requests so far; `answer` or `trouble`, whichever it came to, when `done` is set;
    `made_s`: when that was.
    """

    asked: Asked
    version: str
    looked_s: float
    read: int = 0
    is_running: bool = False
    answer: Answer | None = None
    trouble: ForkpolicyError | None = None
    made_s: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


class Replays:
    """Of the policy that the settings name."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time, budget_s: float = BUDGET_S) -> None:
        self._settings, self._clock, self._budget_s = settings, clock, budget_s
        self._lock = threading.Condition()
        self._known: OrderedDict[_Key, Replay] = OrderedDict()
        self._waiting: deque[Replay] = deque()
        self._thread: threading.Thread | None = None
        self._loaded: tuple[str, Loaded] | None = None

    def get(self, asked: Asked, now: Loaded, *, afresh: bool = False) -> Replay:
        """The trial of what is asked, begun if need be. `now`: the policy in the files. Raises TooMany."""
        key = _Key(asked, version_of(now))
        with self._lock:
            found = self._known.get(key)
            if found and (self._is_old(found) or (afresh and found.done.is_set())):
                del self._known[key]
                found = None
            if not found:
                found = self._begin(key)
            found.looked_s = self._clock()
            self._known.move_to_end(key)
            return found

    def _is_old(self, replay: Replay) -> bool:
        return replay.done.is_set() and self._clock() - replay.made_s > KEPT_S

    def _begin(self, key: _Key) -> Replay:
        if len(self._waiting) >= MOST_WAITING:
            raise TooMany("Too many replays wait already: try again in a minute.")
        replay = Replay(key.asked, key.version, self._clock())
        self._known[key] = replay
        self._waiting.append(replay)
        if not self._thread:
            self._thread = threading.Thread(target=self._run, name="replays", daemon=True)
            self._thread.start()
        self._lock.notify()
        return replay

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    self._lock.wait()
                replay = self._waiting.popleft()
                if self._clock() - replay.looked_s > _PATIENCE_S:
                    self._known = OrderedDict((key, each) for key, each in self._known.items() if each is not replay)
                    continue
            replay.is_running = True
            try:
                replay.answer = self._answer(replay)
            except ForkpolicyError as error:
                replay.trouble = error
            except Exception as error:  # noqa: BLE001 - the thread serves all others, too
                replay.trouble = ForkpolicyError(f"the replay failed: {type(error).__name__}: {error}")
            replay.made_s = self._clock()
            replay.is_running = False
            replay.done.set()
            with self._lock:
                self._forget()
            # This thread would keep the last one for as long as nothing is asked.
            del replay

    def _forget(self) -> None:
        """What is old, and those of too many that nobody has looked at for longest; the latest stays in any case."""
        count = rows = 0
        for key, each in reversed([*self._known.items()]):
            if not each.done.is_set():
                continue
            count += 1
            rows += each.answer.rows if each.answer else 0
            if self._is_old(each) or (count > 1 and (count > MOST_KEPT or rows > MOST_ROWS)):
                del self._known[key]

    def _answer(self, replay: Replay) -> Answer:
        now = self._now(replay.version)
        until_s = time.monotonic() + self._budget_s

        def read(count: int) -> None:
            replay.read = count + 1
            if count % _STEPS == 0:
                time.sleep(_PAUSE_S)

        history = open_history(now.settings.history)
        path = rule_path(now)
        return answer(replay.asked, history, now, path, self._clock(), read, lambda: time.monotonic() > until_s)

    def _now(self, version: str) -> Loaded:
        """The policy in the files, with its tables open; loaded again where it is not that version."""
        if not self._loaded or self._loaded[0] != version:
            if self._loaded:
                _close(self._loaded[1])
                self._loaded = None
            now = load_now(self._settings.path)
            self._loaded = (version_of(now), now)
        return self._loaded[1]


def rule_path(now: Loaded) -> Path | None:
    """The console's rule file of a policy that was loaded; None where it includes none."""
    try:
        return rule_file(now.settings.policy, SnapshotFiles(now.snapshot), now.settings.console.rules)
    except NoRuleFileError:
        return None


def version_of(now: Loaded) -> str:
    """Another one when policy, settings or tables are; of a policy with tables open or not."""
    digest = sha256()
    for name, data in sorted(now.snapshot.items()):
        digest.update(sha256(f"{name}\0".encode("utf-8", "surrogateescape") + data).digest())
    return f"{digest.hexdigest()} {_tables(now)}"


def _tables(now: Loaded) -> tuple[tuple[int, int], ...]:
    """Which files the tables are in."""
    found = []
    for path in now.table_paths:
        try:
            status = Path(path).stat()
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_ino, status.st_mtime_ns))
    return tuple(found)


def _close(now: Loaded) -> None:
    for table in now.tables.values():
        table.close()
