"""`[history]` of forkpolicy.toml: the log of decisions from which past ones are searched. Opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.declared import setting, shown
from forkpolicy.sizes import size_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALLEST, LARGEST = "1M", "1T"
# The settings that are paths. Those of files stay "" where none is named.
JOURNAL: Final = "journal"
HISTORY_PATHS: Final = ("log", "path", "password_file")


def _size_mistake(value: object) -> str:
    try:
        fits = size_bytes(SMALLEST) <= size_bytes(str(value)) <= size_bytes(LARGEST)
    except ValueError:
        fits = False
    return "" if fits else f'expected a size from "{SMALLEST}" to "{LARGEST}", got {shown(value)}'


def _mail_log_mistake(value: object) -> str:
    text = str(value)
    return "" if text in ("", JOURNAL) or text.startswith("/") else f'expected a path from the root or "{JOURNAL}"'


def _url_mistake(text: str) -> str:
    from forkpolicy.postgresql_urls import postgresql_url_mistake  # noqa: PLC0415 - most histories are files

    return postgresql_url_mistake(text)


def _has_password(url: str) -> bool:
    from forkpolicy.postgresql_urls import parse_postgresql_url  # noqa: PLC0415 - most histories are files

    return parse_postgresql_url(url).has_password


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """The section. It is off until `log` names a file."""

    log: str = setting(
        "",
        "A file for decisions with their whole requests and what made each rule fire; empty: none. Reopened on USR1.",
        path=True,
        optional=True,
    )
    decisions: str = setting(
        "acted",
        "Which decisions are in it, whatever [log] says: all, those that acted (not DUNNO).",
        choices=("all", "acted"),
    )
    path: str = setting(
        "/var/lib/forkpolicy/history", "Where `forkpolicy history ingest` keeps them, one file a day.", path=True
    )
    keep_days: int = setting(30, "Days that decisions are kept; how often rules fired is kept 400.", ge=1, le=3650)
    audit_days: int = setting(
        365, "Days that the console keeps who signed in, looked at what of others, and changed what.", ge=1, le=3650
    )
    versions_bytes: str = setting(
        "1G",
        "Disk for versions of policy and tables, such as `64M`; the oldest go first, never what is in force.",
        value_mistake=_size_mistake,
    )
    mail_log: str = setting(
        "/var/log/mail.log",
        "Postfix's log, and its rotated files: a path from the root, or `journal`; empty: none.",
        mistake=_mail_log_mistake,
        optional=True,
    )
    url: str = setting(
        "",
        "A PostgreSQL server for several hosts in place of `path`: `postgresql://USER@HOST:5432/DATABASE`.",
        mistake=_url_mistake,
        optional=True,
    )
    password_file: str = setting(
        "", "The file with the password of its user; empty: PGPASSFILE, if any.", path=True, optional=True
    )

    @property
    def most_version_bytes(self) -> int:
        """`versions_bytes` in bytes."""
        return size_bytes(self.versions_bytes)


def history_clashes(history: HistorySettings) -> Iterator[tuple[str, str, str]]:
    """Settings that contradict each other: the setting, the message, the hint."""
    if history.password_file and not history.url:
        yield "password_file", "password_file: there is no url", "remove it, or name the server"
    elif history.password_file and _has_password(history.url):
        yield "password_file", "password_file: the url has a password, too", "give one of them"
