"""A mail to one recipient with all that is known of it, put together of four sources; and where it is. Pure.

Queue ids join most of it: the store knows under which one a mail came and under which it was sent on. A refusal has
none: its decision is the last one of the same session (the process id of smtpd), sender and recipient before the line.
Attempts that were put off are of the next mail of that sender to that recipient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import DEFERRED, REFUSED, kind_of
from forkpolicy.history.mail_log.joining import is_session
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.gateway.store_messages import HeldRow
    from forkpolicy.history.mail_log.mails import Delivery, Mail
    from forkpolicy.history.search import Found

# From a decision to the line about it: times of a log have whole seconds, and the recipient may be verified in between.
_BEFORE_LINE_S: Final = 900.0
_CLOCK_S: Final = 2.0
_TRIES_S: Final = 5 * 86_400.0
# As rows of Postfix's log say it, where a mail was handed to the store.
_TO_STORE: Final = "[private/store"
_OF_PROBES: Final = ("deliverable", "undeliverable")
# Where a mail is, also in the words of the store. `stored`: the store took it, and no row says what became of it.
STATES: Final = (
    "refused", "put off", "queued", "waits", "stored", "held", "releasing", "sent", "delivered", "returned", "deleted",
    "expired", "let through", "unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """What Postfix's log says about one recipient of a mail, or about a refusal."""

    mail: Mail
    delivery: Delivery

    @property
    def recipient(self) -> str:
        """As it was addressed, folded; empty: the log does not say."""
        return fold_address(self.delivery.original or self.delivery.recipient)

    @property
    def is_refused(self) -> bool:
        """Whether it was refused before it was taken."""
        return self.delivery.status.startswith("refused")

    @property
    def is_probe(self) -> bool:
        """Whether Postfix asked the next server about an address, and no mail was sent."""
        return self.delivery.status.startswith(_OF_PROBES)

    @property
    def is_to_store(self) -> bool:
        """Whether it was handed to the store."""
        return _TO_STORE in self.delivery.relay


@dataclass(slots=True)
class Tracked:
    """`lines`: of its arrival and of refused attempts before; `onward`: those of the copy that the store sent on."""

    sender: str | None
    recipient: str
    client: str = ""
    decisions: list[Found] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    onward: list[Line] = field(default_factory=list)
    held: HeldRow | None = None

    @property
    def began_s(self) -> float:
        """When it was first seen."""
        return min(self._times_s())

    @property
    def last_s(self) -> float:
        """When the newest of it happened."""
        latest = [line.delivery.at_s for line in (*self.lines, *self.onward)]
        return max([*self._times_s(), *latest, *([self.held.changed_s] if self.held else [])])

    @property
    def queue_ids(self) -> list[str]:
        """Those of Postfix under which it was taken and sent on."""
        named = [line.mail.queue_id for line in (*self.lines, *self.onward)]
        named += [self.held.queue_id, self.held.new_queue_id] if self.held else []
        return list(dict.fromkeys(each for each in named if each))

    @property
    def state(self) -> str:
        """One of STATES."""
        if self.held:
            return self._state_in_store(self.held)
        lines = sorted(self.lines, key=lambda each: each.mail.began_s)
        if lines and not self._is_refused_after(lines[-1]):
            return "stored" if lines[-1].is_to_store else state_of(lines[-1].delivery.status)
        last = max(self.decisions, key=lambda each: each.at_ms, default=None)
        kind = kind_of(last.verb) if last else ""
        return {REFUSED: "refused", DEFERRED: "put off", "": "unknown"}.get(kind, "let through")

    def _is_refused_after(self, line: Line) -> bool:
        """Whether a later attempt was refused by a decision that the log has no line about."""
        return any(
            kind_of(each.verb) in (REFUSED, DEFERRED) and each.at_ms / 1000 > line.mail.ended_s + _CLOCK_S
            for each in self.decisions
        )

    def _state_in_store(self, row: HeldRow) -> str:
        if row.state != "sent" or not self.onward:
            return row.state
        return state_of(max(self.onward, key=lambda each: each.delivery.at_s).delivery.status)

    def _times_s(self) -> list[float]:
        times_s = [each.at_ms / 1000 for each in self.decisions]
        times_s += [each.mail.began_s for each in (*self.lines, *self.onward)]
        return times_s + ([self.held.arrived_s] if self.held else [])


def state_of(status: str) -> str:
    """Where a mail is by the last line of Postfix's log about it."""
    word, _, words = status.partition(" ")
    if word == "refused":
        return "put off" if words.startswith("(4") else "refused"
    known = {"sent": "delivered", "deferred": "waits", "bounced": "returned", "expired": "returned", "queued": "queued"}
    return known.get(word, "unknown")


