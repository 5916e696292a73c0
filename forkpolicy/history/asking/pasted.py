"""The decision that a pasted text is about: lines of our log or of Postfix's, or a bounce.

A text with the id of a decision (a reply with {code}, a line of ours) is about that one. Lines of Postfix's log have
queue id, client, sender, recipient and time; a bounce has addresses and dates. Queries come in groups, the likeliest
group first; within a group the newest decision is the likeliest. Raises ValueError for a text with none of these.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.asking.bounces import clues_of
from forkpolicy.history.asking.mail_text import plain_text
from forkpolicy.history.asking.pasted_lines import PastedMail, mails_of
from forkpolicy.history.lines import time_text
from forkpolicy.history.query import NAMES, ids_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.history.asking.bounces import Clues

# `~two words`, `login:two words`.
_WORD: Final = re.compile(rf"~|(?:{'|'.join(NAMES)}):\S")
# What no word has, but a JSON line, `from=<a@x>` or `<a@x>,<b@y>`. An address alone may have several @.
_TEXT: Final = re.compile(r"\s|\{|=<|@[^@<>,;]*[<>,;][^@]*@")
MOST_CHARS: Final = 1 << 20
# What a bounce says stands in front of the mail that it returns.
_MOST_BOUNCE_CHARS: Final = 1 << 18
_MOST_IDS: Final = 20
# A line's time and the decision's, made within one session, by clocks of one host; Postfix tries for five days.
_SESSION_S: Final = 15 * 60
_CLOCK_S: Final = 120
_QUEUED_S: Final = 5 * 86400
# Between the clocks of two hosts.
_HOSTS_S: Final = 3600


class Likely(NamedTuple):
    """Words to look for; and others that find further decisions of the same mail, perhaps: none where it is empty."""

    words: list[str]
    more: list[str] = []  # noqa: RUF012 - of a NamedTuple, and nobody changes it


def queries_of(text: str, now_s: float) -> list[list[Likely]]:
    """Groups of queries, the likeliest first."""
    text = text[:MOST_CHARS]
    mails = mails_of(text, now_s)
    plain = plain_text(text)
    ids = [each.id for each in mails if each.id] or dict.fromkeys(islice(ids_in(f"{text}\n{plain}"), _MOST_IDS))
    groups = [[Likely([f"id:{each}"]) for each in ids]]
    if mails:
        groups += [group for each in mails for group in _of_line(each)]
    else:
        groups += _of_bounce(clues_of(plain[:_MOST_BOUNCE_CHARS]))
    groups = [group for group in groups if group]
    if not groups:
        raise ValueError("the text has no address, no queue id and no id of a decision")
    return groups


def is_pasted(word: str) -> bool:
    """Whether it has blanks, or what else no word has, and does not say itself what it is: it was pasted in quotes."""
    return not _WORD.match(word) and _TEXT.search(word.strip()) is not None


def _of_line(mail: PastedMail) -> Iterator[list[Likely]]:
    """What one line, or several about one queue id, may be about."""
    near, days = _span(mail.began_s, mail.ended_s, _CLOCK_S), _span(mail.began_s, mail.ended_s, _QUEUED_S)
    if mail.queue_id:
        # Short queue ids repeat: within days, it is that mail.
        yield [Likely([f"queue:{mail.queue_id}", *days])]
    client = [f"client:{mail.client}"] if mail.client else []
    who = [f"from:{mail.sender or '<>'}"] if mail.sender is not None else []
    who += [f"login:{mail.login}"] if mail.login else []
    to = [[f"to:{each}"] for each in mail.recipients if not each.endswith("*")] or [[]]
    pairs = [who + each for each in to if who or each]
    # The same client, sender and recipient within days: another attempt of the same mail.
    others = {tuple(each): (client if mail.sender == "" else []) + each + days for each in pairs if days}
    if client and near:
        yield [Likely([*client, *each, *near], others.get(tuple(each), [])) for each in pairs or [[]]]
    if near:
        yield [Likely([*each, *near], others.get(tuple(each), [])) for each in pairs]
    yield [Likely([*client, *each]) for each in pairs]
    yield [Likely(each) for each in pairs]


def _of_bounce(clues: Clues) -> Iterator[list[Likely]]:
    """What a bounce may be about. What it says is the recipient comes before an address that merely stands in it."""
    span = _span(min(clues.dates_s, default=None), max(clues.dates_s, default=None), _HOSTS_S)
    spans = [span, []] if span else [[]]
    pairs = list(_pairs(clues.recipients, clues.senders))
    yield [Likely([f"queue:{queue}", f"to:{to}"]) for queue in clues.queue_ids for to in clues.recipients]
    for client in clues.clients:
        yield [Likely([*each, f"client:{client}", *span]) for each in pairs]
    for within in spans:
        yield [Likely([*each, *within]) for each in pairs]
    unknown = [*_pairs(clues.recipients, clues.others), *_pairs(clues.others, clues.senders)]
    if not clues.recipients:
        unknown += _pairs(clues.others, clues.others)
    for within in spans:
        yield [Likely([*each, *within]) for each in unknown]
    for within in spans:
        for to in clues.recipients or clues.others:
            yield [Likely([f"to:{to}", *within])]
    for client in clues.clients:
        yield [Likely([f"client:{client}", *span])]


def _pairs(recipients: Iterable[str], senders: Iterable[str]) -> Iterator[list[str]]:
    return ([f"to:{to}", f"from:{sender}"] for to in recipients for sender in senders if to != sender)


def _span(first_s: float | None, last_s: float | None, around_s: float) -> list[str]:
    if first_s is None or last_s is None:
        return []
    return [
        f"{word}:{time_text(int(at_s) * 1000)}"
        for word, at_s in (("since", first_s - around_s), ("until", last_s + around_s))
    ]
