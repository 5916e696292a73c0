"""The look-up in a table of several columns: the patterns of each column's value, one column inside the other.

The steps are closures, made once for a table: each chooses a pattern of its column and takes the next step, until one
of them finds an entry. The first network column asks for ranges instead (see pair.py): then all patterns of the columns
behind it are tried, and of what is found the longest prefix counts, of equal ones the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import lmdb

from forkpolicy.tables.format import COLUMN_SEPARATOR, NETWORK_HERE, prefix_length_of
from forkpolicy.tables.keys import encode_key, ip_key
from forkpolicy.tables.kinds.columns import ANY, ANY_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.tables.kinds.columns import Ask, Column
    from forkpolicy.tables.kinds.kind import Find

    Step = Callable[[], "bytes | None"]

_SEPARATOR: Final = COLUMN_SEPARATOR.encode("ascii")
# By the bytes of an address with its family: the prefix that nothing is more specific than.
_WHOLE: Final = {5: 32, 17: 128}


def column_search(
    cursor: lmdb.Cursor[bytes], columns: Sequence[Column], ranged: int, forms: Sequence[set[str]], delimiter: str
) -> Find:
    """A function that looks the values of all columns up. `ranged` is the column with ranges, -1 where there is none;
    `forms` are those that each column has.
    """
    values, chosen = [""] * len(columns), [""] * len(columns)
    nearest = _Nearest(cursor)
    step = _last_step(cursor, chosen, ranged, nearest)
    for at in reversed(range(len(columns))):
        ask = _choosing(chosen, at, step)
        if at == ranged:
            step = _step_of_ranges(ask, values, at, forms[at], nearest)
        else:
            step = _step(columns[at].in_order(ask, forms[at], delimiter), ask, values, at, forms[at])
    first = step

    def find(*texts: str) -> bytes | None:
        values[:] = texts
        return first()

    return find


def _choosing(chosen: list[str], at: int, step: Step) -> Ask:
    def ask(pattern: str) -> bytes | None:
        chosen[at] = pattern
        return step()

    return ask


def _step(find: Ask, ask: Ask, values: list[str], at: int, forms: set[str]) -> Step:
    has_patterns, has_any = bool(forms - {ANY}), ANY in forms

    def step() -> bytes | None:
        found = find(values[at]) if has_patterns else None
        return ask(ANY_KEY) if found is None and has_any else found

    return step


def _step_of_ranges(ask: Ask, values: list[str], at: int, forms: set[str], nearest: _Nearest) -> Step:
    has_networks, has_any = NETWORK_HERE in forms, ANY in forms

    def step() -> bytes | None:
        address = ip_key(values[at]) if has_networks else None
        found = None
        if address is not None:
            nearest.begin(address)
            found = ask(NETWORK_HERE) or nearest.best
        return ask(ANY_KEY) if found is None and has_any else found

    return step


def _last_step(cursor: lmdb.Cursor[bytes], chosen: list[str], ranged: int, nearest: _Nearest) -> Step:
    """The entry of the chosen patterns."""
    set_key, value = cursor.set_key, cursor.value

    def step() -> bytes | None:
        key = encode_key(COLUMN_SEPARATOR.join(chosen))
        if ranged >= 0 and chosen[ranged] == NETWORK_HERE:
            return nearest.look(key)
        try:
            return value() + key if set_key(key) else None
        except lmdb.BadValsizeError:
            # Longer than any key can be: a hostile request, not an error.
            return None

    return step


class _Nearest:
    """The most specific of the ranges around one address, of all groups of entries that are asked."""

    __slots__ = ("_address", "_cursor", "_length", "best")

    def __init__(self, cursor: lmdb.Cursor[bytes]) -> None:
        self._cursor = cursor
        self._address, self._length = b"", -1
        self.best: bytes | None = None

    def begin(self, address: bytes) -> None:
        """About another address."""
        self._address, self._length, self.best = address, -1, None

    def look(self, group: bytes) -> bytes | None:
        """Ask the entries that differ in nothing but their network. Returns what nothing can be more specific than;
        anything else may become `best`.
        """
        address, cursor = self._address, self._cursor
        wanted = group + _SEPARATOR + address
        try:
            if not cursor.set_range(wanted):
                return None
        except lmdb.BadValsizeError:
            return None
        key, raw = cursor.item()
        # The first key not below the address is the only candidate, if it is of this group and family. Its value begins
        # with the first address of its range; what follows that begins below 0xff.
        same = len(group) + 2
        if len(key) != len(wanted) or key[:same] != wanted[:same] or raw >= address + b"\xff":
            return None
        length = prefix_length_of(raw)
        if length > self._length:
            self._length, self.best = length, raw + key
        return self.best if length == _WHOLE[len(address)] else None
