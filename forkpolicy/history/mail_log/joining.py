"""Which decisions are about a mail of the log, and how sure that is.

An instance (`smtpd_chat.c` makes it of the process id of smtpd, the time of MAIL FROM and a count) says which session a
decision was made for, and the log says which smtpd took a mail: these decisions are of that mail. Where the same sender
wrote to the same recipient in the five days before and was not accepted, it probably was the same mail, tried again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.mail_log.mails import mails_of
from forkpolicy.history.query import Names, query_of
from forkpolicy.history.schema import day_of
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.history.mail_log.mails import Mail, MailLog
    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Query
    from forkpolicy.history.search import Found

# From MAIL FROM to the line with the client: Postfix's own time limit for a command, and slow policy servers.
_SESSION_S: Final = 900
# Times of a log have whole seconds, and the log of decisions has a clock of its own.
_CLOCK_S: Final = 2
_QUEUED_S: Final = 5 * 86400
# How far a log is searched where neither the words nor a decision say when.
SEARCHED_S: Final = 14 * 86400
_MOST: Final = 10_000


def decisions_of(
    history: Reader, log: MailLog | None, query: Query, now_s: float, report: Callable[[str], object]
) -> Iterator[Found]:
    """What the query finds, the newest first. Of one with queue ids, also decisions that had none yet; why the log
    cannot be read is reported.
    """
    if not query.queues:
        yield from history.find(query)
        return
    found = {each.id: each for each in history.find(query, _MOST)}
    times_s = [each.at_ms / 1000 for each in found.values()]
    if log:
        first_s, last_s = (min(times_s), max(times_s)) if times_s else span_s(query, now_s)
        try:
            mails = mails_of(log, query.queues, first_s - _SESSION_S, last_s + _SESSION_S)
        except HistoryError as error:
            mails = []
            report(str(error))
        for mail in mails:
            for each in _of_mail(history, mail, replace(query, queues=[])):
                found.setdefault(each.id, each)
    for each in list(found.values()):
        for other in _of_instance(history, each, replace(query, queues=[])):
            found.setdefault(other.id, other)
    for each in list(found.values()):
        for other in _earlier(history, each, replace(query, queues=[])) if each.is_sure else ():
            found.setdefault(other.id, other)
    yield from sorted(found.values(), key=lambda each: each.at_ms, reverse=True)


def span_s(query: Query, now_s: float) -> tuple[float, float]:
    """The time that a query is about, in seconds since 1970; the last two weeks where it does not say."""
    until_s = min(query.until_ms / 1000, now_s)
    return query.since_ms / 1000 or until_s - SEARCHED_S, until_s


def _of_mail(history: Reader, mail: Mail, query: Query) -> Iterator[Found]:
    """Decisions of the session that took it."""
    if not mail.client:
        return
    clients = query_of([f"client:{mail.client}"], 0).clients
    senders = [] if mail.sender is None else [Names(("sender",), fold_address(mail.sender))]
    since_ms, until_ms = int((mail.began_s - _SESSION_S) * 1000), int((mail.ended_s + _CLOCK_S) * 1000)
    within = replace(
        query,
        clients=[*query.clients, *clients],
        names=[*query.names, *senders],
        since_ms=max(query.since_ms, since_ms),
        until_ms=min(query.until_ms, until_ms),
    )
    for each in history.find(within, _MOST):
        if each.queue_id and each.queue_id != mail.queue_id:
            continue
        if is_session(each.instance, mail):
            yield each
        elif not each.instance and (each.recipient is None or each.recipient in mail.recipients):
            # At MAIL FROM, or an older Postfix: by client, sender, recipient and time.
            yield replace(each, is_sure=False)


def is_session(instance: str | None, mail: Mail) -> bool:
    """Whether it is of the smtpd that took the mail, of the transaction that began before its line was written."""
    try:
        smtpd, began_s, *_ = [int(each, 16) for each in (instance or "").split(".")]
    except ValueError:
        return False
    return smtpd == mail.smtpd and mail.began_s - _SESSION_S <= began_s <= mail.began_s + _CLOCK_S


def _of_instance(history: Reader, found: Found, query: Query) -> Iterator[Found]:
    """Others of the same transaction on the other side of midnight: a history finds those of one day by itself."""
    around_ms = _SESSION_S * 1000
    if not found.instance or not found.client or day_of(found.at_ms - around_ms) == day_of(found.at_ms + around_ms):
        return
    within = replace(
        query,
        clients=[*query.clients, *query_of([f"client:{found.client}"], 0).clients],
        since_ms=max(query.since_ms, found.at_ms - around_ms),
        until_ms=min(query.until_ms, found.at_ms + around_ms),
    )
    yield from (each for each in history.find(within, _MOST) if each.instance == found.instance)


def _earlier(history: Reader, found: Found, query: Query) -> Iterator[Found]:
    """Attempts before this one that were put off: without a queue id, of another session."""
    if not found.recipient or found.sender is None:
        return
    names = [Names(("sender",), found.sender), Names(("recipient",), found.recipient)]
    # Many bounces have no sender: then the client must be the same.
    clients = [] if found.sender or not found.client else query_of([f"client:{found.client}"], 0).clients
    within = replace(
        query,
        names=[*query.names, *names],
        clients=[*query.clients, *clients],
        since_ms=max(query.since_ms, found.at_ms - _QUEUED_S * 1000),
        until_ms=min(query.until_ms, found.at_ms - 1),
    )
    for each in history.find(within, _MOST):
        if not each.queue_id and each.instance != found.instance and not _is_final(each.verb):
            yield replace(each, is_sure=False)


def _is_final(verb: str) -> bool:
    """Whether nobody tries again after it."""
    return verb.upper().startswith(("REJECT", "5", "DISCARD"))
