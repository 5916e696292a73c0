"""What happened to one mail, in the order of its moments and in the visitor's words.

What one source knows better is said once: a refusal by its decision, which has a reason, and not by the line of
Postfix's log about it; a mail in the store by its row. Strangers chose addresses and the words of replies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.console.held.why import why
from forkpolicy.console.links import why as why_link
from forkpolicy.console.now.kinds import DEFERRED, OTHER, PASSED, REFUSED, kind_of
from forkpolicy.console.tracking.tracked import Line, Tracked, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.store_messages import HeldMail
    from forkpolicy.history.search import Found
    from forkpolicy.translations import Say

DECISION, QUEUE, SCAN, STORE, DELIVERY = "decision", "queue", "scan", "store", "delivery"
# A refusal's decision and its line are so near each other.
_SAME_S: Final = 30.0
_MOST_SYMBOLS: Final = 8
# Places within a second.
_FIRST, _TAKEN, _SCANNED, _STORE_DECISION, _STORED, _LAST = range(6)
# As in `connect to gateway.example.com[private/store-spam]: No such file or directory`.
_SOCKET: Final = re.compile(r"[^\s\[]*\[(?:private|public)/[^\]\s]*\]")
# The kind, for its colour, of each state.
KINDS: Final = {
    "refused": REFUSED, "returned": REFUSED, "deleted": REFUSED, "expired": REFUSED, "put off": DEFERRED,
    "waits": DEFERRED, "held": DEFERRED, "stored": DEFERRED, "releasing": DEFERRED, "delivered": PASSED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One moment. `detail`: what is for those who see the server; `link`: where more is. `place`: in the order of what
    happens within a second, as Postfix's log has whole seconds.
    """

    at_s: float
    stage: str
    text: str
    kind: str = OTHER
    detail: str = ""
    link: str = ""
    place: int = 0


@dataclass(frozen=True, slots=True)
class Decided:
    """The action of a decision, with its text; whether it was the store that had asked."""

    action: str
    is_of_store: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What was read for the mails that are shown: decisions by id, rows of the store with their events, why copies
    still wait in Postfix's queue by (queue id, folded recipient).
    """

    decided: Mapping[str, Decided] = field(default_factory=dict)
    held: Mapping[int, HeldMail] = field(default_factory=dict)
    waiting: Mapping[tuple[str, str], str] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    sees_server: bool = False
    now_s: float = 0.0


def state_words(say: Say, state: str) -> str:
    """Where a mail is, in words."""
    words = {
        "refused": say("refused"),
        "put off": say("put off: its sender's server tries again"),
        "queued": say("on its way"),
        "waits": say("waits: it could not be delivered yet"),
        "stored": say("given to the store of held mail"),
        "held": say("held"),
        "releasing": say("being released"),
        "sent": say("sent on"),
        "delivered": say("delivered"),
        "returned": say("could not be delivered"),
        "deleted": say("deleted"),
        "expired": say("expired"),
        "let through": say("let through; what became of it is not known here"),
    }
    return words.get(state, say("not known"))


def events_of(say: Say, mail: Tracked, known: Known) -> list[Event]:
    """The timeline of a mail, the oldest first."""
    every = [
        *_decided(say, mail, known),
        *_logged(say, mail, known),
        *_stored(say, mail, known),
        *(event for line in mail.onward for event in _delivered(say, line, known)),
    ]
    return sorted(every, key=lambda each: (int(each.at_s), each.place, each.at_s))


def _decided(say: Say, mail: Tracked, known: Known) -> Iterator[Event]:
    passed: Found | None = None
    for each in sorted(mail.decisions, key=lambda each: each.at_ms):
        decided = known.decided.get(each.id, Decided(each.verb))
        # It is asked in front of and behind the verification of recipients: what passes is said once an attempt.
        if kind_of(each.verb) == PASSED and not decided.is_of_store and passed and passed.instance == each.instance:
            continue
        passed = each if kind_of(each.verb) == PASSED else None
        detail = f"{each.rule} {each.acls}".strip() if known.sees_server else ""
        kind = kind_of(each.verb)
        kind = DEFERRED if decided.is_of_store and kind != PASSED else kind
        text, place = _decision_words(say, decided), _STORE_DECISION if decided.is_of_store else _FIRST
        yield Event(each.at_ms / 1000, DECISION, text, kind, detail, why_link(each.id), place)


def _decision_words(say: Say, decided: Decided) -> str:
    verb, _, reply = decided.action.partition(" ")
    kind = kind_of(verb)
    if decided.is_of_store:
        return (
            say("The rules were asked again, and let it go on.")
            if kind == PASSED
            else say("The rules were asked again, and hold it back.")
        )
    if kind == REFUSED:
        return say("The rules refused it: {reply}", reply=reply or verb)
    if kind == DEFERRED:
        return say("The rules put it off, and its sender's server tries again: {reply}", reply=reply or verb)
    if kind == PASSED:
        return say("The rules let it through.")
    return say("The rules said {action}.", action=verb)


def _logged(say: Say, mail: Tracked, known: Known) -> Iterator[Event]:
    for line in mail.lines:
        at_s = line.delivery.at_s
        words = _in_parentheses(line.delivery.status)
        if line.is_refused:
            if not _is_decided(mail, line):
                is_later = state_of(line.delivery.status) == "put off"
                text = (
                    say("The mail server put it off, and its sender's server tries again: {reply}", reply=words)
                    if is_later
                    else say("The mail server refused it: {reply}", reply=words)
                )
                yield Event(at_s, QUEUE, text, DEFERRED if is_later else REFUSED, place=_TAKEN)
            continue
        if line.mail.client:
            client = say("The mail server took it from {client}.", client=line.mail.client)
            detail = line.mail.queue_id if known.sees_server else ""
            yield Event(line.mail.began_s, QUEUE, client, PASSED, detail, place=_TAKEN)
        if not line.is_to_store or not mail.held:
            yield from _delivered(say, line, known)


def _is_decided(mail: Tracked, line: Line) -> bool:
    """Whether a decision says the same refusal."""
    return any(
        kind_of(each.verb) in (REFUSED, DEFERRED) and abs(each.at_ms / 1000 - line.delivery.at_s) <= _SAME_S
        for each in mail.decisions
    )


def _delivered(say: Say, line: Line, known: Known) -> Iterator[Event]:
    state, words = state_of(line.delivery.status), _outside(say, known, _in_parentheses(line.delivery.status))
    detail = " ".join(each for each in (line.mail.queue_id, line.delivery.relay) if each) if known.sees_server else ""
    if line.is_to_store:
        yield Event(line.delivery.at_s, STORE, say("Given to the store of held mail."), DEFERRED, detail, place=_STORED)
        return
    texts = {
        "delivered": say("Delivered: {reply}", reply=words),
        "waits": say("It could not be delivered, and is tried again: {reply}", reply=words),
        "returned": say("It could not be delivered, and went back to its sender: {reply}", reply=words),
        "queued": say("In the queue of the mail server."),
    }
    if state in texts:
        yield Event(line.delivery.at_s, DELIVERY, texts[state], KINDS.get(state, OTHER), detail, place=_LAST)
    reason = known.waiting.get((line.mail.queue_id, line.recipient))
    if reason is not None:
        reply = _outside(say, known, reason) or "-"
        text = say("It is in the queue of the mail server now: {reply}", reply=reply)
        yield Event(known.now_s, QUEUE, text, DEFERRED, detail, place=_LAST)


def _outside(say: Say, known: Known, words: str) -> str:
    """Words of Postfix without its own sockets, for those whom the server's inside does not concern."""
    return words if known.sees_server else _SOCKET.sub(say("a part of the mail server"), words)


