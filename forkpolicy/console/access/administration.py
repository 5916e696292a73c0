"""Pages for administrators: the accounts, and the audit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.accounts import LINK_DAYS
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import link
from forkpolicy.console.page import Notice, Page, Redirect, Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.console.access.accounts import Kept
    from forkpolicy.console.access.audit import Audit
    from forkpolicy.console.visit import Visit

ADDRESS: Final = "/accounts"
MOST_ENTRIES: Final = 100
MOST_PRESENT: Final = 100
_PART: Final = 1000
_ACTS: Final = ("disable", "enable")
_DONE: Final = {
    "disable": "The account {} was disabled, and its sessions have ended.",
    "enable": "The account {} may sign in again.",
    "end": "The sessions of {} have ended.",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """An account in the list. `sees`: its domains or addresses."""

    name: str
    role: str
    sees: Sequence[str]
    state: str
    sessions: int
    created_s: int


def show_accounts(visit: Visit) -> Page:
    """Every account, and what may be done with it."""
    return _accounts_page(visit, visit.text("done"))


def act(visit: Visit) -> Page | Redirect:
    """Disable or enable an account, or make a one-time link for it; end the sessions of somebody without an account.
    Raises NotFound, UserMistake.
    """
    accounts = visit.parts.door.accounts
    found = accounts.find(visit.path["name"])
    if not found:
        return _end_sessions(visit, visit.path["name"])
    what = visit.text("what")
    if what == "link":
        visit.note("one-time link made", found.name)
        address = f"{visit.parts.settings.console.origin}/first/{accounts.new_link(found.name)}"
        return _link_page(found, address)
    if what not in _ACTS:
        raise UserMistake(f"what: expected {', '.join(_ACTS)} or link, got {what}", "what")
    if found.name == visit.account.name:
        raise UserMistake("You cannot disable your own account; another administrator can.", "what")
    visit.note(f"account {what}d", found.name)
    if what == "disable":
        accounts.disable(found.name)
    else:
        accounts.enable(found.name)
    return Redirect(link(ADDRESS, done=what, name=found.name))


def _end_sessions(visit: Visit, name: str) -> Redirect:
    sessions = visit.parts.door.sessions
    if not sessions.of(name):
        raise NotFound("There is no such account.")
    if visit.text("what") != "end":
        raise UserMistake(f"what: expected end, got {visit.text('what')}", "what")
    visit.note("sessions ended", name)
    sessions.end_all(name)
    return Redirect(link(ADDRESS, done="end", name=name))


def show_audit(visit: Visit) -> Page:
    """Who did what, the newest first."""
    who, about = visit.text("who").casefold(), visit.text("about")
    before = visit.number("before", 0)
    audit = visit.parts.audit
    entries = audit.find(who, about, before, MOST_ENTRIES + 1)
    more = len(entries) > MOST_ENTRIES
    entries = entries[:MOST_ENTRIES]
    data = {
        "who": who,
        "about": about,
        "entries": entries,
        "is_newest": not before,
        "next": entries[-1].n if more else None,
    }
    days = visit.parts.settings.history.audit_days
    sentence = f"Entries are kept for {days} days, and stand in the log of the console, too."
    columns = ("time", "who", "client", "what", "about", "reason")
    return Page("audit", "Audit", sentence, data, rows=Rows(columns, _lines(audit, who, about)))


def _accounts_page(visit: Visit, done: str) -> Page:
    accounts = visit.parts.door.accounts.all()
    counts = visit.parts.door.sessions.counts()
    present = visit.parts.door.sessions.present(MOST_PRESENT + 1)
    shown = [_shown(each, counts.get(each.name, 0)) for each in accounts]
    active = sum(not each.is_disabled for each in accounts)
    notices = [Notice(_DONE[done].format(visit.text("name")), "done")] if done in _DONE else []
    columns = ("name", "role", "sees", "state", "sessions")
    rows = Rows(columns, [(each.name, each.role, " ".join(each.sees), each.state, each.sessions) for each in shown])
    return Page(
        "accounts",
        "Accounts",
        f"{active} of {len(accounts)} accounts may sign in.",
        {
            "accounts": shown,
            "own": visit.account.name,
            "present": present[:MOST_PRESENT],
            "more": len(present) > MOST_PRESENT,
        },
        command="forkpolicy console user list",
        rows=rows,
        notices=notices,
    )


def _shown(kept: Kept, sessions: int) -> Shown:
    sees = sorted(kept.domains) + sorted(kept.addresses)
    return Shown(kept.name, kept.role, sees, kept.state, sessions, kept.created_s)


def _link_page(found: Kept, address: str) -> Page:
    sentence = f"The first who opens this link chooses the password of {found.name}: give it to nobody else."
    data = {"name": found.name, "address": address, "days": LINK_DAYS, "is_disabled": found.is_disabled}
    return Page("account-link", "One-time link", sentence, data, command=f"forkpolicy console user link {found.name}")


def _lines(audit: Audit, who: str, about: str) -> Iterator[Sequence[object]]:
    before = 0
    while entries := audit.find(who, about, before, _PART):
        for each in entries:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.at_s))
            yield at, each.who, each.client, each.what, each.about, each.reason
        before = entries[-1].n
