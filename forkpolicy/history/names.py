"""Names of a day that begin with a text, for somebody who types one: through the index of names, in a tenth of a second
at most. Those that would have come later are missing then.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from forkpolicy.history.scope import Scope

_PATIENCE_S: Final = 0.1
_STEPS: Final = 5000
_LAST_CHARACTER: Final = "\U0010ffff"
_SETTLED: Final = "SELECT x.text FROM names AS x WHERE x.text >= ? AND x.text < ?{0} ORDER BY x.text LIMIT ?"
# The name of an address within the scope may be that of a sender alone, which is not.
_OF_SCOPE: Final = (
    " AND (x.text IN ({0}) OR x.domain IN (SELECT n FROM names WHERE text IN ({1}))) AND (EXISTS "
    "(SELECT 1 FROM decisions WHERE recipient = x.n) OR EXISTS (SELECT 1 FROM decisions WHERE login = x.n))"
)
_RECENT: Final = "SELECT DISTINCT {0} FROM recent WHERE {0} >= ? AND {0} < ?"


def names_beginning(connection: sqlite3.Connection, folded: str, most: int, scope: Scope | None) -> list[str]:
    """At most so many, in order. Raises sqlite3.Error."""
    until_s = time.monotonic() + _PATIENCE_S
    connection.set_progress_handler(lambda: time.monotonic() > until_s, _STEPS)
    found: set[str] = set()
    try:
        found.update(_settled(connection, folded, most, scope))
        found.update(_recent(connection, folded, scope))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    return sorted(found)[:most]


def _settled(connection: sqlite3.Connection, folded: str, most: int, scope: Scope | None) -> list[str]:
    values: list[object] = [folded, folded + _LAST_CHARACTER]
    condition = ""
    if scope is not None:
        addresses, domains = sorted(scope.addresses), sorted(scope.domains)
        condition = _OF_SCOPE.format(*(", ".join("?" for _ in some) for some in (addresses, domains)))
        values += [*addresses, *domains]
    return [name for (name,) in connection.execute(_SETTLED.format(condition), [*values, most])]


def _recent(connection: sqlite3.Connection, folded: str, scope: Scope | None) -> set[str]:
    columns = ("recipient", "login") if scope else ("recipient", "login", "sender")
    values = (folded, folded + _LAST_CHARACTER)
    names = {name for column in columns for (name,) in connection.execute(_RECENT.format(column), values)}
    return names if scope is None else {name for name in names if scope.has_address(name)}
