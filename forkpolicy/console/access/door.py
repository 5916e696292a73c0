"""The gate of `console serve`: accounts and sessions in accounts.sqlite, forms with tokens from our own origin."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access import passwords
from forkpolicy.console.access.account import Account
from forkpolicy.console.access.accounts import Accounts
from forkpolicy.console.access.database import Database
from forkpolicy.console.access.directory.aliases import Aliases
from forkpolicy.console.access.directory.directory import Directory
from forkpolicy.console.access.directory.errors import DirectoryAwayError, HasAccountError, NotProvedError
from forkpolicy.console.access.directory.person import Person
from forkpolicy.console.access.directory.served import Served
from forkpolicy.console.access.gate import Entered
from forkpolicy.console.access.limits import Tries
from forkpolicy.console.access.networks import Networks
from forkpolicy.console.access.origin import Origins
from forkpolicy.console.access.proxies import Proxies
from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.sessions import COOKIE, Sessions
from forkpolicy.console.access.tokens import form_token, is_same
from forkpolicy.console.errors import NotAllowed, NotFound, TooMany
from forkpolicy.errors import ForkpolicyError
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.access.accounts import Kept
    from forkpolicy.console.access.audit import Audit
    from forkpolicy.console.access.gate import Asked
    from forkpolicy.console.held.room import Gateway
    from forkpolicy.console.tables.tables import Lookups
    from forkpolicy.console_settings import ConsoleSettings

_log: Final = logging.getLogger("forkpolicy.console")
TOKEN_FIELD = "token"  # noqa: S105 - the name of a field


class Door:
    """Who comes in. Its parts are used by the pages that sign in and out."""

    def __init__(self, settings: ConsoleSettings, audit: Audit, gateway: Gateway, lookups: Lookups) -> None:
        self._audit, self._sign_in = audit, frozenset(settings.sign_in)
        database = Database(settings.path)
        self.accounts = Accounts(database)
        self.sessions = Sessions(database, settings.session_hours)
        self.tries = Tries()
        self._served = Served(gateway)
        self.directory = Directory(settings, self._served, Aliases(lookups))
        self._origins = Origins(settings)
        self._proxies = Proxies(settings.trusted_proxies)
        self._admin_networks = Networks(settings.admin_networks)

    def enter(self, asked: Asked) -> Entered:
        """The visitor. Raises NotAllowed as a gate does, sqlite3.Error and CannotWriteError."""
        self._origins.check_host(self._proxies.host(asked.peer, asked.headers))
        client = self._proxies.client(asked.peer, asked.headers)
        secret = asked.cookies.get(COOKIE, "")
        session = self.sessions.find(secret) if secret else None
        if session and isinstance(session.owner, Person) and session.owner.source not in self._sign_in:
            session = None  # that server is asked no more
        token = form_token(secret) if session else ""
        if asked.method == "POST":
            self._origins.check_form(asked.headers)
            if session and not is_same(asked.form.get(TOKEN_FIELD, ""), token):
                raise NotAllowed("This form is of another session: go back, load the page, try again.")
        if not session:
            return Entered(client)
        return Entered(client, self._account(session.owner, client), session.id, token)

    def arrived(self, name: str, password: str, client: str) -> Kept | Person | None:
        """Who has this name and this password, and may sign in: an account of that name, and where there is none,
        somebody whom another server knows. Raises TooMany, DirectoryAwayError.
        """
        return self._tried(name, password, client, self.directory)

    def back_from_provider(self, query: Mapping[str, str], cookie: str, client: str) -> Person:
        """Who comes back from an OpenID provider. Raises NotProvedError, HasAccountError, TooMany, DirectoryAwayError,
        NotFound where there is no provider.
        """
        # Each is a name of its own, so that failures count for their network alone.
        name = f"at the provider, {query.get('state', '')[:100]}"
        begun_s = self.tries.begin(name, client)
        try:
            person = self.directory.back_from_provider(query, cookie)
        except NotProvedError:
            self._audit.failed("", client)
            raise
        except (TooMany, DirectoryAwayError, NotFound):
            self.tries.take_back(name, client, begun_s)
            raise
        self.tries.succeeded(name, client, begun_s)
        if self.accounts.keeps_out(person.name):
            self._audit.failed(person.name, client)
            raise HasAccountError(person.name)
        return person

    def owner(self, name: str, password: str, client: str) -> Kept | None:
        """The account of a name and a password, if both are right and it may sign in. Raises TooMany."""
        found = self._tried(name, password, client, None)
        assert not isinstance(found, Person), "nobody else was asked"
        return found

    def _tried(self, name: str, password: str, client: str, directory: Directory | None) -> Kept | Person | None:
        name = fold_address(name.strip())
        begun_s = self.tries.begin(name, client)
        found = self.accounts.find(name)
        person = None
        try:
            is_right = passwords.is_right(found.password if found else None, password)
            if directory and not self.accounts.keeps_out(name):
                person = directory.person(name, password, client)
        except (TooMany, DirectoryAwayError):
            self.tries.take_back(name, client, begun_s)
            raise
        if not person and (not (found and is_right) or found.is_disabled):
            # What was typed as a name may be a password, and strangers must not fill the disk.
            self._audit.failed(found.name if found else "", client)
            return None
        self.tries.succeeded(name, client, begun_s)
        if found and found.password and passwords.is_old(found.password):
            return self.accounts.renew_hash(found, passwords.hashed(password))
        return person or found

    def _account(self, owner: Kept | Person, client: str) -> Account:
        """As pages see it, with the role that holds now, and from here."""
        if not isinstance(owner, Person):
            return owner.account(self._role(owner.role, client))
        try:
            domains = self._served.looked_after_by(owner.name)
        except ForkpolicyError as error:
            # Own mail can be looked at all the same.
            _log.warning("who looks after a domain cannot be read: %s", error)
            domains = frozenset()
        return Account(owner.name, Role.DOMAIN if domains else Role.USER, domains, owner.addresses)

    def _role(self, role: Role, client: str) -> Role:
        """An admin has the rights of one from the networks for that only."""
        is_elsewhere = self._admin_networks and not self._admin_networks.has(client)
        return Role.USER if role is Role.ADMIN and is_elsewhere else role
