"""Forgets a person in everything that the history keeps: the log first, so that nothing comes back from
there, then each day. The ingester waits meanwhile. Whenever this process is killed it can be started again.

Raises OSError, sqlite3.Error and HistoryError.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.locks import days_locked
from forkpolicy.history.opening import MISSING
from forkpolicy.history.personal.days import finish_all_erasures, forget_in_day
from forkpolicy.history.personal.log_files import forget_in_log
from forkpolicy.history.personal.person import Forgotten
from forkpolicy.history.schema import POSITIONS, days_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.history.personal.person import Person
    from forkpolicy.history_settings import HistorySettings


def forget(settings: HistorySettings, person: Person, now_s: float) -> Forgotten:
    """Forget the person; a decision that was in the log and taken in, too, is counted once."""
    if settings.url:
        return _forget_with_a_server(settings, person, now_s)
    directory = settings.path
    with days_locked(directory):
        every = [forget_in_log(settings.log, person, position_in(directory))] if settings.log else []
        finish_all_erasures(directory)
        every += [forget_in_day(directory, day, person) for day in days_in(directory, now_s)]
    return Forgotten(sum(each.decisions for each in every), sum(each.blotted for each in every))


def _forget_with_a_server(settings: HistorySettings, person: Person, now_s: float) -> Forgotten:
    """What the server does not have yet is not counted: only it knows how far the log was taken in."""
    try:
        from forkpolicy.history.postgresql.personal import forget_in_postgresql  # noqa: PLC0415 - optional
    except ImportError as error:
        raise HistoryError(f"[history] url: {MISSING}") from error
    if settings.log:
        forget_in_log(settings.log, person, lambda _file: 0)
    return forget_in_postgresql(settings, person, now_s)


def position_in(directory: str) -> Callable[[str], int]:
    """How far each file of the log was taken in."""
    path = f"{directory}/{POSITIONS}"
    if not Path(path).exists():
        return lambda _file: 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        known = dict(connection.execute("SELECT file, offset FROM positions"))
    return lambda file: known.get(file, 0)
