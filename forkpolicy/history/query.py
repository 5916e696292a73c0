"""What is looked for in past decisions: the words of `history find`, understood. Pure.

    to:anna@example.com  from:@example.org  client:192.0.2.0/24  login:anna  rule:policy.conf:7  action:REJECT
    queue:4F2A  id:k2xg0y7qw3bd  host:mx1  since:2h  since:2026-11-28  until:2026-11-28T12:00  ~text

A word without a name says by its form what it is: an address (of sender, recipient or login), a domain, a client's
address or network, the id of a decision. `anna*` is a beginning. A word may have around it what stood there where it
was copied: `<anna@example.com>,`, `(k2xg0y7qw3bd)`. ValueError says what is wrong and what was expected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Final

from forkpolicy.decision_ids import ALPHABET, ID_CHARS
from forkpolicy.durations import parse_duration
from forkpolicy.errors import nearest
from forkpolicy.history.lines import ID
from forkpolicy.tables.keys import fold_address, fold_domain, parse_network_spec, split_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkpolicy.history.scope import Scope
    from forkpolicy.tables.keys import IpRange

NAMES: Final = {
    "to": "recipient",
    "recipient": "recipient",
    "from": "sender",
    "sender": "sender",
    "client": "client",
    "login": "login",
    "rule": "rule",
    "action": "action",
    "queue": "queue",
    "id": "id",
    "host": "host",
    "since": "since",
    "until": "until",
}
_ALL_NAMES: Final = ", ".join(f"{each}:" for each in NAMES)
_NAMED: Final = re.compile(r"([a-zA-Z]+):(.+)", re.DOTALL)
_WRAPPED: Final = re.compile(r"<(.+)>|\((.+)\)|(?i:mailto):(.+)", re.DOTALL)
_ADDRESS: Final = re.compile(r"[^\s@]*@\S*|<>")
_DOMAIN: Final = re.compile(r"[^\s@:/*]+\.[^\s@:/*]+")
_ID_IN_TEXT: Final = re.compile(rf"(?<![A-Za-z0-9])[{ALPHABET}]{{{ID_CHARS}}}(?![A-Za-z0-9])", re.IGNORECASE | re.ASCII)
# Both forms of Postfix: of hexadecimal digits, and of 52 characters without vowels: a time, z, an inode without z
# (mail_queue.h).
_QUEUE_ID: Final = re.compile(
    r"(?=.*[0-9])(?:[0-9A-F]{6,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]+)"
)
ADDRESS_COLUMNS: Final = ("sender", "recipient", "login")


@dataclass(frozen=True, slots=True)
class Names:
    """Addresses: one (`text`), all of a domain, or all that begin so; in any of the columns."""

    columns: Sequence[str]
    text: str = ""
    domain: str = ""
    beginning: str = ""

    def has(self, folded: str | None) -> bool:
        """Whether an address is one of them: what SQL does, in words. None: there is none."""
        if folded is None:
            return False
        if self.domain:
            return split_address(folded)[1] == self.domain
        return folded.startswith(self.beginning) if self.beginning else folded == self.text


@dataclass(slots=True)
class Query:
    """Everything that a decision must meet. Times in milliseconds since 1970; `texts` stand somewhere in its line;
    `odd`: it must be as `Decision.is_odd` says. `before`: the cursor of a decision (`Found.cursor`), which those that
    are found follow. `scope`: whose decisions may be seen; None: everybody's. `give_up_s`: when a search ends without
    having seen all, by the monotonic clock.
    """

    names: list[Names] = field(default_factory=list)
    clients: list[list[IpRange]] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    verbs: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    odd: bool = False
    since_ms: int = 0
    until_ms: int = 1 << 62
    before: str = ""
    scope: Scope | None = None
    give_up_s: float = inf

    def texts_are_in(self, line: bytes) -> bool:
        """Whether a line of the log has all of `texts`; case does not matter."""
        text = line.decode("utf-8", "replace").casefold()
        return all(each.casefold() in text for each in self.texts)


def query_of(words: Iterable[str], now_s: float) -> Query:
    """The query of these words. Raises ValueError."""
    query = Query()
    for given in words:
        # The log has bytes that are not UTF-8 as the text \xNN.
        word = given.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if word.startswith("~"):
            query.texts.append(_given(word[1:], word))
            continue
        if not _is_known(named := _NAMED.fullmatch(word)):
            word = _unwrapped(word)
            named = _NAMED.fullmatch(word)
        if named and _is_known(named):
            _add(query, NAMES[named[1].lower()], named[2], now_s)
        elif named and not _is_network(word):
            near = nearest(named[1].lower(), NAMES)
            hint = f'; did you mean "{near}:"?' if near else ""
            raise ValueError(f'"{named[1]}:" is not known: expected one of {_ALL_NAMES}{hint}')
        else:
            _add_bare(query, word)
    return query


def ids_in(text: str) -> Iterator[str]:
    """The ids of decisions that stand in a text, in any case (people dictate them), as the history has them."""
    return (found[0].lower() for found in _ID_IN_TEXT.finditer(text))


def is_queue_id(word: str) -> bool:
    """Whether a word looks like a queue id of Postfix, and like nothing else that is looked for."""
    return _QUEUE_ID.fullmatch(word) is not None and not ID.fullmatch(word.lower())


def _is_known(named: re.Match[str] | None) -> bool:
    return named is not None and named[1].lower() in NAMES


def _unwrapped(text: str) -> str:
    """Without what stood around it where it was copied."""
    text = text.rstrip(",;.") or text
    while wrapped := _WRAPPED.fullmatch(text):
        text = wrapped[wrapped.lastindex or 0]
        text = text.rstrip(",;.") or text
    return text


def _add(query: Query, name: str, text: str, now_s: float) -> None:
    match name:
        case "login":
            # The client says who it is, and may end it with any character.
            query.names.append(_names((name,), text))
        case "sender" | "recipient":
            query.names.append(_names((name,), _unwrapped(text)))
        case "client":
            query.clients.append(parse_network_spec(_unwrapped(text)))
        case "id":
            # Whatever else a log has as an id is looked for as it stands there.
            folded = _unwrapped(text).lower()
            query.ids.append(folded if ID.fullmatch(folded) else text)
        case "queue":
            query.queues.append(_unwrapped(text))
        case "since":
            query.since_ms = moment_ms(text, now_s)
        case "until":
            query.until_ms = moment_ms(text, now_s)
        case _:
            {"rule": query.rules, "action": query.verbs, "host": query.hosts}[name].append(text)


def _add_bare(query: Query, word: str) -> None:
    if ID.fullmatch(word.lower()):
        query.ids.append(word.lower())
    elif _is_network(word):
        query.clients.append(parse_network_spec(word))
    elif _ADDRESS.fullmatch(word) or _DOMAIN.fullmatch(word) or word.endswith("*"):
        query.names.append(_names(ADDRESS_COLUMNS, word))
    else:
        hint = f'; did you mean "queue:{word}"?' if _QUEUE_ID.fullmatch(word) else ""
        raise ValueError(
            f'"{word}" is not an address, a domain, a network or the id of a decision: write what it is '
            f"({_ALL_NAMES}), or ~{word} to search the whole lines{hint}"
        )


def _names(columns: Sequence[str], text: str) -> Names:
    if text.endswith("*"):
        return Names(columns, beginning=_given(text[:-1], text).casefold())
    if text == "<>":
        return Names(columns, text="")
    if text.startswith("@") or ("@" not in text and _DOMAIN.fullmatch(text) and columns != ("login",)):
        return Names(columns, domain=fold_domain(_given(text.removeprefix("@"), text)))
    return Names(columns, text=fold_address(text))


def _given(text: str, word: str) -> str:
    if not text:
        raise ValueError(f'"{word}" says nothing to look for')
    return text


def _is_network(word: str) -> bool:
    try:
        parse_network_spec(word)
    except ValueError:
        return False
    return True


def moment_ms(text: str, now_s: float) -> int:
    """A time: so long ago (`2h`), a day or a moment in local time or with its zone. Raises ValueError."""
    try:
        return int((now_s - parse_duration(text)) * 1000)
    except ValueError:
        pass
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError(f'"{text}" is not a time: expected 2h, 3d, 2026-11-28 or 2026-11-28T09:30') from None
