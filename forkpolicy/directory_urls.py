"""Where people's passwords are checked, as settings write it, and how a name becomes one of a directory.

    imaps://HOST:PORT      TLS from the first byte; imap:// begins it by STARTTLS
    ldaps://HOST:PORT      the same for a directory; ldap:// begins it by StartTLS
    ldapi://%2FPATH        a socket file of this machine

Without TLS nothing is sent but to this machine itself. Pure: resolves and opens nothing. `parse_server_url` raises
ValueError with words.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from forkpolicy.endpoints import host_mistake, port_mistake

if TYPE_CHECKING:
    from collections.abc import Callable

IMAP: Final = ("imaps", "imap")
LDAP: Final = ("ldaps", "ldap", "ldapi")
_PORTS: Final = {"imaps": 993, "imap": 143, "ldaps": 636, "ldap": 389, "ldapi": 0}
_URL: Final = re.compile(r"(?P<scheme>[a-z]+)://(?P<host>\[[^\[\]]*\]|[^:/\[\]@?#]+)(?::(?P<port>[0-9]+))?/?")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# What stands for a part of the address in `ldap_user`.
PLACEHOLDERS: Final = ("{address}", "{local}", "{domain}")
_PLACEHOLDER: Final = re.compile(r"(\{(?:address|local|domain)\})")
_BRACES: Final = re.compile(r"\{[^{}]*\}|[{}]")


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """`host`: a name, an address without brackets, or the path of a socket file."""

    scheme: str
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        """Whether TLS begins with the first byte."""
        return self.scheme in ("imaps", "ldaps")

    @property
    def is_local(self) -> bool:
        """Whether nothing that is sent to it leaves this machine."""
        if self.scheme == "ldapi" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def begins_tls(self) -> bool:
        """Whether TLS must begin before anything secret is sent."""
        return not self.is_tls and not self.is_local

    def __str__(self) -> str:
        if self.scheme == "ldapi":
            return f"ldapi:{self.host}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_server_url(text: str, schemes: tuple[str, ...]) -> ServerUrl:
    """Raises ValueError."""
    found = _URL.fullmatch(text)
    if not found or found["scheme"] not in schemes:
        raise ValueError(f'expected {schemes[0]}://HOST or {schemes[0]}://HOST:PORT, got "{text}"')
    scheme, host = found["scheme"], found["host"]
    if scheme == "ldapi":
        path = unquote(host)
        if found["port"] or not path.startswith("/"):
            raise ValueError(f'expected "ldapi://%2Frun%2Fslapd%2Fldapi", the path of a socket, got "{text}"')
        return ServerUrl(scheme, path, 0)
    port = found["port"] or str(_PORTS[scheme])
    wrong = host_mistake(host) or port_mistake(port)
    if wrong:
        raise ValueError(wrong)
    return ServerUrl(scheme, host.strip("[]").lower(), int(port))


def parse_imap(text: str) -> tuple[str, ServerUrl]:
    """The domain whose passwords a server checks, empty for those that have no server of their own, and the server.
    Raises ValueError.
    """
    domain, equals, url = text.rpartition("=")
    if equals and not _DOMAIN.fullmatch(domain):
        raise ValueError(f'expected DOMAIN=URL, as in "example.com=imaps://mail.example.com", got "{text}"')
    return domain.lower(), parse_server_url(url, IMAP)


def imap_mistake(text: str) -> str:
    """What is wrong with a text of `imap`."""
    return _mistake(lambda: parse_imap(text))


def ldap_mistake(text: str) -> str:
    """What is wrong with the URL of a directory."""
    return _mistake(lambda: parse_server_url(text, LDAP))


def ldap_user_mistake(text: str) -> str:
    """What is wrong with the name, or the filter, that an address becomes."""
    unknown = [each for each in _BRACES.findall(text) if each not in PLACEHOLDERS]
    if unknown:
        return f'"{unknown[0]}" is not known here: expected {", ".join(PLACEHOLDERS)}'
    if not any(each in text for each in PLACEHOLDERS[:2]):
        return f'expected {{address}} or {{local}} in it, got "{text}"'
    if is_filter(text) and not text.endswith(")"):
        return f'expected a filter in parentheses, as in "(mail={{address}})", got "{text}"'
    if not is_filter(text) and "=" not in text:
        return f'expected a name such as "uid={{local}},ou=people,dc=example,dc=com" or a filter, got "{text}"'
    return ""


def issuer_mistake(text: str) -> str:
    """What is wrong with the name of an OpenID provider, which is a URL."""
    if not is_web_url(text) or urlsplit(text).query:
        return f'expected the issuer as the provider writes it, as in "https://login.example.com", got "{text}"'
    return ""


def is_web_url(text: str) -> bool:
    """Whether what is sent to it goes by TLS, or to this machine itself."""
    try:
        parts = urlsplit(text)
        server = ServerUrl(parts.scheme, parts.hostname or "", parts.port or 0)
    except ValueError:
        return False
    is_plain = parts.username is None and not parts.fragment and text.isprintable() and " " not in text
    return is_plain and bool(server.host) and (parts.scheme == "https" or (parts.scheme == "http" and server.is_local))


def is_filter(text: str) -> bool:
    """Whether `ldap_user` is a filter, by which the entry is searched, and not its name."""
    return text.startswith("(")


def split_placeholders(text: str) -> list[str]:
    """The placeholders of `ldap_user`, and what is between them."""
    return _PLACEHOLDER.split(text)


def _mistake(parse: Callable[[], object]) -> str:
    try:
        parse()
    except ValueError as error:
        return str(error)
    return ""
