"""Records as people read them: what a key has used, whether it waits, until when it is there.

A record does not know its limits, which are the policy's; `forkpolicy explain` shows both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.durations import show_duration
from forkpolicy.state import keys
from forkpolicy.state.questions import distinct, greylisting, rate
from forkpolicy.state.store import expiry_of

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Shown:
    """One record. `facts` are for programs, `text` is the same for people; `ends_s`: seconds since 1970."""

    kind: str
    name: str
    key: tuple[str, ...]
    is_digest: bool
    facts: dict[str, object]
    text: str
    ends_s: int


def show(key: bytes, record: bytes, now_s: float) -> Shown | None:
    """One record; None for one that belongs to another, and for what this release does not know."""
    shown = keys.show(key)
    describe = _DESCRIBE.get(shown.kind)
    if describe is None:
        return None
    facts, text = describe(record, shown.suffix, now_s)
    # A network is a part of greylisting.
    kind = "greylisting" if shown.kind == "network" else shown.kind
    return Shown(kind, shown.name, shown.parts, shown.is_digest, facts, text, expiry_of(record))


def _rate(record: bytes, suffix: str, now_s: float) -> tuple[dict[str, object], str]:
    counting, windows = rate.used(record, suffix, now_s)
    uses = [f"{used} in {show_duration(window_s)}" for used, window_s in windows]
    facts: dict[str, object] = {
        "count": counting,
        "windows": [{"used": used, "window_s": window_s} for used, window_s in windows],
    }
    return facts, f"{', '.join(uses)} ({counting})" if uses else counting


def _greylisting(record: bytes, _suffix: str, now_s: float) -> tuple[dict[str, object], str]:
    first_s, has_passed = greylisting.first_seen_s(record), greylisting.has_passed(record)
    text = "passes" if has_passed else f"has waited for {show_duration(max(0, now_s - first_s))}"
    return {"passes": has_passed, "first_seen_s": first_s}, text


def _network(record: bytes, _suffix: str, _now_s: float) -> tuple[dict[str, object], str]:
    hours = greylisting.hours_passed(record)
    return {"hours_passed": hours}, f"passed in {hours} hour{'' if hours == 1 else 's'}"


def _distinct(record: bytes, suffix: str, now_s: float) -> tuple[dict[str, object], str]:
    window_s = int(suffix) if suffix.isdecimal() else 0
    different = distinct.different(record, now_s, window_s)
    return {"different": different, "window_s": window_s}, f"{different} different in {show_duration(window_s)}"


def _listed(_record: bytes, _suffix: str, _now_s: float) -> tuple[dict[str, object], str]:
    return {}, "listed"


_DESCRIBE: dict[str, Callable[[bytes, str, float], tuple[dict[str, object], str]]] = {
    "rate": _rate,
    "greylisting": _greylisting,
    "network": _network,
    "distinct": _distinct,
    "listed": _listed,
}
