"""Users' lists as texts: who welcomes and who blocks whom. Pure.

A line an entry, `recipient sender`, as sources of tables of kind `pair:address,address` have them. Each is an address,
or a domain for all addresses in it, folded as look-ups fold them. What is added is one entry whatever somebody wrote:
a local part that is not plain stands in quotes, and what quotes cannot hold raises ListMistakeError. Lines that people
have written themselves are kept as they are, and shown where they are entries.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store_messages import Scope
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.kinds.columns import COLUMNS
from forkpolicy.tables.kinds.kind import SourceKey
from forkpolicy.tables.kinds.pair import pair_kind
from forkpolicy.tables.names import NUMERIC_TOP, QUOTED_KEY, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.translations import Say

WELCOME: Final = "user_welcome"
BLOCK: Final = "user_block"
LISTS: Final = (WELCOME, BLOCK)
# The names of their files, below the console's directory of tables.
FILES: Final = {name: name.replace("_", "-") for name in LISTS}
KIND: Final = "pair:address,address"
# Of one recipient, in a list.
MOST_ENTRIES: Final = 500
# Of the recipients of a domain, in a list: with the longest entries they leave a fifth of it to others.
MOST_OF_DOMAIN: Final = 50_000
# Of a list: the compile reads no more than twice as much of a file that is not the administrator's.
MOST_BYTES: Final = 32 << 20

_EXPECTED: Final = "{word} is neither an address nor a domain: expected one as in news@example.com or example.com."
_TOO_MANY: Final = "{recipient} has {count} entries in this list: more are not possible."
_COLUMN: Final = COLUMNS["address"]
# What needs no quotes, and is no comment, no `until=` and no quote itself.
_PLAIN: Final = re.compile(r"(?!until=)[a-z0-9._+=~!$%&'/?^{|}-]+")
_LITERAL: Final = re.compile(r"\[(?:ipv6:)?[0-9a-f:.]+\]")
# As this file writes most of them.
_COMMON: Final = re.compile(r"((?:[a-z0-9._+-]+@)?[a-z0-9.-]*[a-z0-9]) ((?:[a-z0-9._+-]+@)?[a-z0-9.-]*[a-z0-9])")
_WORD: Final = re.compile(r"\s*\S+")


class ListMistakeError(ValueError):
    """What cannot be listed, in the words of who wrote it."""


class Entry(NamedTuple):
    """Both folded. `more`: what stands behind them in a line that a person has written."""

    recipient: str
    sender: str
    more: str = ""


def entry_of(recipient: str, sender: str, say: Say) -> Entry:
    """The entry of what somebody wrote. Raises ListMistakeError."""
    entry = Entry(_folded(recipient, say), _folded(sender, say))
    try:
        pair_kind(KIND).sort_keys(SourceKey(COLUMN_SEPARATOR.join(entry[:2]), "", _no_note))
    except ValueError as error:
        raise ListMistakeError(say("The two addresses together are too long for a list.")) from error
    return entry


def entries(text: str, scope: Scope) -> Iterator[Entry]:
    """The entries of recipients in a scope, the newest first."""
    parts = [_part(each) for each in (*scope.addresses, *scope.domains)]
    for line in reversed(text.split("\n")):
        if scope.everything or not line.isascii() or _has_one(line, parts):
            entry = _entry(line)
            if entry and owns(scope, entry.recipient):
                yield entry


def owns(scope: Scope, recipient: str) -> bool:
    """Whether somebody with this scope has the lists of a folded recipient: an address, or a whole domain."""
    return scope.everything or recipient in scope.addresses or recipient.rpartition("@")[2] in scope.domains


def own_of(recipient: str) -> Scope:
    """The scope of the lists of one recipient."""
    return Scope(addresses=(recipient,))


def added(text: str, entry: Entry, say: Say) -> str:
    """The text with an entry; the same where it has it. Raises ListMistakeError where that would be too many."""
    own = list(entries(text, own_of(entry.recipient)))
    if any(each.sender == entry.sender for each in own):
        return text
    _refuse_many(entry.recipient, len(own), MOST_ENTRIES, say)
    domain = entry.recipient.rpartition("@")[2]
    _refuse_many(domain, _count_of_domain(text, domain), MOST_OF_DOMAIN, say)
    gap = "" if not text or text.endswith("\n") else "\n"
    whole = f"{text}{gap}{line_of(entry)}\n"
    if len(whole.encode()) > MOST_BYTES:
        raise ListMistakeError(say("The list is full: an administrator must remove entries."))
    return whole


def _refuse_many(recipient: str, count: int, most: int, say: Say) -> None:
    """Raises ListMistakeError where there are so many already."""
    if count >= most:
        words = say(
            "{recipient} has {count} entries in this list: more are not possible.", recipient=recipient, count=count
        )
        raise ListMistakeError(words)


def _count_of_domain(text: str, domain: str) -> int:
    """How many entries its recipients have, and the domain itself, as they are written here."""
    return text.count(f"@{domain} ") + text.count(f"\n{domain} ") + text.startswith(f"{domain} ")


def removed(text: str, entry: Entry) -> str:
    """The text without an entry, however often it has it."""
    part = _part(entry.recipient)
    return "\n".join(
        line
        for line in text.split("\n")
        if (line.isascii() and part not in line.lower()) or not _is(_entry(line), entry)
    )


def line_of(entry: Entry) -> str:
    """An entry as the only one of a line."""
    return f"{_word(entry.recipient)} {_word(entry.sender)}"


def _part(recipient: str) -> str:
    """What each line about a recipient has, in small letters, as far as it is ASCII: in quotes or not."""
    return recipient.rpartition("@")[0] or recipient


def _has_one(line: str, parts: list[str]) -> bool:
    lower = line.lower()
    return any(part in lower for part in parts)


def _is(found: Entry | None, entry: Entry) -> bool:
    return found is not None and found[:2] == entry[:2]


def _no_note(_text: str) -> None:
    """Warnings about an operator's slips are none of a user's."""


def _folded(written: str, say: Say) -> str:
    """An address or a domain. Raises ListMistakeError."""
    text = written.strip(" ")
    if not text:
        raise ListMistakeError(say("An address or a domain is missing."))
    if not text.isprintable() or '"' in unquoted(text):
        raise ListMistakeError(say("{word} has a character that no list can have: list its domain.", word=text))
    pattern = _pattern(text)
    local, at, domain = pattern.rpartition("@")
    is_name = "." in domain.strip(".") and not domain.startswith(".") and not NUMERIC_TOP.search(domain)
    if bool(local) != bool(at) or not (is_name or (local and _LITERAL.fullmatch(domain))):
        raise ListMistakeError(say(_EXPECTED, word=text))
    return pattern


def _pattern(word: str) -> str:
    """The folded pattern of a word; empty where it is none."""
    try:
        (pattern,) = _COLUMN.patterns(SourceKey(word, "", _no_note))
    except ValueError:
        return ""
    return pattern


def _word(folded: str) -> str:
    local, at, domain = folded.rpartition("@")
    return folded if not local or _PLAIN.fullmatch(local) else f'"{local}"{at}{domain}'


def _entry(line: str) -> Entry | None:
    """What a line says; None for what is no entry."""
    common = _COMMON.fullmatch(line)
    if common:
        return Entry(common[1], common[2])
    if line.lstrip()[:1] in ("#", ";", ""):
        return None
    words: list[str] = []
    at = 0
    while len(words) < 2:
        word = QUOTED_KEY.match(line, at) or _WORD.match(line, at)
        if word is None:
            return None
        found = unquoted(word[0].strip())
        words.append(_pattern(found) or found)
        at = word.end()
    return Entry(words[0], words[1], line[at:].strip())
