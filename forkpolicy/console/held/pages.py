"""The list of held mail that an account sees, and what may be done with many at once."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.scope import held_scope
from forkpolicy.console.errors import UserMistake
from forkpolicy.console.held.allowed import WAITS, allowed
from forkpolicy.console.held.why import why
from forkpolicy.console.links import held
from forkpolicy.console.page import Notice, Page, Rows
from forkpolicy.gateway.settings import CAUSES
from forkpolicy.gateway.store_messages import STATES, HeldRow, HeldRows, ListHeld, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.console.visit import Visit
    from forkpolicy.gateway.domains import Domain

SHOWN: Final = 50
_PAGE_OF_CSV: Final = 500
_COLUMNS: Final = ("id", "arrived_s", "state", "cause", "sender", "recipient", "subject", "size_bytes", "spam_score")
ALL: Final = "all"


def show(visit: Visit) -> Page:
    """The newest held mail, or those that a search finds."""
    wanted = _wanted(visit)
    before = _place(visit.text("before", most=60))
    asked = ListHeld(held_scope(visit.account), wanted, *before, most=SHOWN)
    reply = visit.parts.gateway.ask(asked, HeldRows)
    domains = visit.parts.gateway.domains
    visit.notices += done_notices(visit)
    query = {name: value for name in ("q", "state", "cause", "requested") if (value := visit.text(name))}
    rows = [row_of(visit, each, domains) for each in reply.rows]
    mays = [allowed(visit.account, each, domains) for each in reply.rows]
    last = reply.rows[-1] if reply.more else None
    return Page(
        "held/list",
        visit.say("Held mail"),
        _sentence(visit, reply, wanted),
        {
            "rows": rows,
            "query": query,
            "q": wanted.text,
            "state": wanted.state or ALL,
            "states": states_in_words(visit),
            "cause": wanted.cause,
            "causes": CAUSES,
            "requested": wanted.requested,
            "older": held(**query, before=f"{last.arrived_s!r}/{last.id}") if last else "",
            "newest": held(**query) if before[1] else "",
            "may_any": {name: any(getattr(each, name) for each in mays) for name in ("release", "delete", "request")},
            "is_user": visit.account.role is Role.USER,
            "has_addresses": bool(visit.account.addresses),
        },
        _command(visit, wanted),
        Rows(_COLUMNS, _lines(visit, wanted)),
        is_translated=True,
    )


def row_of(visit: Visit, row: HeldRow, domains: Mapping[str, Domain]) -> dict[str, object]:
    """A row with why it is held, what may be done, and its states in the visitor's words."""
    words = {"why": why(visit.say, row, domains), "state_words": states_in_words(visit)[row.state]}
    return {**asdict(row), **words, "may": allowed(visit.account, row, domains), "waits": row.state == WAITS}


def done_notices(visit: Visit) -> list[Notice]:
    """What the last action did, which its redirect says."""
    done, count, already = visit.text("done", most=20), visit.number("n", 0), visit.number("already", 0)
    texts = {
        "release": visit.say("Released: {count}.", count=count),
        "not_spam": visit.say("Released, and the scanner learns that it is not spam: {count}.", count=count),
        "delete": visit.say("Deleted: {count}.", count=count),
        "spam": visit.say("Deleted, and the scanner learns that it is spam: {count}.", count=count),
        "request": visit.say("An administrator was asked for the release: {count}.", count=count),
    }
    notices = [Notice(texts[done], "done")] if done in texts and count else []
    if already:
        text = visit.say("Somebody was faster, it expired, or you may not do this: {count}.", count=already)
        notices.append(Notice(text))
    return notices


def _wanted(visit: Visit) -> Wanted:
    state, cause = visit.text("state", most=20) or WAITS, visit.text("cause", most=20)
    if state not in (*STATES, ALL):
        raise UserMistake(f"state: expected one of {', '.join((*STATES, ALL))}, got {state}", "state")
    if cause not in ("", *CAUSES):
        raise UserMistake(f"cause: expected one of {', '.join(CAUSES)}, got {cause}", "cause")
    return Wanted(
        state="" if state == ALL else state,
        cause=cause,
        text=visit.text("q", most=200),
        requested=bool(visit.text("requested")),
    )


def _place(text: str) -> tuple[float | None, int]:
    """Where a page ends, as an address has it: `1764390000.5/17`."""
    if not text:
        return None, 0
    arrived_s, _, held_id = text.partition("/")
    try:
        place = float(arrived_s), int(held_id)
    except ValueError:
        place = nan, 0
    if not (isfinite(place[0]) and 0 <= place[1] < 1 << 63):
        raise UserMistake(f"before: expected a place as the link Older has it, got {text}", "before")
    return place


def states_in_words(visit: Visit) -> dict[str, str]:
    """Each of STATES, and ALL, as its page says it."""
    return {
        "held": visit.say("held"),
        "releasing": visit.say("being released"),
        "sent": visit.say("sent on"),
        "delivered": visit.say("delivered"),
        "deleted": visit.say("deleted"),
        "expired": visit.say("expired"),
        ALL: visit.say("all"),
    }


def _sentence(visit: Visit, reply: HeldRows, wanted: Wanted) -> str:
    if wanted != Wanted():
        return ""
    if not reply.rows:
        return visit.say("No mail is held.")
    if reply.more:
        return visit.say("The newest {count} mails that are held.", count=len(reply.rows))
    return visit.say("Mails that are held: {count}.", count=len(reply.rows))


def _command(visit: Visit, wanted: Wanted) -> str:
    """For those who have a shell there."""
    if visit.account.role is Role.USER:
        return ""
    words = ["forkpolicy", "held", "list", "--state", wanted.state or ALL]
    words += ["--cause", wanted.cause] if wanted.cause else []
    words += ["--text", wanted.text] if wanted.text else []
    words += ["--requested"] if wanted.requested else []
    return shlex.join(words)


def _lines(visit: Visit, wanted: Wanted) -> Iterator[list[object]]:
    """All of them, a page after the other."""
    scope, before_s, before_id = held_scope(visit.account), None, 0
    while True:
        asked = ListHeld(scope, wanted, before_s, before_id, _PAGE_OF_CSV)
        reply = visit.parts.gateway.ask(asked, HeldRows)
        for row in reply.rows:
            yield [getattr(row, name) for name in _COLUMNS]
        if not reply.more:
            return
        before_s, before_id = reply.rows[-1].arrived_s, reply.rows[-1].id
