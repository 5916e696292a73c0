"""The entries of small tables as patterns of what they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.tables.format import COLUMN_SEPARATOR, FIRST_ADDRESS_BYTES, NETWORK_HERE
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.columns import ANY_KEY
from forkpolicy.tables.live_table import LiveTable

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.tables.keys import IpRange

Pattern = tuple[str, str, "str | IpRange"]
"""What is looked up (`sender`, `sender_domain`, `client_address` ...), the kind of the pattern (`network`, `address`,
`host` or `text`), and the pattern as its kind has it as a key.
"""
_KIND_OF_TABLE = {"cidr": "network", "domain": "host", "address": "address", "key": "text"}


def rows_of(asked: Matcher, most: int) -> list[list[Pattern]] | None:
    """Of each entry the patterns that must all match; None where there are more than `most`, where the table cannot be
    read, and where several attributes make one key.
    """
    table = asked.lookup
    about = getattr(asked, "asked_about", ())
    if not isinstance(table, LiveTable) or table.table is None or table.table.info.entries > most:
        return None
    columns = KINDS[table.kind].columns or (_KIND_OF_TABLE[table.kind],)
    if len(columns) != len(about):
        return None
    rows = []
    for key, raw in table.table.entries():
        patterns = _patterns(key, raw, ranged="network" in columns)
        pairs = zip(about, columns, patterns, strict=True)
        rows.append([(name, kind, pattern) for name, kind, pattern in pairs if pattern != ANY_KEY])
    return rows


def _patterns(key: bytes, raw: bytes, *, ranged: bool) -> list[str | IpRange]:
    """The pattern of each column. A range of addresses has its first one in front of the entry, and its last one at the
    end of the key.
    """
    skip = FIRST_ADDRESS_BYTES.get(raw[:1], 0) if ranged else 0
    if not skip:
        return list[str | tuple[bytes, bytes]](key.decode("utf-8", "surrogateescape").split(COLUMN_SEPARATOR))
    network = (raw[:skip], key[-skip:])
    words = key[:-skip].decode("utf-8", "surrogateescape").removesuffix(COLUMN_SEPARATOR).split(COLUMN_SEPARATOR)
    return [network] if len(key) == skip else [network if word == NETWORK_HERE else word for word in words]
