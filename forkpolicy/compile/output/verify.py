"""--verify: read a compiled table from end to end and check everything that can be checked about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb
import msgpack

from forkpolicy.errors import TableError
from forkpolicy.tables.format import ContentDigest, first_key
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.reader import open_table

if TYPE_CHECKING:
    from forkpolicy.tables.format import Kind, TableInfo
    from forkpolicy.tables.reader import Table


def verify_table(path: str, name: str, kind: Kind) -> TableInfo:
    """What an intact table says of itself. Raises TableError with what is wrong with one that is damaged."""
    table = open_table(path, name, kind)
    try:
        _walk(table)
    except (lmdb.Error, ValueError, msgpack.UnpackException) as error:
        raise TableError(f"{path} cannot be read to its end: {error}") from error
    else:
        return table.info
    finally:
        table.close()


def _walk(table: Table) -> None:
    before = b""
    count = 0
    content = ContentDigest(table.kind)
    has_ranges = KINDS[table.kind].stores_ranges
    for key, raw in table.entries():
        count += 1
        table.entry(raw)
        content.add([(key, raw if has_ranges else raw[: -len(key)])])
        if first_key(key, raw) <= before:
            raise TableError(f"{table.path}: entry {count} overlaps the one before it")
        before = key
    expected = table.info.counts.get("ranges") or table.info.entries
    if count != expected:
        raise TableError(f"{table.path} holds {count} entries, and {expected} were written")
    if table.info.content_digest not in ("", content.hexdigest()):
        raise TableError(f"{table.path} holds other entries than those of its content digest")
