"""The values of each type of ACL that apolicy has, as values of ours. Reads no files.

A value whose meaning is not documented, or has no equal, is refused: `Refused` has the reason and the nearest thing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.apolicy.clock import days_of, time_of
from forkpolicy.importing.apolicy.grammar import split_at_commas
from forkpolicy.importing.apolicy.patterns import HOSTS, MAIL, TEXTS, pattern_of
from forkpolicy.importing.apolicy.refused import Refused
from forkpolicy.importing.expressions import literal_value
from forkpolicy.tables.keys import parse_network_spec

if TYPE_CHECKING:
    from forkpolicy.policy.nodes import Word

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_SPF_RESULTS: Final = ("pass", "fail", "softfail", "neutral", "none", "permerror", "temperror")
_OLD_SPF_RESULTS: Final = {"deny": "fail", "unknown": "permerror", "error": "temperror"}
# Minutes, since its version 0.71.
_GREY_DEFAULTS: Final = {"time": "5", "lifetime": "1440"}
_NO_EFFECT: Final = ("backend", "root")
_MAX_MINUTES: Final = 10**6
COUNTRY_HINT: Final = (
    "table countries cidr mmdb:/var/lib/GeoIP/GeoLite2-Country.mmdb, then acl NAME country table:countries {codes}"
)


@dataclass
class Read:
    """What one ACL has become. `exact`: values that a table may have instead; `notes`: at which word what."""

    values: list[str] = field(default_factory=list)
    exact: list[tuple[str, Word]] = field(default_factory=list)
    refused: list[tuple[Word, Refused]] = field(default_factory=list)
    notes: list[tuple[Word, str]] = field(default_factory=list)

    def note_once(self, found: list[tuple[Word, str]], more: str = "value") -> None:
        """The first of many equal notes, and how many there are."""
        if found:
            word, text = found[0]
            rest = len(found) - 1
            self.notes.append((word, f"{text} ({rest} more {more}{'s' * (rest > 1)} like it)" if rest else text))


Reader = Callable[[str, "list[Word]", str, Read], None]


def read_values(type_name: str, words: list[Word], how: str) -> Read:
    """The values of one ACL of a type that READERS has."""
    read = Read()
    READERS[type_name](type_name, words, how, read)
    return read


def each_of(words: list[Word], read: Read) -> list[Word]:
    """Values that blanks and commas separate. A word that may be one value or two is refused."""
    values: list[Word] = []
    for word in words:
        try:
            values += split_at_commas(word)
        except ValueError as error:
            read.refused.append((word, Refused(str(error), "an expression between slashes may have commas: /a{1,3}/")))
    return values


def _patterns(type_name: str, words: list[Word], how: str, read: Read) -> None:
    hit_too, stays = [], []
    for word in each_of(words, read):
        try:
            found = pattern_of(type_name, word.text, how)
        except ValueError as error:
            read.refused.append((word, Refused(str(error))))
            continue
        if found.is_exact:
            read.exact.append((found.value, word))
        else:
            read.values.append(found.value)
        if found.hit_too:
            text = f"{word.text} is exact here; apolicy searched for it, so that {found.hit_too} was hit, too"
            hit_too.append((word, text))
        if found.note:
            stays.append((word, found.note))
    read.note_once(hit_too)
    read.note_once(stays)


def _networks(_type: str, words: list[Word], _how: str, read: Read) -> None:
    for word in each_of(words, read):
        try:
            parse_network_spec(word.text)
        except ValueError as error:
            short = re.fullmatch(r"[\d.]+(/\d+)?", word.text) and "of 4 numbers" in str(error)
            why = "apolicy's library took it for one address" if short and "/" not in word.text else ""
            read.refused.append((word, Refused(f"{why}: {error}" if why else str(error))))
        else:
            read.exact.append((word.text, word))


def _one_by_one(convert: Callable[[str], list[str]]) -> Reader:
    """The reader of a type whose values are converted one by one. The function raises Refused."""

    def read_words(_type: str, words: list[Word], _how: str, read: Read) -> None:
        for word in each_of(words, read):
            try:
                read.values += convert(word.text)
            except ValueError as error:
                refused = error if isinstance(error, Refused) else Refused(str(error))
                read.refused.append((word, refused))

    return read_words


def _size(text: str) -> list[str]:
    if not (text.isascii() and text.isdigit()):
        nearest = f"size {text}" if re.fullmatch(r"\d+[KMGkmg]", text) else "size 10M (of 1024 * 1024)"
        raise Refused("apolicy's sizes were bytes: what a letter behind them meant is not documented", nearest)
    return [text]


def _zone(text: str) -> list[str]:
    if "=" in text or not _NAME.fullmatch(text):
        raise Refused("not the name of a zone")
    return [text]


def _rbl(type_name: str, words: list[Word], how: str, read: Read) -> None:
    _one_by_one(_zone)(type_name, words, how, read)
    if words:
        text = (
            "every code of 127.0.0.0/8 but those for errors counts as listed; which counted in apolicy is not "
            f"documented. Better write them: {words[0].text}=127.0.0.2-11"
        )
        read.notes.append((words[0], text))


def _spf(text: str) -> list[str]:
    result = text.lower()
    if result not in _SPF_RESULTS:
        near = _OLD_SPF_RESULTS.get(result)
        raise Refused(
            "not a result of SPF (RFC 7208)", f"spf {near}" if near else f"spf with {', '.join(_SPF_RESULTS)}"
        )
    return [result]


def _country(_type: str, words: list[Word], _how: str, read: Read) -> None:
    codes = " ".join(word.text.upper() for word in each_of(words, read))
    reason = "countries are a table here, made of a database that apolicy's files do not name"
    read.refused.append((words[0], Refused(reason, COUNTRY_HINT.format(codes=codes))))


def _protocol_name(text: str) -> list[str]:
    if text.upper() == "SMTP":
        nearest = "protocol_name SMTP for the one, protocol_name /SMTP/ for both"
        raise Refused("whether it was searched for, and so hit ESMTP too, is not documented", nearest)
    if not _NAME.fullmatch(text):
        return [pattern_of("protocol_name", text, "searched").value]
    return [text]


def _context(text: str) -> list[str]:
    return [text if _NAME.fullmatch(text) else literal_value(text)]


def _stress(text: str) -> list[str]:
    if text.lower() != "yes":
        raise Refused("apolicy's stress takes no value that is documented", "stress, which holds when it is yes")
    return []


def _nothing(text: str) -> list[str]:
    raise Refused(f'apolicy\'s log takes no value that is documented, and "{text}" is one')


def _greylisting(_type: str, words: list[Word], _how: str, read: Read) -> None:
    options = dict(_GREY_DEFAULTS)
    given: Counter[str] = Counter()
    for word in each_of(words, read):
        name, equals, value = word.text.partition("=")
        if name in _NO_EFFECT and equals:
            read.notes.append((word, f"{name}= has no effect: what is remembered is in the store of [state]"))
        elif name in options and value.isascii() and value.isdigit() and 0 < int(value[:9]) < _MAX_MINUTES:
            options[name] = value
        else:
            known = ", ".join(f"{each}=" for each in (*options, *_NO_EFFECT))
            read.refused.append((word, Refused(f"not an option of its greylisting: {known} (minutes)")))
        given[name] += 1
    delay, lifetime = options["time"], options["lifetime"]
    if int(delay) >= int(lifetime):
        read.refused.append((words[0], Refused(f"who must wait {delay} minutes of {lifetime} never passes")))
    if twice := next((name for name, times in given.items() if times > 1), ""):
        read.refused.append((words[0], Refused(f"{twice}= stands here twice")))
    read.values += [f"delay={delay}m", f"window={lifetime}m", f"keep={lifetime}m", "auto=0"]


# `stress` and `log` take none; `greylisting` may.
WITHOUT_VALUES: Final = frozenset({"stress", "log", "greylisting"})
READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys((*MAIL, *HOSTS, *TEXTS), _patterns),
    "client_address": _networks,
    "protocol_name": _one_by_one(_protocol_name),
    "policy_context": _one_by_one(_context),
    "day": _one_by_one(days_of),
    "time": _one_by_one(time_of),
    "size": _one_by_one(_size),
    "rbl": _rbl,
    "spf": _one_by_one(_spf),
    "country": _country,
    "stress": _one_by_one(_stress),
    "log": _one_by_one(_nothing),
    "greylisting": _greylisting,
}
