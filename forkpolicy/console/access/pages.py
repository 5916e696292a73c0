"""Signing in and out, and the page of a one-time link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.access import passwords
from forkpolicy.console.errors import NotFound, TooMany, UserMistake
from forkpolicy.console.links import is_ours, link
from forkpolicy.console.page import Notice, Page, Redirect

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit

SIGN_IN: Final = "/sign-in"
_WRONG: Final = "The name or the password is wrong."
_USED: Final = "This link was used already, or is too old: ask an administrator for another one."


def show_sign_in(visit: Visit) -> Page | Redirect:
    """The form; for those who have signed in, the first page."""
    if visit.signed_in:
        return Redirect("/")
    return Page("sign-in", visit.say("Sign in"), data={"to": _local(visit.text("to"))}, is_translated=True)


def sign_in(visit: Visit) -> Page | Redirect:
    """Begin a session, in place of one that there may be."""
    door = visit.parts.door
    to = _local(visit.text("to"))
    try:
        found = door.owner(visit.text("name", most=200), visit.form.get("password", ""), visit.client)
    except TooMany as error:
        return _sign_in_again(visit, to, str(error), error.status)
    if not found:
        return _sign_in_again(visit, to, visit.say(_WRONG), 401)
    visit.parts.audit.note(found.name, "signed in", found.name, client=visit.client)
    if visit.session:
        door.sessions.end(visit.session)
    secret = door.sessions.begin(found, visit.client)
    if not secret:
        # Its password was changed while this one was compared.
        return _sign_in_again(visit, to, visit.say(_WRONG), 401)
    return Redirect(to or "/", (door.sessions.cookie(secret),))


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
    return Page("first", "Choose a password", f"This is the account {found.name}.", data)


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


def _sign_in_again(visit: Visit, to: str, why: str, status: int) -> Page:
    notices = [Notice(why, "alarm")]
    return Page("sign-in", visit.say("Sign in"), data={"to": to}, notices=notices, status=status, is_translated=True)
