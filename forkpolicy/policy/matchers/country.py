"""`country table:NAME CODE...`, `asn table:NAME NUMBER...`: what a table of networks says about the client's address.

The table is one of kind `cidr`, most often of an `mmdb:` source; the value of its entry is compared, folded, and of
`AS64500` the number. An address without an entry is in no country: the ACL does not hold. A further `table:NAME` among
the values begins anew, so that several statements of one name add up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.policy.matchers.conditions import Equal
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.entry import EntryMatcher
from forkpolicy.policy.matchers.table import TableMatcher
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Lookup, Matcher
    from forkpolicy.policy.nodes import Word

TABLE: Final = "table:"
CLIENT: Final = "client_address"
# What people write for countries that ISO 3166 has another code for, and databases too.
OTHER_CODES: Final = {"uk": "GB", "el": "GR"}
MAX_NUMBER: Final = (1 << 32) - 1

_CODE: Final = re.compile(r"[A-Za-z]{2}")
_NUMBER: Final = re.compile(r"(?:as)?([0-9]+)", re.ASCII | re.IGNORECASE)


def parse_code(text: str) -> str:
    """`CN`, folded. Raises ValueError."""
    if not _CODE.fullmatch(text):
        raise ValueError(f'"{text}" is not a country code: expected two letters (ISO 3166), as in CN')
    return text.lower()


def parse_number(text: str) -> str:
    """`AS64500` or `64500`, without the letters. Raises ValueError."""
    found = _NUMBER.fullmatch(text)
    # Nobody converts thousands of digits.
    if not found or len(found[1]) > 20 or not 1 <= int(found[1]) <= MAX_NUMBER:
        raise ValueError(
            f'"{text}" is not the number of an autonomous system: expected 1 to {MAX_NUMBER}, as in AS64500 or 64500'
        )
    return str(int(found[1]))


def fold_code(value: str) -> str:
    """The value of an entry as `parse_code` has it."""
    return value.lower()


def fold_number(value: str) -> str:
    """The value of an entry as `parse_number` has it; what is not a number equals none."""
    return value.lower().removeprefix("as").lstrip("0")


@dataclass(frozen=True, slots=True)
class Kind:
    """What one of the two types compares. `parse` is for values of the policy, `fold` for those of entries."""

    name: str
    parse: Callable[[str], str]
    fold: Callable[[str], str]
    example: str


COUNTRY: Final = Kind("country", parse_code, fold_code, "CN RU")
ASN: Final = Kind("asn", parse_number, fold_number, "AS64500 64501")


class PlaceMatcher(EntryMatcher):
    """Compares the value of the entry that a table of networks has for the client."""

    def __init__(self, kind: Kind, words: Mapping[str, Word], table: Word, lookup: Lookup) -> None:
        asked = TableMatcher(CLIENT, table, lookup, KINDS[lookup.kind].asked_for[Subject.MACHINE])
        super().__init__(asked, Equal(words, kind.fold, kind.name))
        self.kind, self.places = kind, words

    def warnings(self) -> Iterator[Diagnostic]:
        """Codes that no database has."""
        for key, word in self.places.items() if self.kind is COUNTRY else ():
            if meant := OTHER_CODES.get(key):
                yield word.warning(f"ISO 3166 has no country {word.text}: did you mean {meant}?")


def _type_of(kind: Kind) -> AclType:
    def build(_type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
        if not words[0].text.startswith(TABLE):
            message = f"{kind.name} needs a table of networks first: {kind.name} table:NAME {kind.example}"
            context.wrong(words[0], message)
            return []
        return [each for group in _by_table(words) if (each := _matcher(kind, group, context))]

    return AclType(build)


def _by_table(words: Iterable[Word]) -> list[list[Word]]:
    """Words in groups that begin with a table each."""
    groups: list[list[Word]] = []
    for word in words:
        if word.text.startswith(TABLE):
            groups.append([])
        groups[-1].append(word)
    return groups


def _matcher(kind: Kind, group: list[Word], context: BuildContext) -> Matcher | None:
    table, *values = group
    keys = context.by_key(values, kind.parse)
    if not values:
        hint = f"for whatever is in the table: {CLIENT} {table.text}"
        context.wrong(table, f"{kind.name} needs values behind its table, such as {kind.example}", hint)
    lookup = context.table(table, table.text[len(TABLE) :])
    if lookup and Subject.MACHINE not in KINDS[lookup.kind].asked_for:
        fitting = " or ".join(name for name, each in KINDS.items() if Subject.MACHINE in each.asked_for)
        context.wrong(table, f'table "{lookup.name}" is of kind {lookup.kind}: {kind.name} needs {fitting}')
        return None
    return PlaceMatcher(kind, keys, table, lookup) if lookup and keys else None


COUNTRY_TYPE = _type_of(COUNTRY)
ASN_TYPE = _type_of(ASN)
