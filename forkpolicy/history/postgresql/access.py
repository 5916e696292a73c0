"""Connections to the server of `[history] url`, and what goes wrong with it in words.

A writer's transactions end soon, whichever side hangs: the server gives up a statement or an idle transaction after a
minute, so that nobody else waits for its locks longer. A reader's session is read-only. Nothing is prepared, so that a
pooler of transactions may be between. Raises UnavailableError; no message has a password.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from forkpolicy.errors import StateError
from forkpolicy.history.errors import UnavailableError
from forkpolicy.postgresql_urls import parse_postgresql_url
from forkpolicy.state.redis.access import read_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history_settings import HistorySettings

# It writes to standard error what it also raises.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
# The option of the URL wins.
_DEFAULTS: Final[dict[str, str | int | None]] = {
    "connect_timeout": 5,
    # A host that has gone without a word is noticed.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "forkpolicy history",
}
STATEMENT_S: Final = 60
_SESSION: Final = (
    f"SET statement_timeout = '{STATEMENT_S}s'; SET idle_in_transaction_session_timeout = '60s';"
    "SET lock_timeout = '15s';"
)
# An administrator may want more than `on`: `remote_apply` waits for replicas.
_WRITER: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_READER: Final = "SET default_transaction_read_only = on"


def connected(settings: HistorySettings, *, writes: bool) -> psycopg.Connection:
    """A connection that commits each statement for itself."""
    with in_words(settings.url):
        connection = psycopg.connect(conninfo(settings), autocommit=True, prepare_threshold=None)
        try:
            connection.execute((_SESSION + (_WRITER if writes else _READER)).encode())
        except BaseException:
            connection.close()
            raise
    return connection


def conninfo(settings: HistorySettings) -> str:
    """What libpq connects with; it finds PGPASSFILE and ~/.pgpass itself where no password is given."""
    try:
        given = conninfo_to_dict(settings.url)
    except psycopg.ProgrammingError:
        # What libpq says of a URL quotes it.
        raise UnavailableError("[history] url is not one that libpq can read") from None
    if settings.password_file:
        try:
            given["password"] = read_secret("[history] password_file", settings.password_file)
        except StateError as error:
            raise UnavailableError(str(error)) from error
    return make_conninfo("", **{**_DEFAULTS, **given, "client_encoding": "utf8"})


@contextmanager
def in_words(url: str, too_slow: str = "") -> Iterator[None]:
    """What the server or libpq says, as one line. `too_slow`: what helps against that."""
    try:
        yield
    except psycopg.Error as error:
        raise UnavailableError(f"{parse_postgresql_url(url)}: {_words(error, too_slow)}") from error


def _words(error: psycopg.Error, too_slow: str) -> str:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return f"the server gave up, as it took too long{too_slow}"
    text = error.diag.message_primary or str(error)
    return " ".join(text.split("\nMultiple connection attempts")[0].split()) or type(error).__name__
