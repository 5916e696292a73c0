"""The history that the settings name: the only place that knows where it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from forkpolicy.history.versions import VersionDirectory

if TYPE_CHECKING:
    from forkpolicy.history.place import Reader, Writer
    from forkpolicy.history_settings import HistorySettings

MISSING: Final = "psycopg is not installed: pip install 'forkpolicy[postgresql]'"


def open_history(settings: HistorySettings) -> Reader:
    """For reading. It opens its files, or connects, when it is asked."""
    if not settings.url:
        return History(settings.path)
    try:
        from forkpolicy.history.postgresql.search import PostgresqlHistory  # noqa: PLC0415 - optional
    except ImportError as error:
        raise HistoryError(f"[history] url: {MISSING}") from error
    return PostgresqlHistory(settings)


def open_store(settings: HistorySettings) -> Writer:
    """For its one writer. Raises HistoryError where another one writes, OSError and sqlite3.Error."""
    if not settings.url:
        return Store(settings.path)
    try:
        from forkpolicy.history.postgresql.store import PostgresqlStore  # noqa: PLC0415 - optional
    except ImportError as error:
        raise HistoryError(f"[history] url: {MISSING}") from error
    return PostgresqlStore(settings)


def open_versions(settings: HistorySettings) -> VersionDirectory:
    """The policies and tables that decided: on the disk of each host, wherever its decisions are."""
    return VersionDirectory(settings.path)
