"""The page Tables, and one of them with a look-up."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.compile_failures import compiles
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.page import Page, Rows
from forkpolicy.console.tables.tables import expiring_in, feeds_of, shown_tables
from forkpolicy.errors import UsageError
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.console.tables.tables import Shown
    from forkpolicy.console.visit import Visit
    from forkpolicy.loading import Loaded

_COLUMNS = ("name", "kind", "entries", "version", "created", "sources", "state", "expires", "failed")


def show(visit: Visit) -> Page:
    """All of them."""
    tables, _, is_known = _tables(visit)
    rows = Rows(_COLUMNS, (_csv(each) for each in tables))
    data = {"tables": [{**asdict(each), "state": each.state} for each in tables]}
    return Page("tables", "Tables", _sentence(tables, is_known=is_known), data, "forkpolicy status", rows)


def show_one(visit: Visit) -> Page:
    """One table, and what it has for `key`, if that is asked."""
    name = visit.path["name"]
    tables, loaded, _ = _tables(visit)
    found = next((each for each in tables if each.name == name), None)
    if found is None:
        raise NotFound(f'The policy declares no table "{name}".')
    directory = visit.parts.settings.tables
    soon, left_out = expiring_in(loaded.declarations[name]) if loaded and name in loaded.declarations else ([], [])
    key = visit.text("key", most=2000)
    data: dict[str, object] = {
        "table": {**asdict(found), "state": found.state},
        "columns": list(KINDS[found.kind].columns) if found.kind in KINDS else [],
        "feeds": [_feed(each) for each in feeds_of(directory, name)],
        "last_compile": compiles(Path(directory)).get(name),
        "expiring": soon,
        "not_looked_at": left_out,
        "key": key,
        "lookup": None,
    }
    command = f"forkpolicy lookup {shlex.quote(name)} {_shell(_keys(found, key)) if key else 'KEY'}"
    sentence = _about(found)
    if key:
        sentence, data["lookup"] = _look_up(visit, found, key)
    return Page("table", f"Table {name}", sentence, data, command)


def _tables(visit: Visit) -> tuple[list[Shown], Loaded | None, bool]:
    loaded = visit.known("the policy", visit.parts.change.drafts.now)
    looks = visit.known("the server", visit.parts.now.looks.now)
    status = looks[1] if looks else None
    return shown_tables(loaded, status, visit.parts.settings.tables), loaded, status is not None


def _sentence(tables: Sequence[Shown], *, is_known: bool) -> str:
    if not tables:
        return "The policy declares no table."
    count = f"{len(tables)} table{'s are' if len(tables) != 1 else ' is'} declared"
    if not is_known:
        return f"{count}; what workers have of them is not known, as the server does not answer."
    wrong = [each for each in tables if each.state]
    if not wrong:
        return f"{count}; all of them are in use as compiled."
    return f"{count}; {len(wrong)} need{'s' * (len(wrong) == 1)} a look: {', '.join(each.name for each in wrong[:5])}."


def _about(table: Shown) -> str:
    if table.entries is None:
        return f"No worker serves it{f': {table.refused}' if table.refused else ''}."
    entries = f"{table.entries:,} entr{'ies' if table.entries != 1 else 'y'}"
    return f"Workers serve {entries}{f'; {table.state}' if table.state else ''}."


def _look_up(visit: Visit, table: Shown, key: str) -> tuple[str, dict[str, object] | None]:
    found = visit.known("the table", lambda: _found(visit, table, key))
    if found is None:
        return f"Whether it has {key} cannot be known now.", None
    return f"It has an entry for {key}." if found["found"] else f"It has nothing for {key}.", found


def _found(visit: Visit, table: Shown, key: str) -> dict[str, object]:
    """Raises UserMistake, TableError, ConfigError."""
    try:
        entry = visit.parts.lookups.look_up(table.name, _keys(table, key))
    except UsageError as error:
        raise UserMistake(str(error), "key") from error
    except KeyError as error:
        raise NotFound("Workers serve this table, and the current files do not declare it.") from error
    return {"found": entry is not None, **(entry._asdict() if entry else {})}


def _keys(table: Shown, key: str) -> list[str]:
    """One key, or one for each column with blanks between them."""
    if table.kind in KINDS and not KINDS[table.kind].columns:
        return [key]
    try:
        return shlex.split(key)
    except ValueError:
        return key.split()


def _shell(keys: Sequence[str]) -> str:
    return shlex.join(keys)


def _feed(note: object) -> dict[str, object]:
    names = ("url", "size_bytes", "fetched", "confirmed", "failing_since", "reason")
    return {name: getattr(note, name) for name in names}


def _csv(table: Shown) -> list[object]:
    return [
        table.name,
        table.kind,
        table.entries,
        " ".join(table.versions),
        table.created_s,
        " ".join(table.sources),
        table.state,
        table.expires,
        table.failed,
    ]