def _stored(say: Say, mail: Tracked, known: Known) -> Iterator[Event]:
    if mail.held is None:
        return
    row, link = mail.held, f"/held/{mail.held.id}"
    whole = known.held.get(row.id)
    if row.spam_score is not None:
        symbols = sorted(whole.symbols, key=lambda each: -abs(each[1]))[:_MOST_SYMBOLS] if whole else []
        detail = ", ".join(f"{name} {score:g}" for name, score in symbols if score) if known.sees_server else ""
        text = say("The scanner gave it {score} points.", score=row.spam_score)
        yield Event(row.arrived_s, SCAN, text, DEFERRED if row.cause == "spam" else OTHER, detail, place=_SCANNED)
    elif row.cause == "virus":
        yield Event(row.arrived_s, SCAN, say("The scanner found a virus in it."), REFUSED, place=_SCANNED)
    if whole is None:
        yield Event(row.arrived_s, STORE, why(say, row, known.domains), DEFERRED, link=link, place=_STORED)
        return
    for at_s, who, what in whole.events:
        if what.startswith("delivered:") and mail.onward:
            continue
        text = (
            say("Held. {why}", why=why(say, row, known.domains))
            if what.startswith("held:")
            else _happened(say, who, what)
        )
        yield Event(at_s, STORE, text, _kind_of_event(what), link=link, place=_STORED)


def _kind_of_event(what: str) -> str:
    word = what.partition(":")[0].partition(",")[0]
    kinds = {"held": DEFERRED, "refused": REFUSED, "deleted": REFUSED, "expired": REFUSED, "waits": DEFERRED}
    return PASSED if word in ("delivered", "sent") else kinds.get(word, OTHER)


def _happened(say: Say, who: str, what: str) -> str:
    """An event as the store has written it."""
    word, _, words = what.partition(": ")
    if word == "goes on":
        return say("Sent on at once, as the recipient's rules let it.")
    if word == "sent":
        return say("Sent on.")
    if word == "refused":
        return say("The next server refused it, and it is held again: {reply}", reply=words)
    if word == "delivered":
        return say("Delivered: {reply}", reply=words)
    if word == "waits":
        return say("It could not be sent on yet, and is tried again: {reply}", reply=words)
    if what.startswith("released"):
        return say("Released by {who}.", who=who)
    if what.startswith("deleted"):
        return say("Deleted by {who}.", who=who)
    if what.startswith("expired"):
        return say("Expired: it was held as long as held mail is kept.")
    return say("{who} asked for its release.", who=who) if what == "asked for its release" else what


def _in_parentheses(status: str) -> str:
    """The reply that stands behind the word of a status."""
    words = status.partition(" ")[2].strip()
    return words[1:-1] if words.startswith("(") and words.endswith(")") else words or status
