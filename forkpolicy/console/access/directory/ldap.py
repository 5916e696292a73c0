"""Checks a password by signing in at a directory (LDAP) as the entry of an address.

The entry must have the address in `ldap_address_attribute`: a name may be made of a part of the address, and then two
people could have it. Its aliases are what `ldap_alias_attribute` has. An address without an entry takes as long as one
with a wrong password. Raises DirectoryAwayError where the server cannot be asked.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from forkpolicy.console.access.directory.errors import DirectoryAwayError
from forkpolicy.console.access.directory.person import address_of
from forkpolicy.directory_urls import LDAP, is_filter, parse_server_url, split_placeholders
from forkpolicy.ldap_connection import (
    SUCCESS,
    Place,
    ask,
    escaped_in_filter,
    escaped_in_name,
    opened,
    refusal,
    signed_in,
)
from forkpolicy.sign_in_checks import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.console_settings import ConsoleSettings
    from forkpolicy.ldap_connection import Connection, Found

TIMEOUT_S: Final = 5
TOTAL_S: Final = 10.0
_MOST_BYTES: Final = 1 << 20
_SIZE_LIMIT_EXCEEDED: Final = 4
# RFC 4511, A.2: of a name or a password, not of the server. Lockouts of accounts have one of them, too.
_REFUSED: Final = frozenset({19, 32, 34, 48, 49, 50, 53})
# What Active Directory writes in front of an address in proxyAddresses.
_PREFIX: Final = "smtp:"
_log: Final = logging.getLogger("forkpolicy.console")


class Ldap:
    """The directory of the settings."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._settings = settings
        self.url = parse_server_url(settings.ldap, LDAP)

    def aliases(self, address: str, password: str) -> frozenset[str] | None:
        """The other addresses of who has this one and this password; None: nobody has them."""
        try:
            with opened(self._place()) as connection:
                if is_filter(self._settings.ldap_user):
                    return self._by_search(connection, address, password)
                return self._by_name(connection, address, password)
        except ValueError as error:
            raise DirectoryAwayError(f"{self.url}: {error}") from error

    def _place(self) -> Place:
        url = self.url
        text = f"ldapi://{quote(url.host, safe='')}" if url.scheme == "ldapi" else str(url)
        return Place(text, url.begins_tls, self._settings.ca_file, TIMEOUT_S, TOTAL_S, _MOST_BYTES)

    def _by_search(self, connection: Connection, address: str, password: str) -> frozenset[str] | None:
        """Search the entry as `ldap_bind_name`, then sign in as it."""
        name, path = self._settings.ldap_bind_name, self._settings.ldap_password_file
        if not signed_in(connection, name, read_secret("[console] ldap_password_file", path) if name else ""):
            raise ValueError(refusal("sign in", connection.result))
        text = _filled_in(self._settings.ldap_user, address, escaped_in_filter)
        found = self._search(connection, self._settings.ldap_base, text, "SUBTREE")
        if len(found) > 1:
            _log.warning("%s: %d entries or more are found by %s: expected one", self.url, len(found), text)
        entry = found[0] if len(found) == 1 else None
        # Nobody's name is tried, too: the server takes as long for it.
        is_right = self._takes(connection, entry["dn"] if entry else self._nobody(), password)
        return self._aliases_of(entry, address) if entry and is_right else None

    def _by_name(self, connection: Connection, address: str, password: str) -> frozenset[str] | None:
        """Sign in as the name that the address becomes, then read its entry."""
        name = _filled_in(self._settings.ldap_user, address, escaped_in_name)
        if not self._takes(connection, name, password):
            return None
        found = self._search(connection, name, "(objectClass=*)", "BASE")
        return self._aliases_of(found[0], address) if found else None

    def _search(self, connection: Connection, base: str, text: str, scope: str) -> list[Found]:
        """At most two entries. Raises ValueError."""
        attributes = [self._settings.ldap_address_attribute, *filter(None, [self._settings.ldap_alias_attribute])]
        ask(lambda: connection.search(base, text, scope, attributes=attributes, size_limit=2))
        if connection.result["result"] not in (SUCCESS, _SIZE_LIMIT_EXCEEDED):
            raise ValueError(refusal("search", connection.result))
        return [each for each in connection.response if each["type"] == "searchResEntry"]

    def _takes(self, connection: Connection, name: str, password: str) -> bool:
        if signed_in(connection, name, password):
            return True
        if connection.result["result"] not in _REFUSED:
            raise ValueError(refusal("sign in", connection.result))
        return False

    def _nobody(self) -> str:
        return ",".join(filter(None, [f"cn=nobody-{secrets.token_hex(8)}", self._settings.ldap_base]))

    def _aliases_of(self, entry: Found, address: str) -> frozenset[str] | None:
        """None where the address is not one of the entry's own."""
        own = _addresses(entry, self._settings.ldap_address_attribute)
        if address not in own:
            _log.warning(
                "%s: %s does not have %s in %s", self.url, entry["dn"], address, self._settings.ldap_address_attribute
            )
            return None
        return _addresses(entry, self._settings.ldap_alias_attribute)


def _filled_in(text: str, address: str, escaped: Callable[[str], str]) -> str:
    local, _, domain = address.rpartition("@")
    parts = {"{address}": address, "{local}": local, "{domain}": domain}
    # In one pass: a part may have braces.
    return "".join(escaped(parts[each]) if each in parts else each for each in split_placeholders(text))


def _addresses(entry: Found, attribute: str) -> frozenset[str]:
    """The addresses in an attribute, folded; what is none is left out."""
    raw = entry["raw_attributes"].items()
    values = [value for name, values in raw if name.lower() == attribute.lower() for value in values]
    return frozenset(filter(None, map(_address, values)))


def _address(value: bytes) -> str:
    text = value.decode("utf-8", "replace").strip()
    return address_of(text[len(_PREFIX) :] if text.lower().startswith(_PREFIX) else text)
