"""The URL of a PostgreSQL server, as libpq reads it: `postgresql://USER@HOST:PORT/DATABASE?OPTION=VALUE`.

Several `HOST:PORT` may be separated by commas; a directory of a UNIX socket is the option `host`. Pure: libpq itself
parses what it connects to. No message has a part of the URL, since any may be of a password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

EXAMPLE: Final = "postgresql://USER@HOST:5432/DATABASE"
PORT: Final = 5432
# Without a host libpq takes this one of Debian's.
SOCKET_DIRECTORY: Final = "/var/run/postgresql"
_SECURE: Final = ("require", "verify-ca", "verify-full")
_NAME: Final = r"\[[0-9A-Fa-f:.]+\]|[^\s:@/?\[\],]*"
_HOST: Final = rf"(?:{_NAME})(?::[0-9]{{1,5}})?"
_HOST_AND_PORT: Final = re.compile(rf"({_NAME})(?::([0-9]+))?")
_URL: Final = re.compile(
    rf"postgres(?:ql)?://(?:(?P<user>[^\s:@/?]*)(?::(?P<password>[^\s@/?]*))?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?:/(?P<database>[^\s?/]*))?(?:\?(?P<options>\S*))?"
)


@dataclass(frozen=True, slots=True)
class PostgresqlUrl:
    """Where a server is. `hosts`: names, addresses or directories of sockets, with their ports."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    is_encrypted: bool
    has_password: bool = field(default=False)

    @property
    def is_local(self) -> bool:
        """Whether nothing that is sent to it leaves this machine."""
        return all(_is_local(host) for host, _ in self.hosts)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Its sockets, as messages and units name them."""
        return tuple(
            f"unix:{host}/.s.PGSQL.{port}"
            if host.startswith("/")
            else f"inet:{f'[{host}]' if ':' in host else host}:{port}"
            for host, port in self.hosts
        )

    def __str__(self) -> str:
        """As messages name it: without user, password and options."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"postgresql://{hosts}/{self.database}"


def parse_postgresql_url(text: str) -> PostgresqlUrl:
    """Raises ValueError."""
    found = _URL.fullmatch(text)
    if not found:
        if text.startswith(("postgresql+", "postgres+")):
            raise ValueError(f"expected {EXAMPLE}, without the name of a driver")
        raise ValueError(f"expected {EXAMPLE}; in a user or a password, @ : / and blanks are written %40 %3A %2F %20")
    options = dict(parse_qsl(found["options"] or "", keep_blank_values=True))
    hosts, ports = _split(found["hosts"])
    # As libpq does it: an option of the same name wins.
    hosts = options["host"].split(",") if "host" in options else hosts
    ports = options["port"].split(",") if "port" in options else ports
    return PostgresqlUrl(
        tuple((host or SOCKET_DIRECTORY, _port(ports[min(at, len(ports) - 1)])) for at, host in enumerate(hosts)),
        options.get("dbname", unquote(found["database"] or "")),
        is_encrypted=options.get("sslmode") in _SECURE,
        has_password=bool(found["password"] or options.get("password")),
    )


def postgresql_url_mistake(text: str) -> str:
    """What is wrong with a URL, in words; empty when nothing is."""
    try:
        parse_postgresql_url(text)
    except ValueError as error:
        return str(error)
    return ""


def _split(hosts: str) -> tuple[list[str], list[str]]:
    """The hosts, without brackets, and the port of each, empty where it has none."""
    pairs = [_HOST_AND_PORT.fullmatch(each) for each in hosts.split(",")]
    found = [pair.groups(default="") for pair in pairs if pair]
    return [unquote(host.strip("[]")) for host, _ in found], [port for _, port in found]


def _port(text: str) -> int:
    if text and (not text.isdecimal() or not 0 < int(text) < 1 << 16):
        raise ValueError("expected a port from 1 to 65535")
    return int(text or PORT)


def _is_local(host: str) -> bool:
    if host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
