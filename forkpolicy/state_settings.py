"""`[state]` of forkpolicy.toml: where the server remembers what greylisting, limits and lists need.

`state_clashes` finds what no setting alone shows. Opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.declared import setting, shown
from forkpolicy.sizes import size_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.redis_urls import RedisUrl

AUTO: Final = "auto"
EMBEDDED: Final = "lmdb:"
SMALLEST_MAP, LARGEST_MAP = "1M", "1T"
# The settings that are paths. Those of files stay "" where none is named.
PATHS: Final = ("live", "kept", "password_file", "sentinel_password_file", "ca_file", "cert_file", "key_file")


def _store_mistake(value: object) -> str:
    if value == EMBEDDED:
        return ""
    from forkpolicy.redis_urls import EXAMPLES, is_redis_url, url_mistake  # noqa: PLC0415 - most stores are embedded

    text = str(value)
    if is_redis_url(text):
        return url_mistake(text)
    return f'expected "{EMBEDDED}" or an engine ({EXAMPLES}), got {shown(value)}'


def _map_size_mistake(value: object) -> str:
    try:
        fits = value == AUTO or size_bytes(SMALLEST_MAP) <= size_bytes(str(value)) <= size_bytes(LARGEST_MAP)
    except ValueError:
        fits = False
    if fits and isinstance(value, str):
        return ""
    return f'expected "{AUTO}" or a size from "{SMALLEST_MAP}" to "{LARGEST_MAP}", got {shown(value)}'


@dataclass(frozen=True, slots=True)
class StateSettings:
    """The section. `user` and all that follows but `fail`, `budget` and `max_waiting` are of an engine alone."""

    url: str = setting(
        EMBEDDED,
        "The store: `lmdb:`, two maps on this machine; or an engine that several share, such as `redis://HOST:PORT/DB`.",
        choices=(EMBEDDED,),
        value_mistake=_store_mistake,
    )
    live: str = setting(
        "/run/forkpolicy/state", "Directory of the map that all workers share; on a tmpfs, and lost with it.", path=True
    )
    kept: str = setting(
        "/var/lib/forkpolicy/state", "Directory of its copy on disk, at most two seconds behind.", path=True
    )
    max_size: str = setting(
        AUTO,
        "Size of each map, such as `64M`, reserved at the start; `auto`: 256M, a quarter of what is free at most.",
        choices=(AUTO,),
        value_mistake=_map_size_mistake,
    )
    fail: str = setting(
        "error",
        "What it means that the store does not answer: the ACL fails (`error`), or it cannot be known (`skip`).",
        choices=("error", "skip"),
    )
    budget: float = setting(
        4.0, "Seconds that one request may wait for engines, the DNS and services together.", ge=0.1, le=600
    )
    max_waiting: int = setting(
        1000, "Requests of one worker that may wait at a time; one ACL may fill half of them.", ge=2, le=100000
    )
    prefix: str = setting(
        "forkpolicy",
        "What every key in an engine begins with, where others use it too.",
        pattern="[A-Za-z0-9._:-]{1,64}",
        expected="up to 64 letters, digits and . _ : -",
    )
    timeout: float = setting(0.5, "Seconds that one question to an engine may take.", ge=0.01, le=60)
    user: str = setting("", "The user of an engine, where it has users.", optional=True)
    password_file: str = setting("", "The file with the password of an engine.", optional=True, path=True)
    sentinel_password_file: str = setting("", "The file with the password of its sentinels.", optional=True, path=True)
    ca_file: str = setting(
        "", "The certificates that an engine's must be signed by; empty: those of the system.", optional=True, path=True
    )
    cert_file: str = setting("", "This server's certificate, for engines that ask for one.", optional=True, path=True)
    key_file: str = setting("", "The private key of that certificate.", optional=True, path=True)


def _engine(state: StateSettings) -> RedisUrl | None:
    if state.url == EMBEDDED:
        return None
    from forkpolicy.redis_urls import parse_url  # noqa: PLC0415 - most stores are embedded

    return parse_url(state.url)


def state_clashes(state: StateSettings) -> Iterator[tuple[str, str, str]]:
    """Settings that contradict each other: the setting, the message, the hint."""
    url = _engine(state)
    if url and url.password and state.password_file:
        yield "password_file", "password_file: the url has a password, too", "give one of them"
    if url and url.user and state.user:
        yield "user", "user: the url has a user, too", "give one of them"
    if url and (url.user or state.user) and not (url.password or state.password_file):
        yield "password_file", "password_file: a user of an engine needs a password", "name the file that has it"
    if url and state.sentinel_password_file and url.form != "sentinel":
        yield "sentinel_password_file", "sentinel_password_file: the url names no sentinels", "remove it"
    if bool(state.cert_file) != bool(state.key_file):
        given, missing = ("cert_file", "key_file") if state.cert_file else ("key_file", "cert_file")
        yield given, f"{given}: a certificate and its key go together", f"name {missing}, too"
    named = next((name for name in ("ca_file", "cert_file") if getattr(state, name)), "")
    if url and named and not url.is_tls:
        yield named, f"{named}: the url does not use TLS", 'write "rediss://" in place of "redis://"'
