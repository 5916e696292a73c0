"""The file of an `ldap:` source: which directory is asked, as whom, and for what. TOML, checked like the settings.

Relative paths in it are relative to it. The password stands in a file of its own, which nobody else may read, and never
crosses a network in clear. Reading the file raises ConfigError with every mistake in it.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from forkpolicy.declared import TomlReader, decode, setting
from forkpolicy.errors import ConfigError
from forkpolicy.files import Files

if TYPE_CHECKING:
    from collections.abc import Iterator

_ATTRIBUTE: Final = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_EXPECTED_URL: Final = '"ldaps://HOST", "ldap://HOST" or "ldapi://%2FPATH"'
# What a map of Postfix has; its values have no quotes, so that it is not TOML.
_OF_POSTFIX: Final = re.compile(r"^\s*(server_host|search_base|query_filter|result_attribute)\s*=", re.MULTILINE)


def _url_mistake(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return f"expected {_EXPECTED_URL}"
    is_socket = parts.scheme == "ldapi"
    place = unquote(parts.netloc) + parts.path if is_socket else parts.hostname
    if parts.scheme not in ("ldap", "ldaps", "ldapi") or not place or (is_socket and not place.startswith("/")):
        return f"expected {_EXPECTED_URL}"
    if parts.username is not None or (not is_socket and parts.path.strip("/")) or parts.query or parts.fragment:
        return f"expected {_EXPECTED_URL} alone: base, filter, attribute and bind_name are settings of their own"
    return ""


@dataclass(frozen=True, slots=True)
class LdapFile:
    """One search. `path`: of the file itself."""

    url: str = setting(
        "",
        "The server: `ldaps://HOST`, `ldap://HOST`, or `ldapi://%2FPATH` for a socket.",
        required=True,
        mistake=_url_mistake,
    )
    base: str = setting("", "Where the search begins, such as `ou=people,dc=example,dc=com`.", required=True)
    attribute: str = setting(
        "",
        "The attribute that has the key. Each of its values is an entry. A `pair` table needs one for each column.",
        required=True,
        pattern=rf"{_ATTRIBUTE}(?: +{_ATTRIBUTE})*",
        expected='an attribute, such as "mail", or several for a pair table, such as "uid mail"',
    )
    value: str = setting("", "The attribute that has the value.", pattern=f"({_ATTRIBUTE})?", expected="one attribute")
    filter: str = setting("(objectClass=*)", "Which entries of the directory are taken.")
    scope: str = setting(
        "subtree",
        "`subtree`, only the level below `base` (`one`), or `base` alone.",
        choices=("subtree", "one", "base"),
    )
    prefix: str = setting(
        "",
        "Take the values of the last `attribute` that begin so, without it: `smtp:` for proxyAddresses.",
        optional=True,
    )
    bind_name: str = setting("", "The name (DN) that the search is made as; empty: anonymous.", optional=True)
    password_file: str = setting("", "The file with its password, in the first line.", optional=True, path=True)
    start_tls: bool = setting(False, "Whether an `ldap://` connection is encrypted before anything is asked.")
    ca_file: str = setting(
        "",
        "The authorities that the server's certificate must be signed by; empty: the system's.",
        optional=True,
        path=True,
    )
    timeout: int = setting(10, "Seconds that connecting, and each answer, may take.", ge=1, le=60)
    page_size: int = setting(500, "How many entries are asked for at a time.", ge=1, le=100000)
    path: str = ""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of the key."""
        return tuple(self.attribute.split())

    def password(self) -> str:
        """That of `bind_name`. Raises ConfigError, ValueError."""
        path = self.password_file
        first = decode(path, Files().read(path)).partition("\n")[0]
        if Path(path).stat().st_mode & stat.S_IRWXO:
            raise ValueError(f"password_file: everybody may read or change {path}: chmod o= {path}")
        if not first:
            raise ValueError(f"password_file: {path} is empty: expected a password in its first line")
        return first


def read_ldap_file(path: Path) -> LdapFile:
    """The search that a file describes. Raises ConfigError."""
    reader = TomlReader(str(path), decode(str(path), Files().read(path)))
    if _OF_POSTFIX.search(reader.text):
        message = "this is a map of Postfix (ldap_table(5)): an ldap: source has a file of its own, in TOML"
        hint = 'write url = "ldaps://HOST", base = "...", filter = "..." and attribute = "..." into a new file'
        raise ConfigError([reader.at(1, 0, message, hint=hint)])
    values = reader.values(LdapFile, "", reader.document())
    for name in ("password_file", "ca_file"):
        if values.get(name):
            values[name] = str(path.parent / values[name])
    search = replace(LdapFile(**values), path=str(path))
    if not reader.diagnostics:
        for key, message, hint in _clashes(search):
            reader.report_at(reader.place(key, ""), key, message, hint)
    if reader.diagnostics:
        raise ConfigError(reader.diagnostics)
    return search


def _clashes(search: LdapFile) -> Iterator[tuple[str, str, str]]:
    """Settings that contradict each other: the setting, the message, the hint."""
    is_plain = search.url.startswith("ldap://")
    if search.start_tls and not is_plain:
        yield "start_tls", "start_tls is for ldap:// alone", "remove it"
    if search.ca_file and not (search.start_tls or search.url.startswith("ldaps://")):
        yield "ca_file", "ca_file: the connection does not use TLS", 'write "ldaps://", or start_tls = true'
    if search.bind_name and not search.password_file:
        yield "bind_name", "bind_name needs a password", "name the password_file that has it"
    if search.password_file and not search.bind_name:
        yield "password_file", "password_file: there is no bind_name whose password it has", "add bind_name"
    if search.bind_name and is_plain and not search.start_tls and not _is_loopback(search.url):
        message = f"url: {search.url} is another machine, and the password would cross the network in clear"
        yield "url", message, 'write "ldaps://", or start_tls = true'


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
