"""The page of one's own account: its password, and the sessions that are signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.access import passwords
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import link
from forkpolicy.console.page import Notice, Page, Redirect

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit

ADDRESS: Final = "/account"


def show(visit: Visit) -> Page:
    """Who it is, what that may do, and from where it is signed in."""
    account = visit.account
    kept = visit.parts.door.accounts.find(account.name)
    sessions = visit.parts.door.sessions.of(account.name)
    data = {
        "name": account.name,
        "role": account.role,
        "domains": sorted(account.domains),
        "addresses": sorted(account.addresses),
        "client": visit.client,
        "session": visit.session,
        "sessions": sessions,
        "least": passwords.LEAST_CHARACTERS,
        "has_password": kept is not None,
    }
    done = {
        "password": visit.say("The password was changed, and every other session has ended."),
        "session": visit.say("The session has ended."),
        "others": visit.say("Every other session has ended."),
    }.get(visit.text("done"))
    notices = [Notice(done, "done")] if done else []
    if kept and kept.role is not account.role:
        text = f"From {visit.client} this account has the role {account.role}, from admin_networks {kept.role}."
        notices.append(Notice(text))
    sentence = visit.say(
        "You are {name}; browsers that are signed in: {count}.", name=account.name, count=len(sessions)
    )
    return Page("account", visit.say("Your account"), sentence, data, notices=notices, is_translated=True)


def change_password(visit: Visit) -> Redirect:
    """Another password, for the one that is known. Every session ends, and this browser gets a new one."""
    door, name = visit.parts.door, visit.account.name
    if not door.accounts.find(name):
        raise UserMistake("This password is not kept here: change it where your mailbox is.", "password")
    password = visit.form.get("password", "")
    if password != visit.form.get("again", ""):
        raise UserMistake(visit.say("The two new passwords differ."), "again")
    found = door.owner(name, visit.form.get("current", ""), visit.client)
    if not found:
        visit.note("password not changed: the current one was wrong", name)
        raise UserMistake(visit.say("The current password is wrong."), "current")
    new_hash = passwords.hashed(password)
    visit.note("password changed", name)
    changed = door.accounts.set_password(found, new_hash)
    secret = door.sessions.begin(changed, visit.client) if changed else None
    if not secret:
        raise UserMistake("The password was changed elsewhere meanwhile.", "current")
    return Redirect(link(ADDRESS, done="password"), (door.sessions.cookie(secret),))


def end_session(visit: Visit) -> Redirect:
    """End one of the own sessions; without its id, all but this one. Raises NotFound."""
    sessions, name = visit.parts.door.sessions, visit.account.name
    ended = visit.text("session", most=100)
    if ended and ended not in {each.id for each in sessions.of(name)}:
        raise NotFound("There is no such session; it may have ended by itself.")
    visit.note(f"session {ended} ended" if ended else "other sessions ended", name)
    if ended:
        sessions.end(ended)
    else:
        sessions.end_all(name, but=visit.session)
    return Redirect(link(ADDRESS, done="session" if ended else "others"))
