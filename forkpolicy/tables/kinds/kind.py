"""What every kind of table gives the rest, so that nobody else asks for a kind by its name.

The compile asks how the key of a source's line is read (`sort_keys`, `is_common`), and how entries are stored; a reader
asks for its look-up (`finder`); a policy, what of an attribute it is asked for (`asked_for`). Pure but for the look-up,
which is one in LMDB. ValueError says what is wrong with a key.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from forkpolicy.tables.format import MAX_KEY_BYTES
from forkpolicy.tables.keys import encode_key

if TYPE_CHECKING:
    import re

    import lmdb

    from forkpolicy.tables.format import Traits

Find = Callable[..., "bytes | None"]
# What of an attribute's value is looked up; None: all of it.
View = Callable[[str], str]
# The key in the order in which a table is sorted, as a text of Latin-1, and the length of its prefix; see sort_records.
SortKey = tuple[str, int]


class Subject(enum.Enum):
    """What an attribute of a request is about, by which kinds fit it or do not."""

    MACHINE = "the address of a machine"
    HOST = "the name of a host"
    MAIL = "a mail address"
    TEXT = "any text"


class SourceKey(NamedTuple):
    """The key of one entry of a source; between several columns is COLUMN_SEPARATOR. `rest`: what stands behind it,
    empty where that is meant as the value.

    `note` takes what deserves one warning for a whole source.
    """

    text: str
    rest: str
    note: Callable[[str], None]
    allow_wide: bool = False

    @property
    def second(self) -> str:
        """The first word behind the key, where there is any."""
        return self.rest.split(maxsplit=1)[0]


class TableKind:
    """One kind. The defaults are those of a table of keys that are looked up whole."""

    # Entries are networks: stored as disjoint ranges, of which the most specific wins, with their first address in
    # front; other kinds store one entry a key.
    stores_ranges: ClassVar[bool] = False
    # A key is any text, in which nothing but case is folded; several attributes together are one, joined by a blank.
    takes_any_text: ClassVar[bool] = False
    # Every entry is a domain, or all domains below one.
    has_domains_alone: ClassVar[bool] = False
    # A key without a domain is a local part in every domain.
    has_local_parts: ClassVar[bool] = False
    # The kinds of its columns, where it has several: then a look-up takes a text for each.
    columns: tuple[str, ...] = ()
    asked_for: ClassVar[Mapping[Subject, View | None]]
    # The common form of a key, of which a compile reads millions: lower case makes of it what `parse` would.
    common: ClassVar[re.Pattern[str]]

    def finder(self, cursor: lmdb.Cursor[bytes], traits: Traits, delimiter: str) -> Find:
        """The look-up in an open table: a text as a request has it, to the stored entry with its key behind it."""
        raise NotImplementedError

    def sort_keys(self, key: SourceKey) -> list[SortKey]:
        """The keys that an entry is stored under. Raises ValueError."""
        raw = encode_key(self.parse(key)).decode("latin-1")
        if len(raw) > MAX_KEY_BYTES:
            raise ValueError(f"a key of {len(raw)} bytes: {MAX_KEY_BYTES} are possible")
        if not raw or "\0" in raw or "\n" in raw:
            raise ValueError("an empty key, or one with a NUL or a line end in it")
        return [(f"{raw}\0", 0)]

    def parse(self, key: SourceKey) -> str:
        """The folded key of an entry. Raises ValueError."""
        raise NotImplementedError

    def wildcard_labels(self, keys: Iterable[bytes]) -> set[int]:
        """With how many labels there are keys for everything below a domain."""
        return {key.count(b".") for key in keys if key.startswith(b".")}

    def forms(self, _keys: Iterable[bytes]) -> set[str]:
        """Which forms of keys there are, where a kind has several that it looks up one after the other."""
        return set()

    def most_steps(self, _forms: Collection[str]) -> int:
        """How many keys a look-up may ask for at most, where that is a product that a source decides."""
        return 0

    def question_about(self, _host: str) -> str | None:
        """The text by which a request asks about a host or a domain; None where nobody can tell."""
        return None

    def words(self, key: str) -> list[str]:
        """The names, mail addresses and addresses of machines in a key."""
        return [key]

    def shape(self, key: str) -> str:
        """What sort of entry a key is, for statistics."""
        if key == "<>":
            return "null sender"
        if key.endswith("@"):
            return "local part"
        if "@" in key:
            return "address"
        return "names below" if key.startswith(".") else "name"
