"""The page "Where is my mail?": for a recipient and a sender, a queue id or a pasted text, all that is known of each
mail as a timeline. Everybody finds mail of the own addresses there, in the own language, with nothing of the server.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.rights import Right, Role, may
from forkpolicy.console.access.scope import held_scope, history_of, scope_of
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import where
from forkpolicy.console.page import Notice, Page, Redirect, Rows
from forkpolicy.console.queue.reading import waiting_of
from forkpolicy.console.tracking.asked import Asked, Typed, ask
from forkpolicy.console.tracking.gathering import Gathering
from forkpolicy.console.tracking.timeline import KINDS, Decided, Known, events_of, state_words
from forkpolicy.console.why.plain import own_action
from forkpolicy.errors import ForkpolicyError
from forkpolicy.gateway.store_messages import HeldMail, ShowHeld
from forkpolicy.history.asking.pasted import MOST_CHARS
from forkpolicy.history.deciding import PastDecision
from forkpolicy.history.errors import HistoryError
from forkpolicy.postfix.queued_mail import QueueError
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.console.tracking.tracked import Tracked
    from forkpolicy.console.visit import Visit

_MOST_SHOWN: Final = 20
_MOST_LINE_CHARS: Final = 16_384
# How far back, as a word says it, and as the form does.
_SPANS: Final = ("1d", "3d", "14d", "30d")
_USUAL_SPAN: Final = "3d"
_QUEUE_S: Final = 1.0
# The policy_context with which the store asks (contract of `held_cause`).
_OF_STORE: Final = "held-"
_IN_QUEUE: Final = frozenset({"queued", "waits"})
_COLUMNS: Final = ("sender", "recipient", "state", "at_s", "stage", "text")


def show(visit: Visit) -> Page:
    """The mails that the form is about; of a user without a word those of the own addresses."""
    typed = _typed(visit)
    if not (typed.to or typed.sender or typed.line or visit.account.role is Role.USER):
        return _page(visit, typed, None)
    try:
        return _page(visit, typed, ask(typed, Gathering(visit).ask, visit.now_s))
    except UserMistake as error:
        return _page(visit, typed, None, str(error))


def paste(visit: Visit) -> Page | Redirect:
    """A text that is too long for an address: the page of the words that it comes to."""
    text = visit.form.get("text", "").strip()
    if not text:
        return Redirect(where())
    if len(text) > MOST_CHARS:
        return _page(visit, Typed(), None, visit.say("That is too long: the part with the reason is enough."))
    try:
        # White space makes a text of a single word.
        asked = ask(Typed(line=f"{text} "), Gathering(visit).ask, visit.now_s)
    except UserMistake as error:
        return _page(visit, Typed(), None, str(error))
    return Redirect(where(asked.words)) if asked.found.mails() else _page(visit, Typed(), asked)


def _typed(visit: Visit) -> Typed:
    since = visit.text("since", most=20) or _USUAL_SPAN
    if since not in _SPANS:
        raise UserMistake(f"since: expected one of {', '.join(_SPANS)}, got {since}", "since")
    return Typed(
        visit.text("to", most=400), visit.text("from", most=400), visit.text("q", most=_MOST_LINE_CHARS), since
    )


def _page(visit: Visit, typed: Typed, asked: Asked | None, mistake: str = "") -> Page:
    mails = asked.found.mails() if asked else []
    shown = mails[:_MOST_SHOWN]
    found = _objects(visit, shown)
    sees_all = scope_of(visit.account) is None
    data: dict[str, object] = {
        "to": typed.to,
        "from": typed.sender,
        "q": typed.line,
        "since": typed.since,
        "spans": {"1d": visit.say("a day"), **{each: _days(visit, each) for each in _SPANS[1:]}},
        "addresses": sorted(visit.account.addresses) if visit.account.role is Role.USER else [],
        "words": asked.words if asked else [],
        "is_text": bool(asked and asked.is_text),
        "is_asked": asked is not None,
        "mails": found,
        "is_part": len(mails) > len(shown) or bool(asked and asked.found.is_part),
        "has_log": bool(visit.parts.settings.history.mail_log),
        "sees_all": sees_all,
        "is_user": visit.account.role is Role.USER,
        "mistake": mistake,
    }
    words = shlex.join(asked.words) if asked and asked.words else ""
    return Page(
        "tracking/page",
        visit.say("Where is my mail?"),
        _sentence(visit, asked, found),
        data,
        f"forkpolicy history mail {words}" if sees_all and words else "",
        Rows(_COLUMNS, _lines(visit, mails)) if found else None,
        status=422 if mistake else 200,
        is_translated=True,
    )


def _days(visit: Visit, span: str) -> str:
    return visit.say("{count} days", count=span.removesuffix("d"))


def _sentence(visit: Visit, asked: Asked | None, found: Sequence[dict[str, object]]) -> str:
    if asked is None:
        return ""
    if not found:
        return visit.say("No such mail is known here.")
    first = found[0]
    sender, recipient = str(first["sender"] or "<>"), str(first["recipient"] or "?")
    state = str(first["state_words"])
    if len(found) == 1:
        return visit.say(
            "The mail from {sender} to {recipient}: {state}.", sender=sender, recipient=recipient, state=state
        )
    return visit.say(
        "The newest mail, from {sender} to {recipient}: {state}.", sender=sender, recipient=recipient, state=state
    )


def _objects(visit: Visit, mails: Sequence[Tracked]) -> list[dict[str, object]]:
    """Each mail with its timeline, as the visitor may see it."""
    known = _known(visit, mails)
    return [
        {
            "sender": mail.sender,
            "recipient": mail.recipient or None,
            "client": mail.client or None,
            "subject": mail.held.subject if mail.held else None,
            "began_s": mail.began_s,
            "state": mail.state,
            "state_words": state_words(visit.say, mail.state),
            "kind": KINDS.get(mail.state, "other"),
            "queue_ids": mail.queue_ids if known.sees_server else [],
            "held": mail.held.id if mail.held else None,
            "events": [asdict(each) for each in events_of(visit.say, mail, known)],
        }
        for mail in mails
    ]


def _known(visit: Visit, mails: Sequence[Tracked]) -> Known:
    gateway = visit.parts.gateway
    has_rows = any(mail.held for mail in mails)
    domains = visit.known("the domains file", lambda: gateway.domains) if has_rows else None
    return Known(
        _decided(visit, mails),
        _rows(visit, mails),
        _waiting(visit, mails),
        domains or {},
        may(visit.account.role, Right.SEE_SERVER),
        visit.now_s,
    )


def _decided(visit: Visit, mails: Sequence[Tracked]) -> dict[str, Decided]:
    """What each decision said, without what the visitor may not see."""
    history, scope = history_of(visit), scope_of(visit.account)
    found = {}
    for each in (one for mail in mails for one in mail.decisions):
        try:
            past = PastDecision(history.raw(each), each.id)
            action = str(past.line["action"])
        except (HistoryError, ValueError, KeyError):
            # The day is gone, or damaged: what the row says is enough.
            continue
        is_of_store = past.attributes.get("policy_context", "").startswith(_OF_STORE)
        found[each.id] = Decided(action if scope is None else own_action(action), is_of_store)
    return found


def _rows(visit: Visit, mails: Sequence[Tracked]) -> dict[int, HeldMail]:
    """Rows of the store with what happened to them."""
    found = {}
    for row in (mail.held for mail in mails if mail.held):
        try:
            found[row.id] = visit.parts.gateway.ask(ShowHeld(held_scope(visit.account), row.id), HeldMail)
        except NotFound:
            # It has been removed since the list was made.
            continue
        except ForkpolicyError as error:
            visit.notices.append(Notice(f"the store of held mail: {error}"))
            break
    return found


def _waiting(visit: Visit, mails: Sequence[Tracked]) -> dict[tuple[str, str], str]:
    """Why mails wait in Postfix's queue now; nothing where this console may not ask it, as the page Queue says."""
    queue_ids = {each for mail in mails if mail.state in _IN_QUEUE for each in mail.queue_ids}
    if not queue_ids:
        return {}
    try:
        found = waiting_of(visit.parts.queue.directory, queue_ids, time.monotonic() + _QUEUE_S)
    except QueueError as error:
        if may(visit.account.role, Right.SEE_SERVER):
            visit.notices.append(Notice(f"the queue: {error}"))
        return {}
    seen = {(queue_id, fold_address(mail.recipient)) for mail in mails for queue_id in mail.queue_ids}
    return {key: reason for key, reason in found.items() if key in seen}


def _lines(visit: Visit, mails: Sequence[Tracked]) -> Iterator[list[object]]:
    """A line an event of all mails."""
    for place in range(0, len(mails), _MOST_SHOWN):
        part = mails[place : place + _MOST_SHOWN]
        known = _known(visit, part)
        for mail in part:
            for event in events_of(visit.say, mail, known):
                yield [mail.sender, mail.recipient, mail.state, event.at_s, event.stage, event.text]
