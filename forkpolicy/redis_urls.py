"""The URL of a store that several hosts share (an engine: Redis or Valkey), parsed.

    redis://HOST:PORT/DB              one server; rediss:// by TLS
    unix:///PATH?db=N                 one server on this machine
    redis+sentinel://H1,H2/NAME?db=N  the master that the sentinels call NAME
    redis+cluster://H1,H2             a cluster, of which the hosts are some

Each takes USER:PASSWORD@ in front of its hosts, percent-encoded where it must be. `valkey` is read as `redis`, and an
`s` behind either means TLS. Pure: resolves and opens nothing. `parse_url` raises ValueError with words that have no
password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote

from forkpolicy.endpoints import HIGHEST_PORT, host_mistake, port_mistake

if TYPE_CHECKING:
    from collections.abc import Callable

Form = Literal["server", "sentinel", "cluster"]

EXAMPLES: Final = (
    '"redis://HOST:6379/0", "rediss://HOST:6379/0", "unix:///PATH", "redis+sentinel://H1,H2/NAME" or '
    '"redis+cluster://H1,H2"'
)
PORT: Final = 6379
SENTINEL_PORT: Final = 26379
# `databases` of a server is 16 by default; what it may be at most is an int of C.
_DATABASE: Final = re.compile("[0-9]{1,9}")
_DIGITS: Final = re.compile("[0-9]+")

_SCHEME: Final = re.compile(r"(?:(?:redis|valkey)(?P<tls>s?)(?P<form>\+sentinel|\+cluster)?|(?P<unix>unix))://")
_HOST: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]+)(?::(?P<port>.*))?")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where an engine is. `hosts`: names or addresses (without brackets) with their ports; `path`: of a UNIX socket,
    and then there are no hosts. `name`: what sentinels call the master. `user` and `password`: empty where not given.
    """

    form: Form
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    name: str = ""
    db: int = 0
    is_tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_local(self) -> bool:
        """Whether nothing that is sent to it leaves this machine."""
        return bool(self.path) or all(_is_loopback(host) for host, _ in self.hosts)

    def __str__(self) -> str:
        """As messages name it: without user, password and database."""
        if self.path:
            return f"unix://{self.path}"
        kind = "" if self.form == "server" else f"+{self.form}"
        hosts = ",".join(host_and_port(*each) for each in self.hosts)
        return f"redis{'s' * self.is_tls}{kind}://{hosts}{'/' * bool(self.name)}{self.name}"


def host_and_port(host: str, port: int) -> str:
    """`HOST:PORT`, with brackets where the host is an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_redis_url(text: str) -> bool:
    """Whether a text begins as one, whatever mistakes the rest has."""
    return bool(_SCHEME.match(text))


def url_mistake(text: str) -> str:
    """What is wrong with a URL, in words; empty when nothing is."""
    try:
        parse_url(text)
    except ValueError as error:
        return str(error)
    return ""


def parse_url(text: str) -> RedisUrl:
    """The URL of an engine. Raises ValueError."""
    scheme = _SCHEME.match(text)
    if not scheme:
        raise ValueError(f"expected {EXAMPLES}")
    credentials, rest = _split(text[scheme.end() :], is_unix=bool(scheme["unix"]))
    user, _, password = credentials.partition(":")
    place, _, query = rest.partition("?")
    parse = _unix if scheme["unix"] else _PARSERS[scheme["form"] or ""]
    parsed = parse(place, _database_of(query))
    return RedisUrl(
        parsed.form,
        parsed.hosts,
        parsed.path,
        parsed.name,
        parsed.db,
        is_tls=scheme["tls"] == "s",
        user=unquote(user),
        password=unquote(password),
    )


def _split(text: str, *, is_unix: bool) -> tuple[str, str]:
    """USER:PASSWORD, and what follows it. A path may have an `@`, and so may a password that is not encoded."""
    if is_unix:
        credentials, at, rest = ("", "", text) if text.startswith("/") else text.partition("@/")
        return credentials, "/" + rest if at else rest
    credentials, _, rest = text.rpartition("@")
    return credentials, rest


def _database_of(query: str) -> int | None:
    """The database of `?db=N`; None where there is no query. No option weakens TLS, so there are no others."""
    if not query:
        return None
    name, _, value = query.partition("=")
    if name != "db":
        raise ValueError('expected no other option than "?db=N": certificates and passwords are settings of [state]')
    return _database(value)


def _database(text: str) -> int:
    if not _DATABASE.fullmatch(text):
        raise ValueError("expected the number of a database, such as 0")
    return int(text)


def _server(place: str, db: int | None) -> RedisUrl:
    hosts, _, path = place.partition("/")
    if "," in hosts:
        raise ValueError("expected one HOST:PORT: several hosts are redis+sentinel:// or redis+cluster://")
    if path and db is not None:
        raise ValueError('expected one database: "/DB" or "?db=N"')
    return RedisUrl("server", _hosts(hosts, PORT), db=_database(path) if path else db or 0)


def _unix(place: str, db: int | None) -> RedisUrl:
    path = unquote(place)
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError("expected unix:///PATH, three slashes and the path of a socket from the root")
    return RedisUrl("server", path=path, db=db or 0)


def _sentinel(place: str, db: int | None) -> RedisUrl:
    hosts, _, name = place.partition("/")
    if not name or "/" in name:
        raise ValueError("expected redis+sentinel://H1,H2/NAME, NAME as the sentinels call the master")
    return RedisUrl("sentinel", _hosts(hosts, SENTINEL_PORT), name=unquote(name), db=db or 0)


def _cluster(place: str, db: int | None) -> RedisUrl:
    hosts, _, path = place.partition("/")
    if path or db:
        raise ValueError("expected redis+cluster://H1,H2 without a database: a cluster has number 0 alone")
    return RedisUrl("cluster", _hosts(hosts, PORT))


_PARSERS: Final[dict[str, Callable[[str, int | None], RedisUrl]]] = {
    "": _server,
    "+sentinel": _sentinel,
    "+cluster": _cluster,
}


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    return tuple(_host(each, default_port) for each in text.split(","))


def _host(text: str, default_port: int) -> tuple[str, int]:
    """One host. No message quotes what may be a part of a password."""
    found = _HOST.fullmatch(text)
    if not found:
        raise ValueError("expected HOST or HOST:PORT, with an address of IPv6 in brackets")
    host, port = found["host"], found["port"]
    if mistake := host_mistake(host):
        raise ValueError(mistake)
    if port is None:
        return host.strip("[]"), default_port
    if not _DIGITS.fullmatch(port) or port_mistake(port):
        raise ValueError(f'expected a port from 1 to {HIGHEST_PORT} behind "{host}:"')
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
