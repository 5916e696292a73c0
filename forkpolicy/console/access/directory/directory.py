"""Asks the server of [console] `sign_in` whether a password is right, for people who have no account of the console.

A few are asked at a time, since each may take seconds of one of the threads that pages need; a server that was away
just now is not asked again at once. For all threads.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.directory import imap
from forkpolicy.console.access.directory.errors import DirectoryAwayError, NotProvedError
from forkpolicy.console.access.directory.ldap import Ldap
from forkpolicy.console.access.directory.oidc import Begun, Oidc
from forkpolicy.console.access.directory.person import Person, address_of
from forkpolicy.console.access.passwords import MOST_CHARACTERS
from forkpolicy.console.errors import NotFound, TooMany
from forkpolicy.directory_urls import parse_imap
from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.console.access.directory.aliases import Aliases
    from forkpolicy.console.access.directory.served import Served
    from forkpolicy.console_settings import ConsoleSettings

# Next to those that compute hashes (passwords.py), of the threads of serve.py.
AT_ONCE: Final = 3
AWAY_S: Final = 5.0
# They end a word or a line where a server reads them.
_NEVER: Final = ("\0", "\r", "\n")
_log: Final = logging.getLogger("forkpolicy.console")


class Directory:
    """The servers of the settings."""

    def __init__(
        self,
        settings: ConsoleSettings,
        served: Served,
        aliases: Aliases,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._served, self._aliases, self._clock = settings, served, aliases, clock
        self._imap = dict(map(parse_imap, settings.imap)) if "imap" in settings.sign_in else {}
        self._ldap = Ldap(settings) if "ldap" in settings.sign_in else None
        self._oidc = Oidc(settings) if "oidc" in settings.sign_in else None
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._away_until_s: dict[str, float] = {}

    @property
    def takes_passwords(self) -> bool:
        """Whether a password may be another server's."""
        return bool(self._imap or self._ldap)

    @property
    def is_away(self) -> bool:
        """Whether a server that checks passwords could not be asked just now."""
        issuer = self._oidc.provider.issuer if self._oidc else ""
        return any(self._clock() < until_s for server, until_s in list(self._away_until_s.items()) if server != issuer)

    def person(self, name: str, password: str, client: str) -> Person | None:
        """Who has this name and this password. None: nobody, or somebody whom the gateway does not serve. Raises
        DirectoryAwayError, TooMany.
        """
        address = address_of(name)
        # A directory takes an empty password for nobody's (RFC 4513, 5.1.2), and says yes.
        if not self.takes_passwords or not address or not password or len(password) > MOST_CHARACTERS:
            return None
        if any(each in password for each in _NEVER) or not self._serves(address):
            return None
        found = self._by_ldap(address, password) if self._ldap else self._by_imap(address, password, client)
        return replace(found, addresses=found.addresses | self._aliases.of(address)) if found else None

    def _serves(self, address: str) -> bool:
        with self._asking("the domains file"):
            try:
                return self._served.serves(address)
            except ForkpolicyError as error:
                raise DirectoryAwayError(str(error)) from error

    def _by_imap(self, address: str, password: str, client: str) -> Person | None:
        url = self._imap.get(address.rpartition("@")[2]) or self._imap.get("")
        if not url:
            return None
        with self._asking(str(url)):
            is_right = imap.is_right(url, address, password, client, self._settings.ca_file)
        return Person(address, "imap", frozenset({address})) if is_right else None

    def _by_ldap(self, address: str, password: str) -> Person | None:
        assert self._ldap
        with self._asking(str(self._ldap.url)):
            aliases = self._ldap.aliases(address, password)
        return None if aliases is None else Person(address, "ldap", aliases | {address})

    @property
    def provider(self) -> str:
        """The name of the host where people may sign in; empty: there is none."""
        return self._oidc.provider.host if self._oidc else ""

    def begin_at_provider(self, to: str) -> Begun:
        """`to`: the page to come back to. Raises NotFound where there is no provider, DirectoryAwayError, TooMany."""
        oidc = self._oidc
        if not oidc:
            raise NotFound("There is no such page.")
        with self._asking(oidc.provider.issuer):
            return oidc.begin(to)

    def back_from_provider(self, query: Mapping[str, str], cookie: str) -> Person:
        """Who comes back. Raises NotProvedError, and as `begin_at_provider`."""
        oidc = self._oidc
        if not oidc:
            raise NotFound("There is no such page.")
        with self._asking(oidc.provider.issuer):
            address = oidc.address(query, cookie)
        if not self._serves(address):
            raise NotProvedError(f"{address} is not served here")
        return Person(address, "oidc", self._aliases.of(address) | {address})

    @contextmanager
    def _asking(self, server: str) -> Iterator[None]:
        if self._clock() < self._away_until_s.get(server, 0.0):
            raise DirectoryAwayError(f"{server} was away just now")
        if not self._places.acquire(blocking=False):
            raise TooMany("Many people sign in at this moment: try again in some seconds.")
        try:
            yield
        except DirectoryAwayError as error:
            _log.warning("nobody can sign in by %s: %s", server, error)
            self._away_until_s[server] = self._clock() + AWAY_S
            raise
        finally:
            self._places.release()
