"""`pair:network,address`: a table of two or more columns, of which all must match; `*` matches any value.

Among the entries that match, the most specific first column wins, then the second, and so on. So the patterns of each
value are tried in the order of its column's kind, one column inside the other, until there is an entry.

An entry's key is its patterns joined by COLUMN_SEPARATOR, which is in no pattern. Networks may nest 33 deep and more,
so those of the first network column are not tried one after the other: where an entry has a network there, its key has
NETWORK_HERE instead, and behind all columns the last address of a range. Entries that differ in nothing but that
network are disjoint ranges, as in a table of kind cidr, and one seek finds the most specific, whatever their number.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

from forkpolicy.tables.format import COLUMN_SEPARATOR, FIRST_ADDRESS_BYTES, MAX_KEY_BYTES, NETWORK_HERE, shown_columns
from forkpolicy.tables.keys import encode_key
from forkpolicy.tables.kinds.column_search import column_search
from forkpolicy.tables.kinds.columns import ANY, ANY_KEY, COLUMNS, NetworkColumn
from forkpolicy.tables.kinds.kind import TableKind

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Mapping

    import lmdb

    from forkpolicy.tables.format import Traits
    from forkpolicy.tables.kinds.columns import Column
    from forkpolicy.tables.kinds.kind import Find, SortKey, SourceKey, Subject, View

PREFIX: Final = "pair:"
_SEPARATOR: Final = COLUMN_SEPARATOR.encode("ascii")
# What stands in a column and is not a pattern of its kind.
_THEMSELVES: Final = {ANY_KEY.encode(): ANY, NETWORK_HERE.encode(): NETWORK_HERE}
# The address at the end of a key, with the separator in front of it.
_ADDRESS_BYTES: Final = max(FIRST_ADDRESS_BYTES.values()) + 1


class PairKind(TableKind):
    """Keys are the patterns of all columns, see above."""

    asked_for: ClassVar[Mapping[Subject, View | None]] = {}

    def __init__(self, names: tuple[str, ...]) -> None:
        self.columns = names
        self._columns = tuple(COLUMNS[name] for name in names)
        networks = [at for at, column in enumerate(self._columns) if isinstance(column, NetworkColumn)]
        # The column whose networks are stored as ranges; none: -1.
        self.ranged = networks[0] if networks else -1

    def view(self, at: int, subject: Subject) -> tuple[bool, View | None]:
        """Whether a column is asked about that, and what of it is looked up; None: all of it."""
        views = self._columns[at].kind.asked_for
        return subject in views, views.get(subject)

    @property
    def common_columns(self) -> tuple[re.Pattern[str] | None, ...]:
        """Of each column the common form of a word, which a compile reads a million times."""
        return tuple(column.common for column in self._columns)

    def finder(self, cursor: lmdb.Cursor[bytes], traits: Traits, delimiter: str) -> Find:
        """The columns one inside the other."""
        forms = self._by_column(traits.get("forms", ()))
        return column_search(cursor, self._columns, self.ranged, forms, delimiter)

    def most_steps(self, forms: Collection[str]) -> int:
        """Each form of a column with each of every other."""
        return math.prod(max(1, len(each)) for each in self._by_column(forms))

    def _by_column(self, forms: Collection[str]) -> list[set[str]]:
        columns = range(len(self._columns))
        return [{form.partition("=")[2] for form in forms if form.startswith(f"{at}=")} for at in columns]

    def sort_keys(self, key: SourceKey) -> list[SortKey]:
        """The columns, and behind them, where there is a range, what a table of kind cidr sorts it by."""
        words = key.text.split(COLUMN_SEPARATOR)
        if len(words) != len(self._columns):
            raise ValueError(f"{len(words)} of {len(self._columns)} columns: expected {', '.join(self.columns)}")
        ranges: list[SortKey] = [("", 0)]
        patterns: list[list[str]] = []
        for at, (column, word) in enumerate(zip(self._columns, words, strict=True)):
            one = key._replace(text=word, rest="")
            try:
                if at == self.ranged and word != ANY:
                    ranges = column.kind.sort_keys(one)
                    patterns.append([NETWORK_HERE])
                else:
                    patterns.append(_patterns(column, one))
            except ValueError as error:
                raise ValueError(f"column {at + 1} ({self.columns[at]}): {error}") from error
        return [
            (f"{raw.decode('latin-1')}\0{last}", bits)
            for chosen in itertools.product(*patterns)
            for raw in [_key_of(chosen)]
            for last, bits in ranges
        ]

    def wildcard_labels(self, _keys: object) -> set[int]:
        """They are among the forms."""
        return set()

    def forms(self, keys: Iterable[bytes]) -> set[str]:
        """Of each column its forms, as in `1=domain`."""
        found: list[set[str]] = [set() for _ in self._columns]
        for key in keys:
            # Behind the last column is an address, in which there may be any byte.
            patterns = key.split(_SEPARATOR, len(self._columns))
            for forms, column, pattern in zip(found, self._columns, patterns, strict=False):
                forms.add(_THEMSELVES.get(pattern) or column.form(pattern))
        return {f"{at}={form}" for at, forms in enumerate(found) for form in forms}

    def words(self, key: str) -> list[str]:
        """Each column."""
        return shown_columns(key)

    def shape(self, key: str) -> str:
        """Of each column its own."""
        shown = zip(self._columns, shown_columns(key), strict=False)
        return ", ".join(ANY if word == ANY else column.kind.shape(word) for column, word in shown)


def _patterns(column: Column, key: SourceKey) -> list[str]:
    """The patterns of one word: several for a range of addresses. Raises ValueError."""
    if key.text == ANY:
        return [ANY_KEY]
    if not key.text:
        raise ValueError("it is empty; * is any value, and <> the null sender")
    patterns = column.patterns(key)
    if any(character < " " for pattern in patterns for character in pattern):
        raise ValueError("a control character")
    return patterns


def _key_of(patterns: tuple[str, ...]) -> bytes:
    """The patterns as one key. Raises ValueError."""
    raw = encode_key(COLUMN_SEPARATOR.join(patterns))
    if len(raw) > MAX_KEY_BYTES - _ADDRESS_BYTES:
        raise ValueError(f"columns of {len(raw)} bytes together: {MAX_KEY_BYTES - _ADDRESS_BYTES} are possible")
    return raw


@lru_cache(maxsize=256)
def pair_kind(name: str) -> PairKind:
    """The kind of a name such as `pair:network,address`. Raises ValueError."""
    names = tuple(name.removeprefix(PREFIX).split(","))
    wrong = next((each for each in names if each not in COLUMNS), None)
    if wrong is not None:
        raise ValueError(f'"{wrong}" is not a kind of column: expected {", ".join(COLUMNS)}')
    if len(names) < 2:
        raise ValueError("a table of kind pair has two columns or more, as in pair:network,address")
    return PairKind(names)
