"""What the four sources know about mails that a query is about, each within what an account may see.

A source that is away is a notice, and the others go on. Bounded: so many rows of each, so many seconds for the log.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.scope import held_scope, history_of, scope_of
from forkpolicy.console.decisions.asked import taken
from forkpolicy.console.page import Notice
from forkpolicy.console.tracking.tracked import Line, Tracked, tracked
from forkpolicy.gateway.store_messages import HeldRow, HeldRows, ListHeld, Wanted
from forkpolicy.history.mail_log.finding import deliveries_of, query_of_decision, rows_of
from forkpolicy.history.mail_log.joining import decisions_of
from forkpolicy.history.mail_log.mails import mails_of
from forkpolicy.history.mail_log.opening import open_mail_log
from forkpolicy.history.query import Names
from forkpolicy.tables.keys import fold_address, ip_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.console.visit import Visit
    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history.query import Query
    from forkpolicy.history.scope import Scope
    from forkpolicy.history.search import Found

_MOST: Final = 200
# Queue ids that one source has asked others about.
_MOST_IDS: Final = 50
_LONGEST_S: Final = 5.0
# Decisions whose mails are looked for one by one.
_MOST_FOLLOWED: Final = 20
# Around what a queue id is about, for other lines with it.
_AROUND_S: Final = 5 * 86_400.0
# A user has a few addresses; each is a search through the log.
_MOST_ADDRESSES: Final = 10


@dataclass(slots=True)
class Gathered:
    """`is_part`: a source had more than were taken. `sees_all`: whether mails without a recipient are shown."""

    decisions: list[Found] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    held: list[HeldRow] = field(default_factory=list)
    is_part: bool = False
    sees_all: bool = False

    def recipients(self) -> set[str]:
        """Those that any source names, folded."""
        named = {each.recipient for each in self.lines} | {fold_address(row.recipient) for row in self.held}
        return {each for each in named | {each.recipient or "" for each in self.decisions} if each}

    def mails(self) -> list[Tracked]:
        """Put together, the newest first."""
        found = tracked(self.decisions, self.lines, self.held)
        return found if self.sees_all else [each for each in found if each.recipient]


class Gathering:
    """For one visit; a query a call."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self._scope = visit, scope_of(visit.account)
        self._history = history_of(visit)
        self._log: MailLog | None = open_mail_log(
            visit.parts.settings.history, visit.now_s, give_up_s=time.monotonic() + _LONGEST_S
        )
        self._said: set[str] = set()
        self._store_is_away = not visit.parts.gateway.is_on

    @property
    def has_log(self) -> bool:
        """Whether the settings name Postfix's log."""
        return self._log is not None

    def ask(self, query: Query) -> Gathered:
        """What all of them know."""
        found = Gathered(sees_all=self._scope is None)
        self._add_decisions(found, query)
        for each in self._queries(found, query):
            self._add_lines(found, each)
            self._add_held(found, each)
        self._follow(found)
        return found

    def _queries(self, found: Gathered, query: Query) -> list[Query]:
        """What log and store are asked: of words about decisions alone, for the mails of those that they find."""
        if query.rules or query.verbs or query.hosts or query.texts or query.ids:
            return [query_of_decision(each, self._visit.now_s) for each in found.decisions[:_MOST_FOLLOWED]]
        return [query]

    def _note(self, what: str, error: object) -> None:
        text = f"{what}: {error}"
        if text not in self._said:
            self._said.add(text)
            self._visit.notices.append(Notice(text))

    def _add_decisions(self, found: Gathered, query: Query) -> None:
        query = replace(query, give_up_s=time.monotonic() + _LONGEST_S)
        decisions, problems = taken(
            each
            for each, _ in zip(
                decisions_of(
                    self._history, self._log, query, self._visit.now_s, lambda said: self._note("the mail log", said)
                ),
                range(_MOST + 1),
                strict=False,
            )
        )
        for each in problems:
            self._note("the history", each)
        found.decisions, found.is_part = decisions[:_MOST], len(decisions) > _MOST

    def _add_lines(self, found: Gathered, query: Query) -> None:
        if not self._log:
            return
        for each in self._log_queries(query):
            with self._visit.noting("the mail log"):
                lines = [
                    line for row in rows_of(self._log, each, self._visit.now_s) if self._may_see(line := Line(*row))
                ]
                found.is_part |= len(lines) > _MOST
                _add_new(found.lines, lines[:_MOST])

    def _log_queries(self, query: Query) -> Iterator[Query]:
        """The log is searched for a text: an address, a client, a queue id; for a user for each own address."""
        scope = self._scope
        if scope is None:
            if query.names or query.clients or query.queues:
                yield query
            return
        query = replace(query, names=[_without_logins(each, scope) for each in query.names])
        if scope.domains or query.queues or any(tuple(each.columns) == ("recipient",) for each in query.names):
            if query.names or query.clients or query.queues:
                yield query
            return
        for address in sorted(scope.addresses)[:_MOST_ADDRESSES]:
            yield replace(query, names=[*query.names, Names(("recipient",), address)])

    def _may_see(self, line: Line) -> bool:
        """Lines without a recipient are for those who see a decision of the same session."""
        return self._scope is None or not line.recipient or _is_seen(line, self._scope)

    def _add_held(self, found: Gathered, query: Query) -> None:
        exact = {
            column: each.text for each in query.names for column in each.columns if each.text and len(each.columns) == 1
        }
        wanted = Wanted(
            state="",
            recipient=exact.get("recipient", ""),
            sender=exact.get("sender", ""),
            queue_ids=tuple(query.queues[:_MOST_IDS]),
        )
        rows, more = self._held(wanted)
        found.is_part |= more
        known = {row.id for row in found.held}
        found.held += [row for row in rows if row.id not in known and _is_meant(row, query)]

    def _held(self, wanted: Wanted) -> tuple[Sequence[HeldRow], bool]:
        if self._store_is_away:
            return (), False
        asked = ListHeld(held_scope(self._visit.account), wanted, most=_MOST)
        reply = self._visit.known("the store of held mail", lambda: self._visit.parts.gateway.ask(asked, HeldRows))
        # One that hangs keeps a visitor waiting once.
        self._store_is_away = reply is None
        return (reply.rows, reply.more) if reply else ((), False)

    def _follow(self, found: Gathered) -> None:
        """By queue ids: what the store has of mails of the log, and the log of mails of the store."""
        ids = {each.mail.queue_id for each in found.lines} | {each.queue_id or "" for each in found.decisions}
        if ids := ids - {""}:
            known, recipients = {row.id for row in found.held}, found.recipients()
            rows, _ = self._held(Wanted(state="", queue_ids=tuple(sorted(ids)[:_MOST_IDS])))
            found.held += [row for row in rows if row.id not in known and fold_address(row.recipient) in recipients]
        wanted = ids | {each for row in found.held for each in (row.queue_id, row.new_queue_id)}
        missing = sorted(wanted - {each.mail.queue_id for each in found.lines} - {""})[:_MOST_IDS]
        if missing and self._log:
            self._add_of_ids(self._log, found, missing)

    def _add_of_ids(self, log: MailLog, found: Gathered, queue_ids: list[str]) -> None:
        times_s = [row.arrived_s for row in found.held] + [each.at_ms / 1000 for each in found.decisions]
        recipients = found.recipients()
        with self._visit.noting("the mail log"):
            mails = mails_of(log, queue_ids, min(times_s) - _AROUND_S, self._visit.now_s)
            lines = [Line(mail, delivery) for mail in mails for delivery in deliveries_of(mail)]
            _add_new(found.lines, [each for each in lines if not each.recipient or each.recipient in recipients])


