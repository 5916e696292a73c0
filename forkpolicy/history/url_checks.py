"""What `forkpolicy check` finds about the server of `[history] url`: packages, secrets, the way there, its answer.

The server of mail does not need it, so most of it is a warning: the log waits on disk.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import StateError
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.opening import MISSING
from forkpolicy.postgresql_urls import parse_postgresql_url
from forkpolicy.reachable import AskedServer, find_unreachable
from forkpolicy.rights import others_may_read
from forkpolicy.settings import diagnostic_at_setting
from forkpolicy.state.redis.access import read_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.settings import Settings

    Found = Iterator[tuple[str, str, str]]

SERVICE: Final = "forkpolicy-history"
_UNTIL: Final = "until it takes decisions, their log waits on disk, and find and show fail"


def find_history_findings(settings: Settings) -> list[Diagnostic]:
    """Everything; takes a time limit at most."""
    if not settings.history.url:
        return []
    at = partial(diagnostic_at_setting, settings.path, "history")
    errors = [at(*each) for each in _errors(settings)]
    found = [*_remarks(settings), *(() if errors else _asked(settings))]
    return [*errors, *(replace(at(*each), severity="warning") for each in found), *_unreachable(settings)]


def _errors(settings: Settings) -> Found:
    history = settings.history
    if find_spec("psycopg") is None:
        yield "url", f"url: {MISSING}", ""
    if parse_postgresql_url(history.url).has_password and others_may_read(settings.path):
        message = f"url: it has a password, and everybody may read {settings.path}"
        yield "url", message, "name a password_file, or chmod o-r the settings"
    try:
        if history.password_file:
            read_secret("password_file", history.password_file)
    except StateError as error:
        yield "password_file", str(error), f"user fp-history must be able to read it, whom {SERVICE}.service runs as"


def _remarks(settings: Settings) -> Found:
    history = settings.history
    url = parse_postgresql_url(history.url)
    if history.password_file and others_may_read(history.password_file):
        message = f"password_file: everybody may read {history.password_file}"
        yield "password_file", message, f"chmod o-r {history.password_file}"
    if not (url.is_local or url.is_encrypted):
        message = f"url: {url} is another machine, and what it is sent may not be encrypted: addresses of everybody"
        yield "url", message, "add ?sslmode=verify-full&sslrootcert=FILE"


def _asked(settings: Settings) -> Found:
    """What the server says."""
    from forkpolicy.history.postgresql.looking import look  # noqa: PLC0415 - optional

    try:
        look(settings.history)
    except HistoryError as error:
        yield "url", f"url: {error}", _UNTIL


def _unreachable(settings: Settings) -> Iterator[Diagnostic]:
    """What keeps the ingester's unit from it."""
    history = settings.history
    at = partial(diagnostic_at_setting, settings.path, "history", "url")
    files = (history.password_file,) if history.password_file else ()
    server = AskedServer("history", at, parse_postgresql_url(history.url).endpoints, files)
    return find_unreachable([server], settings.path, None, starts=False, service=SERVICE)
