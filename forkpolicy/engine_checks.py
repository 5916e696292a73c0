"""What must hold, and what an operator should know, where the store is an engine: packages, files, TLS, eviction.

`find_obstacles` is obeyed by a start, next to those of preflight.py; `find_remarks` are warnings of settings alone;
`look` has those of the engine itself, for `check`. All are about the store of a policy that remembers.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from forkpolicy.errors import Diagnostic, StateError
from forkpolicy.redis_urls import is_redis_url, parse_url
from forkpolicy.rights import others_may_read
from forkpolicy.settings import diagnostic_at_setting
from forkpolicy.state.redis.access import Access, missing_packages
from forkpolicy.state.redis.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.settings import Settings

    Found = Iterator[tuple[str, str, str]]

NOT_EVICTING: Final = "noeviction"
# With it a key may have a time at which it ends (an option of SET).
OLDEST: Final = (6, 2)


def find_obstacles(settings: Settings) -> list[Diagnostic]:
    """What keeps every question from being answered."""
    return _diagnostics(settings, _obstacles(settings), "error")


def find_remarks(settings: Settings) -> list[Diagnostic]:
    """What others can read or change on the way to an engine on another machine."""
    return _diagnostics(settings, _remarks(settings), "warning")


def look(settings: Settings) -> list[Diagnostic]:
    """What the engine itself says: whether it answers, whether it forgets early. Takes a few time limits at most."""
    return _diagnostics(settings, _looked(settings), "warning")


def _diagnostics(settings: Settings, found: Found, severity: Literal["error", "warning"]) -> list[Diagnostic]:
    if not is_redis_url(settings.state.url):
        return []
    at = partial(diagnostic_at_setting, settings.path, "state")
    return [replace(at(*each), severity=severity) for each in found]


def _obstacles(settings: Settings) -> Found:
    state = settings.state
    if missing := missing_packages():
        yield "url", f"url: {missing}", ""
    for key, message in Access.from_settings(state).mistakes():
        yield key, message, "the user that the workers run as must be able to read it"
    if parse_url(state.url).password and others_may_read(settings.path):
        message = f"url: it has a password, and everybody may read {settings.path}"
        yield "url", message, "name a password_file, or chmod o-r the settings"


def _remarks(settings: Settings) -> Found:
    url = parse_url(settings.state.url)
    for key in ("password_file", "sentinel_password_file"):
        path = getattr(settings.state, key)
        if path and others_may_read(path):
            yield key, f"{key}: everybody may read {path}", f"chmod o-r {path}"
    if url.is_local:
        return
    if not url.is_tls:
        message = f"url: {url} is another machine, and what it is sent is not encrypted: addresses and passwords"
        yield "url", message, 'write "rediss://" for TLS, or have a tunnel end at 127.0.0.1'
    if not (url.password or settings.state.password_file):
        message = f"url: {url} is another machine and has no password: anybody who reaches it can change limits"
        yield "url", message, "set requirepass there, and password_file here"


def _looked(settings: Settings) -> Found:
    if missing_packages():
        return
    try:
        with closing(open_store(settings.state)) as store:
            for info in store.infos():
                yield from _of_engine(str(parse_url(settings.state.url)), info)
    except StateError as error:
        hint = "until it answers, ACLs that remember fail, or cannot be known with fail=skip"
        if type(error.__cause__).__name__ == "AuthenticationError":
            hint = f"compare [state] user and password_file with the engine's; {hint}"
        yield "url", f"url: {error}", hint


def _of_engine(url: str, info: Mapping[str, object]) -> Found:
    policy, version = str(info.get("maxmemory_policy", NOT_EVICTING)), str(info.get("redis_version", ""))
    if policy != NOT_EVICTING:
        message = f"url: {url} has maxmemory-policy {policy}: when it is full, limits and lists are forgotten early"
        yield "url", message, f"set maxmemory-policy {NOT_EVICTING} there"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < OLDEST:
        message = f"url: {url} is Redis {version}: expected 6.2 or later, or Valkey"
        yield "url", message, "every question fails there"