def tracked(decisions: Iterable[Found], lines: Iterable[Line], held: Iterable[HeldRow]) -> list[Tracked]:
    """The mails that these are about, the newest first."""
    every, unnamed = _of_lines([*lines], [*held])
    for each in sorted(decisions, key=lambda each: -each.at_ms):
        for mail in _mails_of(every, unnamed, each):
            mail.decisions.append(each)
    every += [Tracked(line.mail.sender, "", line.mail.client, lines=[line]) for line in unnamed]
    return sorted(_with_earlier_attempts(every), key=lambda each: each.began_s, reverse=True)


def _of_lines(lines: Sequence[Line], held: Sequence[HeldRow]) -> tuple[list[Tracked], list[Line]]:
    """Mails of the store and of the log, and lines about mails whose recipients the log does not say yet."""
    every: list[Tracked] = []
    by_id: dict[tuple[str, str], Tracked] = {}
    sent_on: dict[tuple[str, str], Tracked] = {}
    for row in held:
        mail = Tracked(row.sender, row.recipient, row.client_address, held=row)
        every.append(mail)
        by_id[row.queue_id, fold_address(row.recipient)] = mail
        if row.new_queue_id:
            sent_on[row.new_queue_id, fold_address(row.recipient)] = mail
    unnamed = []
    for line in (each for each in lines if not each.is_probe):
        key = (line.mail.queue_id, line.recipient)
        if not line.recipient:
            unnamed.append(line)
        elif key in sent_on:
            sent_on[key].onward.append(line)
        elif line.mail.queue_id and key in by_id:
            by_id[key].lines.append(line)
        else:
            every.append(Tracked(line.mail.sender, line.delivery.original or line.delivery.recipient, lines=[line]))
            every[-1].client = line.mail.client
            by_id[key] = every[-1]
    return every, unnamed


def _mails_of(every: list[Tracked], unnamed: list[Line], found: Found) -> list[Tracked]:
    """The mail of a decision, a new one where there is none; those of all recipients where it names none."""
    fitting = [(distance_s, each) for each in every if (distance_s := _distance_s(each, found)) is not None]
    if fitting:
        nearest_s = min(distance_s for distance_s, _ in fitting)
        nearest = [each for distance_s, each in fitting if distance_s == nearest_s]
        return nearest if found.recipient is None else nearest[:1]
    mail = Tracked(found.sender, found.recipient or "", found.client or "")
    of_session = [line for line in unnamed if _is_of(line, found)]
    if of_session:
        mail.lines.append(of_session[0])
        unnamed.remove(of_session[0])
    every.append(mail)
    return [mail]


def _distance_s(mail: Tracked, found: Found) -> float | None:
    """How far a decision is from what is known of a mail; None: it is not of it."""
    if found.recipient is not None and found.recipient != fold_address(mail.recipient):
        return None
    at_s = found.at_ms / 1000
    if found.queue_id and found.queue_id in mail.queue_ids:
        return 0.0
    distances = [line.mail.began_s - at_s for line in mail.lines if _is_of(line, found)]
    distances += [
        abs(each.at_ms / 1000 - at_s)
        for each in mail.decisions
        if found.instance and each.instance == found.instance and each.recipient == found.recipient
    ]
    if mail.held and not mail.lines and _has_envelope(mail.held, found):
        distances.append(mail.held.arrived_s - at_s)
    return min((abs(each) for each in distances if -_CLOCK_S <= each <= _BEFORE_LINE_S), default=None)


def _is_of(line: Line, found: Found) -> bool:
    """Whether a line is about the transaction of a decision."""
    same = found.client in (None, line.mail.client) or not line.mail.client
    sender = line.mail.sender is None or found.sender is None or fold_address(line.mail.sender) == found.sender
    return same and sender and is_session(found.instance, line.mail)


def _has_envelope(row: HeldRow, found: Found) -> bool:
    return found.sender == fold_address(row.sender) and found.client == row.client_address


def _with_earlier_attempts(every: list[Tracked]) -> list[Tracked]:
    """Attempts that were put off become a part of the next one of the same mail."""
    waiting: dict[tuple[str, ...], Tracked] = {}
    kept: list[Tracked] = []
    for mail in sorted(every, key=lambda each: each.began_s):
        sender = fold_address(mail.sender or "")
        # Many bounces have no sender: then the client must be the same.
        key = (sender, fold_address(mail.recipient), "" if sender else mail.client)
        earlier = waiting.pop(key, None)
        if earlier and mail.began_s - earlier.last_s <= _TRIES_S:
            mail.decisions += earlier.decisions
            mail.lines += earlier.lines
            kept.remove(earlier)
        if mail.state == "put off":
            waiting[key] = mail
        kept.append(mail)
    return kept
