"""Entries that come from documentation: names of RFC 2606, networks of RFC 5737, RFC 3849 and RFC 9637.

A table of a running system has such entries when its author forgot to replace those of the samples. Lists that people
write are looked through; in a large one, which was downloaded, an example does no harm and nobody would look for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import parse_network
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.tables.format import Entry
    from forkpolicy.tables.reader import Table

# More than anybody writes by hand; looking through them takes 10 ms.
_MOST_ENTRIES: Final = 5_000

_NETWORKS: Final = tuple(
    parse_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)
_NAME: Final = re.compile(r"(^|[@. ])example\.(com|net|org)$|\.example$")


def examples_in(table: Table) -> list[Entry]:
    """The entries of a table that come from documentation; none where it is large."""
    if table.info.entries > _MOST_ENTRIES:
        return []
    kind = KINDS[table.kind]
    if kind.columns:
        return list(_columns_in(table))
    return list(_networks_in(table) if kind.stores_ranges else _names_in(table))


def words_for(examples: list[Entry]) -> str:
    """A sentence about some of them; the first is named."""
    first = examples[0]
    come = f" and {len(examples) - 1} more come" if len(examples) > 1 else " comes"
    return f"{first.key}{come} from the documentation's examples: put your own here"


def _networks_in(table: Table) -> Iterator[Entry]:
    for first, last in _NETWORKS:
        for key, raw in table.entries_from(first):
            if key > last:
                break
            if raw[: len(first)] >= first:
                yield table.entry(raw)


def _names_in(table: Table) -> Iterator[Entry]:
    for _, raw in table.entries():
        entry = table.entry(raw)
        if _NAME.search(entry.key):
            yield entry


def _columns_in(table: Table) -> Iterator[Entry]:
    """A network that others are nested in is stored in pieces, of which one is shown."""
    before = ""
    for _, raw in table.entries():
        entry = table.entry(raw)
        if entry.key != before and any(_is_example(word) for word in KINDS[table.kind].words(entry.key)):
            yield entry
        before = entry.key


def _is_example(word: str) -> bool:
    try:
        first, last = parse_network(word, allow_wide=True)
    except ValueError:
        return _NAME.search(word) is not None
    return any(first >= outer and last <= end for outer, end in _NETWORKS)
