"""`[console]` of forkpolicy.toml: the web console. Opens nothing and resolves no name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from forkpolicy.declared import setting
from forkpolicy.directory_urls import (
    imap_mistake,
    is_filter,
    issuer_mistake,
    ldap_mistake,
    ldap_user_mistake,
    parse_imap,
)
from forkpolicy.endpoints import host_mistake, network_mistake, port_mistake, unix_mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

# Settings that are paths, relative ones to the directory of forkpolicy.toml.
CONSOLE_PATHS: Final = ("path", "postfix", "gateway", "ldap_password_file", "oidc_secret_file", "ca_file")
# Browsers send a cookie that wants TLS to this machine itself without.
_LOOPBACK: Final = ("127.", "localhost:", "[::1]:")
SIGN_IN: Final = ("local", "imap", "ldap", "oidc")
_ATTRIBUTE: Final = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_INET: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+):([0-9]+)")


def _listen_mistake(text: str) -> str:
    if text.startswith("unix:"):
        return unix_mistake(text)
    found = _INET.fullmatch(text)
    if not found:
        return f'expected "127.0.0.1:8025", "[::1]:8025" or "unix:/path/of/socket", got "{text}"'
    return host_mistake(found[1]) or port_mistake(found[2])


def _url_mistake(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_origin = bool(parts.hostname) and parts.path in ("", "/") and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        is_origin = False
    if not is_origin or parts.scheme not in ("http", "https") or parts.username is not None:
        return f'expected scheme, host and port alone, as in "https://console.example.com", got "{text}"'
    return ""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """The section."""

    listen: str = setting(
        "127.0.0.1:8025",
        "Where the console listens: `HOST:PORT`, `[ADDRESS]:PORT` or `unix:/path` behind a proxy.",
        mistake=_listen_mistake,
    )
    url: str = setting(
        "",
        "How browsers reach it, as in `https://console.example.com`; empty: `http://` and `listen`.",
        mistake=_url_mistake,
        optional=True,
    )
    path: str = setting(
        "/var/lib/forkpolicy-console",
        "What the console keeps: accounts, the audit, its rules with their versions, its tables.",
        path=True,
    )
    trusted_proxies: tuple[str, ...] = setting(
        [],
        "Proxies whose X-Forwarded headers are believed: addresses, networks, or `unix` for clients of `unix:`.",
        mistake=lambda text: "" if text == "unix" else network_mistake(text),
    )
    admin_networks: tuple[str, ...] = setting(
        [],
        "From where an admin has the rights of one; from elsewhere those of a user. Empty: from everywhere.",
        mistake=network_mistake,
    )
    session_hours: int = setting(12, "Hours after which a browser must sign in again.", ge=1, le=720)
    postfix: str = setting(
        "/etc/postfix", "The configuration directory of the Postfix whose queue the page Queue shows.", path=True
    )
    gateway: str = setting(
        "",
        "The gateway's settings, as in `/etc/forkpolicy/gateway.toml`, whose held mail is shown; empty: none.",
        path=True,
        optional=True,
    )
    sign_in: tuple[str, ...] = setting(
        ["local"],
        "How people sign in: `local` accounts of the console; `imap` or `ldap`, and `oidc` for the others.",
        mistake=lambda text: "" if text in SIGN_IN else f'expected some of {", ".join(SIGN_IN)}, got "{text}"',
    )
    imap: tuple[str, ...] = setting(
        [],
        "Mail servers that check passwords: `imaps://HOST`, or `DOMAIN=imaps://HOST` for the people of one domain.",
        mistake=imap_mistake,
    )
    ldap: str = setting(
        "",
        "A directory that checks passwords: `ldaps://HOST`, `ldap://HOST`, or `ldapi://%2FPATH` for a socket.",
        mistake=ldap_mistake,
        optional=True,
    )
    ldap_base: str = setting(
        "", "Where people's entries are searched, such as `ou=people,dc=example,dc=com`.", optional=True
    )
    ldap_user: str = setting(
        "(mail={address})",
        "How an address becomes an entry: a filter or a name, with `{address}`, `{local}` and `{domain}` in it.",
        mistake=ldap_user_mistake,
    )
    ldap_bind_name: str = setting("", "The name (DN) that the search is made as; empty: nobody's.", optional=True)
    ldap_password_file: str = setting("", "The file with its password, in the first line.", optional=True, path=True)
    ldap_address_attribute: str = setting(
        "mail", "The attribute that must have the address.", pattern=_ATTRIBUTE, expected='an attribute, such as "mail"'
    )
    ldap_alias_attribute: str = setting(
        "",
        "The attribute that has a person's other addresses; empty: none.",
        pattern=f"({_ATTRIBUTE})?",
        expected='an attribute, such as "mailAlternateAddress"',
    )
    oidc_issuer: str = setting(
        "",
        "The issuer of an OpenID provider where people sign in, such as `https://login.example.com`.",
        mistake=issuer_mistake,
        optional=True,
    )
    oidc_client: str = setting("", "The id that the provider has given to this console.", optional=True)
    oidc_secret_file: str = setting(
        "",
        "The file with the secret that it has given, in the first line; empty: it wants none.",
        optional=True,
        path=True,
    )
    ca_file: str = setting(
        "",
        "The authorities that sign the certificates of servers that sign people in; empty: the system's.",
        optional=True,
        path=True,
    )

    @property
    def rules(self) -> Path:
        """The file that a policy includes with `restricted`, unless it names another."""
        return Path(self.path) / "rules.conf"

    @property
    def tables(self) -> Path:
        """The directory of the sources of its tables."""
        return Path(self.path) / "tables"

    @property
    def origin(self) -> str:
        """Scheme, host and port as a browser sends them in Origin, without a slash at the end; empty: not known,
        as it listens on a socket file and `url` is empty.
        """
        if self.url:
            parts = urlsplit(self.url)
            host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
            usual = {"http": 80, "https": 443}[parts.scheme]
            return f"{parts.scheme}://{host}" + ("" if parts.port in (None, usual) else f":{parts.port}")
        return "" if self.listen.startswith("unix:") else f"http://{self.listen}"


def console_clashes(console: ConsoleSettings) -> Iterator[tuple[str, str, str]]:
    """Settings that contradict each other: the setting, the message, the hint."""
    if console.listen.startswith("unix:") and not console.url:
        yield "listen", "listen: browsers reach no socket file", 'give the proxy\'s address: url = "https://..."'
    if not console.url and not console.listen.startswith(("unix:", *_LOOPBACK)):
        message = f"listen: browsers sign in at another machine over TLS only, which {console.listen} is not"
        yield "listen", message, 'put a proxy with a certificate in front, and give its address: url = "https://..."'
    if "unix" in console.trusted_proxies and not console.listen.startswith("unix:"):
        yield "trusted_proxies", 'trusted_proxies: "unix" is for listen = "unix:/path"', "name the proxy's address"
    yield from _sign_in_clashes(console)


def _sign_in_clashes(console: ConsoleSettings) -> Iterator[tuple[str, str, str]]:
    if "local" not in console.sign_in:
        message = "sign_in: administrators and operators have accounts of the console itself"
        wanted = ", ".join(f'"{each}"' for each in ("local", *console.sign_in))
        yield "sign_in", message, f"write sign_in = [{wanted}]"
    if {"imap", "ldap"} <= set(console.sign_in):
        yield "sign_in", "sign_in: two servers would get each password", 'write "imap" or "ldap"'
    if "imap" in console.sign_in and not console.imap:
        yield "sign_in", 'sign_in: "imap" needs a mail server', 'add imap = ["imaps://mail.example.com"]'
    domains = [parse_imap(each)[0] for each in console.imap]
    for domain in sorted({each for each in domains if domains.count(each) > 1}):
        whose = domain or "domains without one of their own"
        yield "imap", f"imap: two servers for {whose}", "a password is sent to one server only: remove the other"
    if "ldap" in console.sign_in:
        yield from _ldap_clashes(console)
    if "oidc" in console.sign_in and not (console.oidc_issuer and console.oidc_client):
        hint = f"register the console there with {console.origin}/sign-in/oidc/back as the address to come back to"
        yield "sign_in", 'sign_in: "oidc" needs oidc_issuer and oidc_client', hint


def _ldap_clashes(console: ConsoleSettings) -> Iterator[tuple[str, str, str]]:
    if not console.ldap:
        yield "sign_in", 'sign_in: "ldap" needs a directory', 'add ldap = "ldaps://ldap.example.com"'
    if is_filter(console.ldap_user) and not console.ldap_base:
        message = "ldap_base: the filter of ldap_user is searched nowhere"
        yield "ldap_base", message, 'add ldap_base = "ou=people,dc=example,dc=com"'
    if bool(console.ldap_bind_name) != bool(console.ldap_password_file):
        missing = "ldap_password_file" if console.ldap_bind_name else "ldap_bind_name"
        yield missing, f"{missing}: a search is made by a name with a password", "give both, or neither"
