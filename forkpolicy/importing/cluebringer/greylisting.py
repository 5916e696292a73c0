"""Greylisting of each combination of policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import LONGEST_S, show_duration
from forkpolicy.importing.cluebringer.helo import sender_ips
from forkpolicy.importing.cluebringer.logic import both, term

if TYPE_CHECKING:
    from forkpolicy.importing.cluebringer.config import Config
    from forkpolicy.importing.cluebringer.policies import Policies
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

_COLUMNS: Final = (
    "usegreylisting",
    "greylistperiod",
    "track",
    "greylistauthvalidity",
    "greylistunauthvalidity",
    "useautowhitelist",
    "useautoblacklist",
)
_TRACK: Final = re.compile(r"senderip:/(\d{1,2})", re.IGNORECASE)
_LATER: Final = "451 4.7.1 Greylisting in effect, please come back later"


def greylist(database: Database, policies: Policies, config: Config, draft: Draft) -> None:
    """The rules that greylist, but not clients of the white list."""
    white = sender_ips(database.rows("greylisting_whitelist"), "greylisting_whitelist", draft)
    known = [term(f"!{name}") for name in white]
    message = config.get("greylisting", "defer_message")
    made: dict[tuple[str, ...], str] = {}
    for condition, settings, row in policies.effective("greylisting", _COLUMNS):
        if settings.get("usegreylisting", "1") != "1":
            continue
        try:
            values = _values(settings)
            action = draft.action("greylist", f"DEFER {message}" if message else _LATER)
        except ValueError as error:
            draft.leave_out(row.origin, f"greylisting {row.get('name')}", str(error))
            continue
        if config.get("greylisting", "training_mode")[:1].lower() in ("1", "y"):
            values = (*values, "training")
        if values not in made:
            made[values] = draft.acl("greylisted", "greylisting", values)
        for terms in both(condition, *known):
            draft.access([*sorted(terms), made[values]], action, row.origin)
        _automatic(settings, row, draft)
    if made:
        draft.note(
            next(iter(policies.rows("greylisting")))[1].origin,
            "senders that differ in numbers and extensions alone are one sender",
        )


def _values(settings: dict[str, str]) -> tuple[str, ...]:
    """The values of the ACL. Raises ValueError."""
    times = {column: _seconds(settings.get(column, "")) for column in _COLUMNS[1:5:1] if column != "track"}
    delay_s, keep_s, window_s = times.values()
    found = _TRACK.fullmatch(settings.get("track", ""))
    if not found or not 1 <= int(found[1]) <= 32:
        raise ValueError(f"Track {settings.get('track', '')}: expected SenderIP:/24")
    if not 0 < delay_s < window_s or not keep_s:
        raise ValueError("GreylistPeriod, UnAuthValidity and AuthValidity must be set, and the first be the shortest")
    shown = [show_duration(each) for each in (delay_s, window_s, keep_s)]
    mask = f"mask=/{found[1]},/{128 if found[1] == '32' else 64}"
    return (f"delay={shown[0]}", f"window={shown[1]}", f"keep={shown[2]}", "auto=0", mask)


def _automatic(settings: dict[str, str], row: Row, draft: Draft) -> None:
    if settings.get("useautowhitelist") == "1":
        nearest = "auto=N of greylisting: networks that have passed in N different hours wait no more"
        draft.leave_out(
            row.origin, "UseAutoWhitelist", "it counts triplets and their share, auto= of greylisting hours", nearest
        )
    if settings.get("useautoblacklist") == "1":
        draft.leave_out(row.origin, "UseAutoBlacklist", "it counts triplets that never came again")


def _seconds(text: str) -> int:
    return min(int(text), LONGEST_S) if text.isascii() and text.isdigit() and len(text) < 13 else 0
