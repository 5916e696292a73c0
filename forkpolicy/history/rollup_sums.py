"""How often rules fired, summed by slots of ten minutes, by rule and by verb: a day at a time.

A day has its roll-ups in its own file; of days that were removed they are in one file of their own (rollups.py). None
where nothing was recorded of a day: that is not the same as no decision. Opened read-only for each question. Raises
HistoryError.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import quote

from forkpolicy.history.day import SLOT_MS
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.rollups import ROLLUPS
from forkpolicy.history.schema import POSITIONS, VERSION, day_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkpolicy.history_settings import HistorySettings

SLOT_S: Final = SLOT_MS // 1000
SLOTS_A_DAY: Final = 86_400 // SLOT_S
_SUMS: Final = (
    "SELECT slot, line, verb, sum(decisions), acls FROM {tables} WHERE slot BETWEEN ? AND ? "
    "GROUP BY slot, line, verb, acls"
)
_OF_A_DAY: Final = "rollups JOIN rules ON n = rule"


class Fired(NamedTuple):
    """How often a rule (its file and line) gave an action of that verb in a slot. `acls`: those that it showed."""

    slot: int
    line: str
    verb: str
    decisions: int
    acls: str = ""


@dataclass(frozen=True, slots=True)
class DaySums:
    """Of one UTC day: decisions of each slot by verb, and of the whole day by rule and verb."""

    verbs: Mapping[str, Sequence[int]]
    rules: Mapping[tuple[str, str], int]


class Rollups(Protocol):
    """Raises HistoryError."""

    def stamp(self, day: str) -> object:
        """Another one whenever the sums of a day may be others; None where nothing was recorded of it."""
        ...

    def fired(self, day: str, first: int = 0, last: int = 1 << 62) -> list[Fired]:
        """What fired on a day, in slots from the first to the last."""
        ...

    def taken(self) -> set[int]:
        """How far each file of the log was taken in, in bytes."""
        ...


def slot_of(at_s: float) -> int:
    """The slot of a time in seconds since 1970."""
    return int(at_s // SLOT_S)


def day_of_slot(slot: int) -> str:
    """The UTC day that a slot is of."""
    return str(datetime.fromtimestamp(slot * SLOT_S, UTC).date())


def first_slot(day: str) -> int:
    """The first slot of a UTC day."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * SLOTS_A_DAY


def sums_of(day: str, fired: Iterable[Fired]) -> DaySums:
    """Those of a day."""
    begin = first_slot(day)
    verbs: dict[str, list[int]] = {}
    rules: dict[tuple[str, str], int] = {}
    for slot, line, verb, decisions, _ in fired:
        if verb not in verbs:
            verbs[verb] = [0] * SLOTS_A_DAY
        if 0 <= slot - begin < SLOTS_A_DAY:
            verbs[verb][slot - begin] += decisions
        rules[line, verb] = rules.get((line, verb), 0) + decisions
    return DaySums(verbs, rules)


def open_rollups(settings: HistorySettings) -> Rollups:
    """Those of the history that the settings name."""
    if not settings.url:
        return DayRollups(settings.path)
    try:
        from forkpolicy.history.postgresql.rollup_sums import PostgresqlRollups  # noqa: PLC0415 - optional
    except ImportError as error:
        raise HistoryError("[history] url: psycopg is not installed: pip install 'forkpolicy[postgresql]'") from error
    return PostgresqlRollups(settings)


class DayRollups:
    """Of a directory of day files."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def stamp(self, day: str) -> object:
        """Which file it is, how large, and when it was written."""
        return _stamp(day_path(self._directory, day)) or _stamp(self._of_removed_days)

    def fired(self, day: str, first: int = 0, last: int = 1 << 62) -> list[Fired]:
        """From its own file, if it is there."""
        begin = first_slot(day)
        slots = (max(first, begin), min(last, begin + SLOTS_A_DAY - 1))
        path = day_path(self._directory, day)
        if _stamp(path):
            return _rows(path, _OF_A_DAY, slots, VERSION)
        path = self._of_removed_days
        return _rows(path, "rollups", slots) if _stamp(path) else []

    def taken(self) -> set[int]:
        """From the file of positions; none where there is none yet."""
        path = f"{self._directory}/{POSITIONS}"
        if not _stamp(path):
            return set()
        with closing(_opened(path)) as connection:
            try:
                return {offset for (offset,) in connection.execute("SELECT offset FROM positions")}
            except sqlite3.Error as error:
                raise HistoryError(f"{path} cannot be read: {error}") from error

    @property
    def _of_removed_days(self) -> str:
        return f"{self._directory}/{ROLLUPS}"


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - for each day of a page
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    # An empty one is being made.
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None


def _opened(path: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise HistoryError(f"{path} cannot be read: {error}") from error
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection


def _rows(path: str, tables: str, slots: tuple[int, int], version: int | None = None) -> list[Fired]:
    with closing(_opened(path)) as connection:
        try:
            if version is not None and connection.execute("SELECT version FROM meta").fetchone() != (version,):
                raise HistoryError(f"{path} is of another version than {version}, which this program reads")
            return [Fired(*row) for row in connection.execute(_SUMS.format(tables=tables), slots)]
        except sqlite3.Error as error:
            raise HistoryError(f"{path} cannot be read: {error}") from error
