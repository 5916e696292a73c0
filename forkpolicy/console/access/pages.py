"""Signing in and out, and the page of a one-time link."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.requests import cookie_parser

from forkpolicy.console.access import passwords
from forkpolicy.console.access.directory import oidc
from forkpolicy.console.access.directory.errors import DirectoryAwayError, HasAccountError, NotProvedError
from forkpolicy.console.access.directory.person import Person
from forkpolicy.console.errors import NotFound, TooMany, UserMistake
from forkpolicy.console.links import is_ours, link
from forkpolicy.console.page import Notice, Page, Redirect

if TYPE_CHECKING:
    from forkpolicy.console.access.accounts import Kept
    from forkpolicy.console.visit import Visit

SIGN_IN: Final = "/sign-in"
_WRONG: Final = "The name or the password is wrong."
_AWAY: Final = (
    "The mail server that checks passwords cannot be asked now, so nobody can sign in with the password of a mailbox:"
    " try again in some minutes. Accounts of this console work as before."
)
_PROVIDER_AWAY: Final = (
    "{host} cannot be asked now, so nobody can sign in there: try again in some minutes."
    " Accounts of this console work as before."
)
_NOT_PROVED: Final = (
    "You are not signed in: {host} did not say who you are, or mail for you does not come through here."
    " Try again; the log of the console has the reason, for an administrator."
)
_HAS_ACCOUNT: Final = "This address has an account of this console: sign in with its name and password."
_log: Final = logging.getLogger("forkpolicy.console")
_MOST_NAME: Final = 300
_USED: Final = "This link was used already, or is too old: ask an administrator for another one."


def show_sign_in(visit: Visit) -> Page | Redirect:
    """The form; for those who have signed in, the first page."""
    if visit.signed_in:
        return Redirect("/")
    return _sign_in_page(
        visit, _local(visit.text("to")), visit.say(_AWAY) if visit.parts.door.directory.is_away else ""
    )


def sign_in(visit: Visit) -> Page | Redirect:
    """Begin a session, in place of one that there may be."""
    door = visit.parts.door
    to = _local(visit.text("to"))
    try:
        found = door.arrived(visit.text("name", most=_MOST_NAME), visit.form.get("password", ""), visit.client)
    except TooMany as error:
        return _sign_in_page(visit, to, str(error), error.status)
    except DirectoryAwayError:
        return _sign_in_page(visit, to, visit.say(_AWAY), 503)
    secret = begin_session(visit, found) if found else None
    if not secret:
        # Or its password was changed while this one was compared.
        return _sign_in_page(visit, to, visit.say(_WRONG), 401)
    return Redirect(to or "/", (door.sessions.cookie(secret),))


def begin_session(visit: Visit, found: Kept | Person) -> str | None:
    """A session of somebody who has proved it, in place of one that there may be; None: that may not sign in now."""
    by = f" by {found.source}" if isinstance(found, Person) else ""
    visit.parts.audit.note(found.name, f"signed in{by}", found.name, client=visit.client)
    sessions = visit.parts.door.sessions
    if visit.session:
        sessions.end(visit.session)
    return sessions.begin(found, visit.client)


def to_provider(visit: Visit) -> Page | Redirect:
    """Send the browser to the OpenID provider, with what it is to bring back."""
    to = _local(visit.text("to"))
    try:
        begun = visit.parts.door.directory.begin_at_provider(to)
    except TooMany as error:
        return _sign_in_page(visit, to, str(error), error.status)
    except DirectoryAwayError:
        return _provider_away(visit, to)
    return Redirect(begun.address, (begun.cookie,))


def from_provider(visit: Visit) -> Page | Redirect:
    """Begin a session of who comes back from there. It changes something although it is a GET: a secret of this browser
    and a code that works once stand for the token of a form.
    """
    door, cookie = visit.parts.door, cookie_parser(visit.headers.get("cookie", "")).get(oidc.COOKIE, "")
    to = _local(oidc.page_of(cookie))
    try:
        person = door.back_from_provider(visit.query, cookie, visit.client)
    except TooMany as error:
        return _sign_in_page(visit, to, str(error), error.status)
    except DirectoryAwayError:
        return _provider_away(visit, to)
    except HasAccountError:
        return _sign_in_page(visit, to, visit.say(_HAS_ACCOUNT), 401)
    except NotProvedError as error:
        _log.warning("nobody was signed in by %s: %s", door.directory.provider, error)
        return _sign_in_page(visit, to, visit.say(_NOT_PROVED, host=door.directory.provider), 401)
    secret = begin_session(visit, person)
    if not secret:
        return _sign_in_page(visit, to, visit.say(_HAS_ACCOUNT), 401)
    return Redirect(to or "/", (door.sessions.cookie(secret), oidc.no_cookie()))


def _provider_away(visit: Visit, to: str) -> Page:
    return _sign_in_page(visit, to, visit.say(_PROVIDER_AWAY, host=visit.parts.door.directory.provider), 503)


def sign_out(visit: Visit) -> Redirect:
    """End this session."""
    visit.note("signed out", visit.account.name)
    visit.parts.door.sessions.end(visit.session)
    return Redirect(SIGN_IN, (visit.parts.door.sessions.no_cookie(),))


def show_first(visit: Visit) -> Page:
    """The form of a one-time link. Raises NotFound."""
    found = visit.parts.door.accounts.of_link(visit.path["secret"])
    if not found:
        raise NotFound(_USED)
    data = {"name": found.name, "role": found.role, "least": passwords.LEAST_CHARACTERS}
    sentence = visit.say("This is the account {name}.", name=found.name)
    return Page("first", visit.say("Choose a password"), sentence, data, is_translated=True)


def first(visit: Visit) -> Page | Redirect:
    """Set the password of a one-time link's account, and sign in. Raises NotFound."""
    password = visit.form.get("password", "")
    if password != visit.form.get("again", ""):
        raise UserMistake("The two passwords differ.", "again")
    door = visit.parts.door
    found = door.accounts.of_link(visit.path["secret"])
    if not found:
        raise NotFound(_USED)
    new_hash = passwords.hashed(password)
    visit.parts.audit.note(found.name, "password chosen by a one-time link", found.name, client=visit.client)
    found = door.accounts.use_link(visit.path["secret"], new_hash)
    secret = door.sessions.begin(found, visit.client) if found else None
    if not secret:
        raise NotFound(_USED)
    return Redirect("/", (door.sessions.cookie(secret),))


def address_to_sign_in(address: str) -> str:
    """The form, which leads back to the page that was asked for."""
    return link(SIGN_IN, to=_local(address))


def _local(address: str) -> str:
    return address if is_ours(address) and address != "/" else ""


def _sign_in_page(visit: Visit, to: str, why: str, status: int = 200) -> Page:
    directory = visit.parts.door.directory
    data = {"to": to, "by_address": directory.takes_passwords, "provider": directory.provider}
    notices = [Notice(why, "alarm")] if why else []
    return Page("sign-in", visit.say("Sign in"), data=data, notices=notices, status=status, is_translated=True)
