"""`forkpolicy lookup TABLE KEY`: what a compiled table answers, with the source file and line of the entry."""

from __future__ import annotations

import json

from forkpolicy.errors import EXIT_DONE, EXIT_NO, TableError, UsageError, nearest
from forkpolicy.loading import load_everything
from forkpolicy.policy.matchers.table import domain_of_text


def run(settings_path: str, table: str, key: str, *, as_json: bool) -> int:
    """Look one key up and print what was found. Exit status 1: nothing was."""
    slots = load_everything(settings_path).slots
    if table not in slots:
        near = nearest(table, slots)
        known = f'did you mean "{near}"?' if near else f"declared: {', '.join(slots) or 'none'}"
        raise UsageError(f'the policy declares no table "{table}": {known}')
    slot = slots[table]
    slot.refresh()
    if slot.table is None:
        raise TableError(slot.refused)
    raw = slot.find(domain_of_text(key) if slot.kind == "domain" else key)
    entry = slot.entry(raw) if raw is not None else None
    if as_json:
        found = {"entry": entry.key, "value": entry.value, "source": entry.source, "line": entry.line} if entry else {}
        print(json.dumps({"table": table, "key": key, "found": entry is not None, **found}))
    elif entry:
        place = f"{entry.source}:{entry.line}" if entry.line else entry.source
        print(f"{entry.key}{f' {entry.value}' if entry.value else ''}  ({place})")
    else:
        print(f'table "{table}" has nothing for "{key}"')
    return EXIT_DONE if entry else EXIT_NO