def _add_new(lines: list[Line], others: Sequence[Line]) -> None:
    known = {(each.mail.queue_id, each.mail.began_s, each.recipient, each.delivery.at_s) for each in lines}
    lines += [
        each
        for each in others
        if (each.mail.queue_id, each.mail.began_s, each.recipient, each.delivery.at_s) not in known
    ]


def _without_logins(names: Names, scope: Scope) -> Names:
    """Who may not see a login finds nothing by it, as in the history."""
    if names.domain in scope.domains or scope.has_address(names.text):
        return names
    return replace(names, columns=[each for each in names.columns if each != "login"])


def _is_seen(line: Line, scope: Scope) -> bool:
    """By a recipient, or by a login of a domain."""
    names = [each for each in (line.delivery.recipient, line.delivery.original) if each]
    login = line.mail.login
    return any(scope.has_address(fold_address(each)) for each in names) or bool(
        login and scope.domains and scope.has_address(fold_address(login))
    )


def _is_meant(row: HeldRow, query: Query) -> bool:
    """Whether a row of the store meets all words."""
    if not (query.since_ms / 1000 <= row.changed_s and row.arrived_s <= query.until_ms / 1000):
        return False
    values = {"recipient": fold_address(row.recipient), "sender": fold_address(row.sender), "login": None}
    key = ip_key(row.client_address)
    return all(any(names.has(values[each]) for each in names.columns) for names in query.names) and all(
        key is not None and any(first <= key <= last for first, last in ranges) for ranges in query.clients
    )
