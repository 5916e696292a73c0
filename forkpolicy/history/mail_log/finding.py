"""Mails of the log that a query is about, a row for each recipient; and the query that finds the mail of a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.history.lines import time_text
from forkpolicy.history.mail_log.joining import span_s
from forkpolicy.history.mail_log.mails import Delivery, Mail, mails_of, mails_with
from forkpolicy.history.mail_log.meeting import meets, search_text
from forkpolicy.history.query import query_of

if TYPE_CHECKING:
    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history.query import Query
    from forkpolicy.history.search import Found

# Around a decision: from the first command of its session to the line that Postfix writes about the mail.
_AROUND_S: Final = 900


def rows_of(log: MailLog, query: Query, now_s: float) -> list[tuple[Mail, Delivery]]:
    """Recipients of mails that meet all words."""
    since_s, until_s = span_s(query, now_s)
    if query.queues:
        mails = mails_of(log, query.queues, since_s, until_s)[::-1]
    else:
        mails = mails_with(log, search_text(query), since_s, until_s)
    return [(each, delivery) for each in mails for delivery in deliveries_of(each) if meets(query, each, delivery)]


def query_of_decision(found: Found, now_s: float) -> Query:
    """What finds the mail of a decision in the log."""
    at_s = found.at_ms / 1000
    times = [f"since:{time_text(int(at_s - _AROUND_S) * 1000)}", f"until:{time_text(int(at_s + _AROUND_S) * 1000)}"]
    if found.queue_id:
        return query_of([f"queue:{found.queue_id}", times[0]], now_s)
    who = {"to": found.recipient, "from": found.sender, "client": found.client, "login": found.login}
    return query_of([f"{name}:{value or '<>'}" for name, value in who.items() if value is not None] + times, now_s)


def deliveries_of(each: Mail) -> list[Delivery]:
    """Its recipients; one without a name where nothing has been tried yet."""
    status = f"refused ({each.refusal})" if each.refusal else "removed" if each.is_removed else "queued"
    queued = Delivery(each.ended_s, "", "", "", status)
    return sorted(each.deliveries.values() or [queued], key=lambda one: one.at_s, reverse=True)


def mail_object(each: Mail, delivery: Delivery) -> dict[str, object]:
    """One recipient of a mail, for tools."""
    return {
        "time": time_text(int(delivery.at_s * 1000)),
        "queue_id": each.queue_id or None,
        "began": time_text(int(each.began_s * 1000)),
        "client": each.client or None,
        "login": each.login or None,
        "sender": each.sender,
        "recipient": delivery.recipient or None,
        "original_recipient": delivery.original or None,
        "message_id": each.message_id or None,
        "relay": delivery.relay or None,
        "status": delivery.status,
        "is_removed": each.is_removed,
    }
