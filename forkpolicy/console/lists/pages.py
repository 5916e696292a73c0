"""The page of users' lists: who is welcome, who is blocked, a form for one more, and undo of the last change.

Whose lists somebody sees and changes is whose held mail: own addresses, a domain, or everybody's.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.rights import Right, Role, may
from forkpolicy.console.access.scope import held_scope
from forkpolicy.console.errors import NotAllowed, NotFound, UserMistake
from forkpolicy.console.links import link
from forkpolicy.console.page import Notice, Page, Redirect, Rows
from forkpolicy.errors import ForkpolicyError
from forkpolicy.gateway.lists import BLOCK, WELCOME, ListMistakeError, entry_of, owns
from forkpolicy.gateway.store_messages import Changed, HideSender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.console.lists.lists import Last
    from forkpolicy.console.visit import Visit
    from forkpolicy.gateway.lists import Entry

ADDRESS: Final = "/held/lists"
_A_PAGE: Final = 200
_COLUMNS: Final = ("list", "recipient", "sender", "more")
_LISTS: Final = {"welcome": WELCOME, "block": BLOCK, "remove": ""}
_NAMES: Final = {WELCOME: "welcome", BLOCK: "block", "": "none"}
_NOTED: Final = {WELCOME: "sender welcomed", BLOCK: "sender blocked", "": "sender taken out of lists"}


def show(visit: Visit) -> Page:
    """The lists of whom this account may change them for, or those that a search finds."""
    return _page(visit)


def act(visit: Visit) -> Page | Redirect:
    """Welcome or block a sender, take one out, undo the last change."""
    name = visit.text("do", most=20)
    if name == "undo":
        return _undo(visit)
    if name not in _LISTS:
        raise UserMistake(f"do: expected one of {', '.join(_LISTS)}, undo, got {name}", "do")
    try:
        entry = entry_of(visit.text("recipient"), visit.text("sender"), visit.say)
        return _put(visit, entry, _LISTS[name])
    except ListMistakeError as error:
        page = _page(visit)
        return replace(page, notices=[Notice(str(error), "mistake")], status=422)


def _undo(visit: Visit) -> Redirect:
    last = visit.parts.lists.last(visit.session)
    if last is None or last.n != visit.number("n", 0):
        raise UserMistake(visit.say("This change is not the last one any more: change the list itself."), "n")
    return _put(visit, last.entry, last.put.was)


def _put(visit: Visit, entry: Entry, to: str) -> Redirect:
    if not owns(held_scope(visit.account), entry.recipient):
        raise NotAllowed(visit.say("The lists of {recipient} are not yours to change.", recipient=entry.recipient))
    lists = visit.parts.lists

    def note(_was: str) -> None:
        visit.note(_NOTED[to], f"{entry.sender} for {entry.recipient}")

    put = lists.put(entry, to, visit.say, note)
    lists.remember(visit.session, entry, put, _hide(visit, entry) if to == BLOCK else 0)
    return Redirect(link(ADDRESS, of=visit.text("of"), q=visit.text("q")))


def _hide(visit: Visit, entry: Entry) -> int | None:
    """Delete what is held of a sender who is blocked; None where the store does not answer."""
    command = HideSender(held_scope(visit.account), entry.recipient, entry.sender, visit.account.name)
    try:
        return visit.parts.gateway.ask(command, Changed).changed
    except NotFound:
        return 0
    except ForkpolicyError:
        return None


def _page(visit: Visit) -> Page:
    if not visit.parts.gateway.is_on:
        raise NotFound("This console has no gateway: [console] gateway is empty.")
    begin = visit.number("from", 0)
    of, part = visit.text("of"), visit.text("q", most=200)
    page_of = list(islice(_wanted(visit), begin, begin + _A_PAGE + 1))
    account, own = visit.account, held_scope(visit.account)
    is_served, why = _is_served(visit)
    last = visit.parts.lists.last(visit.session)
    data = {
        "entries": [dict(zip(_COLUMNS, each, strict=True)) for each in page_of[:_A_PAGE]],
        "of": of,
        "q": part,
        "older": link(ADDRESS, **{"of": of, "q": part, "from": begin + _A_PAGE}) if len(page_of) > _A_PAGE else "",
        "newest": link(ADDRESS, of=of, q=part) if begin else "",
        "recipients": [] if own.everything else [*own.addresses, *own.domains],
        "chooses": account.role is Role.USER,
        "may_act": may(account.role, Right.ACT_ON_HELD),
        "recipient": visit.text("recipient"),
        "sender": visit.text("sender"),
        "is_served": is_served,
        "why": why if may(account.role, Right.SEE_SERVER) else [],
        "last": _last(visit, last) if last else None,
    }
    title, rows = visit.say("Welcome and blocked senders"), Rows(_COLUMNS, _wanted(visit))
    return Page("held/lists", title, data=data, command=_command(visit, last), rows=rows, is_translated=True)


def _command(visit: Visit, last: Last | None) -> str:
    """What asks the table that the server has: for those who have a shell there."""
    if not may(visit.account.role, Right.SEE_SERVER):
        return ""
    words = (last.put.now or BLOCK, *last.entry[:2]) if last else (BLOCK, visit.text("of") or "RECIPIENT", "SENDER")
    return shlex.join(("forkpolicy", "lookup", *words))


def _wanted(visit: Visit) -> Iterator[tuple[str, str, str, str]]:
    """What a search finds: of a recipient, or with a part in either."""
    of, part = visit.text("of").casefold(), visit.text("q", most=200).casefold()
    for name, each in visit.parts.lists.entries(held_scope(visit.account)):
        if (not of or each.recipient == of) and (part in each.recipient or part in each.sender):
            yield (_NAMES[name], *each)


def _is_served(visit: Visit) -> tuple[bool | None, list[str]]:
    """Whether the server decides by what is in the lists, None where that is not known; and why not."""
    lists = visit.parts.lists
    try:
        is_served = lists.is_in_force()
    except ForkpolicyError as error:
        return None, [str(error)]
    return is_served, [] if is_served else lists.why_not()


def _last(visit: Visit, last: Last) -> dict[str, object]:
    """What the last change did, in words."""
    recipient, sender, _ = last.entry
    texts = {
        BLOCK: visit.say("{sender} is blocked for {recipient}.", sender=sender, recipient=recipient),
        WELCOME: visit.say("{sender} is welcome to {recipient}.", sender=sender, recipient=recipient),
        "": visit.say("{sender} is in no list of {recipient}.", sender=sender, recipient=recipient),
    }
    said = [texts[last.put.now]]
    if last.hidden is None:
        said.append(visit.say("The store does not answer: what it holds of this sender stays until you delete it."))
    elif last.hidden:
        said.append(visit.say("Held mails of this sender that were deleted: {count}.", count=last.hidden))
    can_undo = last.put.was != last.put.now
    return {"n": last.n, "sentence": " ".join(said), "can_undo": can_undo, "was": _NAMES[last.put.was]}
