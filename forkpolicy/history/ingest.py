"""Takes the history's log in: reads what its files have got since, keeps it by the day, rotates and removes them.

What has reached the log is neither lost nor doubled, whenever this process is killed: a file is removed only when it
was taken in to its end, the server has begun another one, and nobody has written to it for a minute. What goes wrong
(a full disk, rights) is reported once, and tried again each second; a day whose file is damaged is set aside.

`Ingester.turn` is one look; `run` turns until it is asked to stop, and ends within two seconds then, at a commit.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import UnavailableError
from forkpolicy.history.follow import log_files, rotate, whole_lines
from forkpolicy.history.lines import NAMES_VERSIONS, Decision, Odd, Versions, read_line

if TYPE_CHECKING:
    from forkpolicy.history.follow import LogFile
    from forkpolicy.history.keeping import Keeper
    from forkpolicy.history.lines import Line
    from forkpolicy.history.place import Writer

# So many lines are one commit at most, or what a second has brought.
LINES_A_COMMIT: Final = 20_000
LINES_AT_ONCE: Final = 1000
TURN_S: Final = 1.0
ROTATE_BYTES: Final = 64 << 20
# A master that is replaced (USR2) may still write to the previous file.
SETTLED_S: Final = 60.0
RETENTION_EVERY_S: Final = 600.0
# What the log has when we are asked to stop is taken in as far as that goes in this time.
LAST_TURN_S: Final = 1.0
# Between two commits somebody who waits for the lock of the days gets it.
YIELD_S: Final = 0.01

Stopping = Callable[[float], bool]
"""Waits so many seconds at most; whether we are asked to stop."""


class Ingester:
    """One log, and the place that keeps it. `say` gets what an operator should know; `keeper` keeps the versions that
    the log names.
    """

    def __init__(
        self,
        log: str,
        store: Writer,
        keep_days: int,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        keeper: Keeper | None = None,
    ) -> None:
        # As `log_files` writes paths.
        self._log, self._store, self._keep_days = str(Path(log)), store, keep_days
        self._say, self._clock, self._keeper = say, clock, keeper
        self._said: set[str] = set()
        self._trouble = ""
        self._retention_at_s = 0.0
        self._is_first_turn = True
        self.decisions = self.odd = 0

    def run(self, stopping: Stopping) -> None:
        """Turn until we are asked to stop; a second more for what the log has then."""
        while not stopping(TURN_S):
            self._try(stopping)
        end_s = time.monotonic() + LAST_TURN_S
        self._try(lambda _wait_s: time.monotonic() > end_s)
        self._store.close()

    def run_once(self, stopping: Stopping) -> None:
        """Take in everything that is there."""
        self._try(stopping)
        self._store.close()

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def turn(self, stopping: Stopping = lambda _wait_s: False) -> None:
        """Take in what is there, and remove what is over. Raises what a Writer raises."""
        files = log_files(self._log)
        has_begun_another = any(str(file.path) == self._log for file in files)
        if self._is_first_turn:
            self._note_again(files)
            self._is_first_turn = False
        for file in files:
            if not file.id:
                self._once(f"{file.path} is left alone: its first line does not name it; did another program write it?")
                continue
            position = self._take(file, stopping)
            if position is None:
                return
            self._end_of(file, position, has_begun_another)
        self._keep_versions()
        now_s = self._clock()
        if now_s >= self._retention_at_s and self._store.begin():
            self._retention_at_s = now_s + RETENTION_EVERY_S
            for day in self._store.remove_old_days(self._keep_days, now_s):
                self._say(f"{day}: removed after {self._keep_days} days ([history] keep_days)")
            self._store.commit()

    def _take(self, file: LogFile, stopping: Stopping) -> int | None:
        """Take in what a file has got; how far that is. None: not now, we are to stop or another changes the days."""
        while self._store.begin():
            position = self._store.position(file.id)
            if position > file.size:
                self._once(f"{file.path} is shorter than it was ({file.size} bytes, {position} were read): was it cut?")
                self._store.commit()
                return position
            # From the file each time: what was read before the days were locked may be forgotten by now.
            lines, added = whole_lines(file, position), 0
            while some := [(offset, self._read(raw)) for offset, raw in islice(lines, LINES_AT_ONCE)]:
                # Before they count as taken in: what a kill has kept from being copied is seen again.
                self._keep_versions()
                self._store.add(file.id, some)
                position, added = some[-1][0], added + len(some)
                if added >= LINES_A_COMMIT or stopping(0.0):
                    break
            self._store.commit()
            if not some:
                return position
            if stopping(YIELD_S):
                break
        return None

    def _read(self, raw: bytes | None) -> Line:
        return None if raw is None else self._counted(read_line(raw))

    def _counted(self, line: Line) -> Line:
        if isinstance(line, Odd):
            self.odd += 1
            self._once(f"a line that cannot be read: {line.reason}; it is counted, and others follow it")
        elif isinstance(line, Decision):
            self.decisions += 1
        elif isinstance(line, Versions) and self._keeper:
            self._keeper.note(line)
        return line

    def _note_again(self, files: list[LogFile]) -> None:
        """Versions that lines name which were taken in: they may not have been kept, for want of rights or room."""
        for file in files:
            if self._keeper and file.id and str(file.path) == self._log:
                position = self._store.position(file.id)
                for offset, raw in whole_lines(file, 0):
                    if offset > position:
                        break
                    if raw and NAMES_VERSIONS in raw and isinstance(line := read_line(raw), Versions):
                        self._keeper.note(line)

    def _keep_versions(self) -> None:
        if self._keeper:
            self._keeper.keep()

    def _end_of(self, file: LogFile, position: int, has_begun_another: bool) -> None:
        """Rename a file that has grown large, remove one that is over. How far it was read is known for ever: somebody
        may have a copy.
        """
        is_current = str(file.path) == self._log
        if is_current and file.size >= ROTATE_BYTES:
            rotate(self._log, file)
        is_settled = has_begun_another and self._clock() - file.changed_s >= SETTLED_S
        if not is_current and is_settled and position >= file.size:
            file.path.unlink(missing_ok=True)

    def _try(self, stopping: Stopping) -> None:
        try:
            self.turn(stopping)
            self._trouble = ""
        except (sqlite3.Error, OSError, UnavailableError) as error:
            self._store.forget()
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._say(f"not taken in, tried again each second: {error}")
            if self._mend(error):
                self._try(stopping)

    def _mend(self, error: Exception) -> bool:
        """Whether something was mended, so that another try may do."""
        try:
            done = self._store.mend(error, self._clock())
        except (sqlite3.Error, OSError, UnavailableError) as why:
            self._once(f"what is damaged cannot be set aside: {why}")
            return False
        for text in done:
            self._say(text)
        return bool(done)

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
