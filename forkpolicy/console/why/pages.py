"""The endpoints of the page Why."""

from __future__ import annotations

import ipaddress
import shlex
from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.scope import history_of, scope_of
from forkpolicy.console.errors import NotFound
from forkpolicy.console.now.kinds import kind_of
from forkpolicy.console.page import Notice, Page
from forkpolicy.console.why.explaining import explained
from forkpolicy.console.why.plain import own_action, own_deliveries, own_request, own_terms
from forkpolicy.console.why.words import decision_in_words, plain_decision, request_facts, request_in_words
from forkpolicy.history.deciding import PastDecision
from forkpolicy.history.mail_log.finding import mail_object, query_of_decision, rows_of
from forkpolicy.history.mail_log.opening import open_mail_log
from forkpolicy.history.query import Query, ids_in, query_of
from forkpolicy.tables.keys import split_address
from forkpolicy.translations import DEFAULT, translate

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit
    from forkpolicy.history.place import Reader
    from forkpolicy.history.scope import Scope
    from forkpolicy.history.search import Found

# What is missing so long before or after a decision may be about the same mail.
_AROUND_MS: Final = 600_000
_MOST_MAILS: Final = 20


def show(visit: Visit) -> Page:
    """One decision: the request, the rule and its terms, then and now. Raises NotFound."""
    history, scope = history_of(visit), scope_of(visit.account)
    found = _found(visit, history)
    decision = PastDecision(history.raw(found), found.id)
    _note_gaps(visit, history, found)
    action = str(decision.line["action"])
    if scope is not None:
        action = own_action(action)
    data: dict[str, object] = {
        "id": found.id,
        "action": action,
        "kind": kind_of(found.verb),
        "at_s": found.at_ms / 1000,
        "time": found.time,
        "cut": str(decision.line.get("cut", "")),
        "alike": _alike(visit, found, scope),
        "sees_all": scope is None,
    }
    if scope is not None:
        request = own_request(decision.attributes, scope)
        data |= {"request": request, "facts": request_facts(visit.say, request)}
        data["terms"] = own_terms(decision.line.get("terms"), decision.attributes)
        title = visit.say("Why {id}", id=found.id)
        return Page("why-own", title, plain_decision(visit.say, action), data, is_translated=True)
    data |= {
        "host": found.host,
        "in_force": found.in_force,
        "queue_id": found.queue_id,
        "request": {name: value for name, value in decision.attributes.items() if value},
        "in_words": request_in_words(decision.attributes),
        **explained(visit, decision),
    }
    acls = str(decision.line.get("acls", ""))
    command = f"forkpolicy history show {shlex.quote(found.id)}"
    return Page("why", f"Why {found.id}", decision_in_words(action, found.rule, acls), data, command=command)


def mail(visit: Visit) -> Page:
    """What became of its mail, by the log of Postfix: a part of the page, and a page. Raises NotFound, HistoryError."""
    history, scope = history_of(visit), scope_of(visit.account)
    found = _found(visit, history)
    log = open_mail_log(visit.parts.settings.history, visit.now_s)
    data: dict[str, object] = {
        "id": found.id,
        "has_log": log is not None,
        "sees_all": scope is None,
        "log": log.name if log and not scope else "",
    }
    mails: list[dict[str, object]] = []
    if log:
        with visit.noting("the mail log"):
            rows = rows_of(log, query_of_decision(found, visit.now_s), visit.now_s)
            mails = [mail_object(each, delivery) for each, delivery in rows[:_MOST_MAILS]]
    data["mails"] = mails if scope is None else own_deliveries(mails, scope)
    command = f"forkpolicy history mail {shlex.quote(found.id)}" if scope is None else ""
    is_part = visit.headers.get("hx-request") == "true"
    say = visit.say if scope else partial(translate, DEFAULT)
    sentence = "" if is_part else say("What became of the mail, by Postfix's log.")
    template, title = "why-mail-part" if is_part else "why-mail", say("Mail of {id}", id=found.id)
    is_translated = scope is not None
    return Page(template, title, sentence, data, command=command, fragment=is_part, is_translated=is_translated)


def _found(visit: Visit, history: Reader) -> Found:
    """The decision of the address; that of others is as if there were none."""
    ids = list(ids_in(visit.path["id"]))
    found = next(history.find(query_of([f"id:{ids[0]}"], visit.now_s), 1), None) if ids else None
    if found is None:
        raise NotFound("There is no such decision in the history. They are kept as long as [history] keep_days says.")
    return found


def _note_gaps(visit: Visit, history: Reader, found: Found) -> None:
    with visit.noting("the history"):
        around = Query(since_ms=found.at_ms - _AROUND_MS, until_ms=found.at_ms + _AROUND_MS)
        for _, lines, reason in history.gaps(around)[:1]:
            visit.notices.append(Notice(f"{lines} decisions are missing around this one: {reason}"))


def _alike(visit: Visit, found: Found, scope: Scope | None) -> list[dict[str, object]]:
    """Words that find similar ones."""
    every: list[tuple[str, str]] = []
    # The page of operators is in English.
    say = visit.say if scope else partial(translate, DEFAULT)
    domain = split_address(found.sender)[1] if found.sender else ""
    if domain:
        every.append((say("from {domain}", domain=domain), f"from:@{domain}"))
    if found.client:
        address = ipaddress.ip_address(found.client)
        network = ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False)
        every.append((say("from the network {network}", network=network), f"client:{network}"))
    if found.recipient:
        every.append((say("to {recipient}", recipient=found.recipient), f"to:{found.recipient}"))
    if scope is None:
        every.append((f"by {found.rule}", f"rule:{found.rule}"))
    return [{"label": label, "words": [word]} for label, word in every]
