"""The records of a store, printed as they are read: one line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from forkpolicy.durations import show_duration
from forkpolicy.state.listing import records

if TYPE_CHECKING:
    from forkpolicy.state.listing import Walked, Wanted
    from forkpolicy.state.shown import Shown


def print_records(store: Walked, wanted: Wanted, *, as_json: bool) -> int:
    """Print them; how many there were."""
    count = 0
    for shown, now_s in records(store, wanted):
        print(_as_json(shown) if as_json else _as_text(shown, now_s))
        count += 1
    return count


def _as_json(shown: Shown) -> str:
    record = {"kind": shown.kind, "name": shown.name, "key": list(shown.key), **shown.facts, "ends_s": shown.ends_s}
    return json.dumps(record)


def _as_text(shown: Shown, now_s: float) -> str:
    key = " ".join(shown.key)
    return f"{shown.kind:<12} {shown.name:<16} {key:<40} {shown.text}, ends in {show_duration(shown.ends_s - now_s)}"
