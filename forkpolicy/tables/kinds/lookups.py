"""Look-ups of one key, from which the kinds put theirs together.

Closures over bound methods: a look-up takes a microsecond, and each call of a Python function is a tenth of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import lmdb as _lmdb

from forkpolicy.tables import keys

if TYPE_CHECKING:
    from forkpolicy.tables.format import Traits
    from forkpolicy.tables.kinds.kind import Find

T = TypeVar("T")
Ask = Callable[[str], "T | None"]


def asker(cursor: _lmdb.Cursor[bytes]) -> Find:
    """Look one folded key up. It is put behind what is stored, so that an entry in hand knows it."""
    set_key, value, encode_key = cursor.set_key, cursor.value, keys.encode_key

    def ask(key: str) -> bytes | None:
        # The null sender's domain, a client without a login: LMDB would refuse it at four times the cost of a look-up.
        if not key:
            return None
        try:
            raw = key.encode()
        except UnicodeEncodeError:
            raw = encode_key(key)
        try:
            return value() + raw if set_key(raw) else None
        except _lmdb.BadValsizeError:
            # Longer than any key can be: a hostile request, not an error.
            return None

    return ask


def parent_asker(ask: Find, traits: Traits) -> Find:
    """Look `.parent` keys of a folded name up from the longest, but only with label counts that the table has."""
    label_counts = sorted(traits.get("wildcard_labels", ()), reverse=True)

    def ask_parents(name: str) -> bytes | None:
        if len(name) > keys.PARENTS_WITHIN_CHARS:
            name = name[-keys.PARENTS_WITHIN_CHARS :]
        dots = name.count(".")
        for labels in label_counts:
            if labels <= dots and (child := name.rsplit(".", labels)[0]):
                found = ask(name[len(child) :])
                if found is not None:
                    return found
        return None

    return ask_parents


def first_of(ask: Find, keys_of: Callable[[str], Iterable[str]]) -> Find:
    """Look the keys of a text up one after the other."""
    return lambda text: next((found for key in keys_of(text) if (found := ask(key)) is not None), None)
