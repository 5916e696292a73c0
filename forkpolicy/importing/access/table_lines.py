"""The entries of an indexed map as entries of our tables, one for each kind of key. What cannot be one is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.keys import (
    DeadKeyError,
    is_network,
    is_whole,
    mail_keys,
    name_keys,
    network_of,
)
from forkpolicy.importing.access.logical_lines import shown
from forkpolicy.importing.access.steps import Acl, Source, Table
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.importing.access.keys import KeyRules
    from forkpolicy.importing.access.map_files import Entry
    from forkpolicy.importing.access.words import Words
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin

# A HELO name with a dot at an end is another name for Postfix, and none at all is not looked up.
_PLAIN_HELO: Final = Acl("plain_helo", "helo_name", (r"/^[^.](.*[^.])?$/",))
_GIVEN_HELO: Final = Acl("given_helo", "helo_name", ("/./",))


class Asked(NamedTuple):
    """A map in main.cf, what it is asked about, and where."""

    word: str
    attribute: str
    origin: Origin


def tables_of(asked: Asked, entries: Iterable[Entry], words: Words, rules: KeyRules, draft: Draft) -> list[Table]:
    """The tables of a map in the order in which they are asked."""
    sources = _sources(asked.attribute)
    tables = {source: Table(source, [], {}) for source in sources}
    dead: dict[str, list[str]] = {}
    for entry in entries:
        source = sources[_which(asked.attribute, entry.key)]
        try:
            keys = _keys(source, entry.key, rules)
        except DeadKeyError as error:
            dead.setdefault(str(error), []).append(f"{entry.key} ({entry.origin})")
            continue
        except ValueError as error:
            draft.leave_out(entry.origin, f"{entry.key} {entry.result}", str(error))
            continue
        table, word = tables[source], words.of[entry.result]
        table.lines.extend(entry.comments)
        table.lines.extend(TableEntry(key, word, entry.origin) for key in keys)
        if entry.result in words.texts:
            text = words.texts[entry.result]
            table.texts.setdefault(word, []).extend(TableEntry(key, text, entry.origin) for key in keys)
    for reason, keys_without in dead.items():
        draft.note(asked.origin, f"{asked.word}: Postfix never finds {shown(keys_without)}: {reason}")
    return [table for table in tables.values() if table.firsts()]


def _sources(attribute: str) -> Sequence[Source]:
    if attribute in ("sender", "recipient"):
        return (Source(attribute, "address"),)
    if attribute == "helo_name":
        return (Source(attribute, "key", _GIVEN_HELO), Source(attribute, "domain", _PLAIN_HELO))
    if attribute == "sasl_username":
        return (Source(attribute, "key"),)
    return (Source(attribute, "domain"), Source("client_address", "cidr"))


def _which(attribute: str, key: str) -> int:
    """Which of the sources a key belongs to."""
    if attribute == "helo_name":
        return 0 if is_whole(key) else 1
    if attribute in ("client_name", "reverse_client_name"):
        return 1 if is_network(key) else 0
    return 0


def _keys(source: Source, key: str, rules: KeyRules) -> tuple[str, ...]:
    if source.kind == "address":
        return mail_keys(key, rules)
    if source.kind == "domain":
        return name_keys(key, rules)
    if source.kind == "cidr":
        return (network_of(key),)
    return (key,)
