"""Since when a line of the policy stands as it does, by the versions that the history keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.history.versions import policy_part

if TYPE_CHECKING:
    from forkpolicy.history.versions import VersionDirectory

_MOST_POLICIES: Final = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """It is in the `versions` newest policies that are kept and were looked at. `since_s`: when the first of these came
    into force the last time; `is_oldest`: whether no older one was looked at, so that it may be older.
    """

    versions: int
    since_s: float
    is_oldest: bool


def standing(versions: VersionDirectory, path: str, line: str) -> Standing | None:
    """None where no version with it is kept. White space does not count. Raises HistoryError."""
    wanted = " ".join(line.split())
    looked: set[str] = set()
    found: Standing | None = None
    for version in reversed(versions.every()):
        part = policy_part(version.policy, version.settings)
        if part in looked or not versions.has(part):
            continue
        looked.add(part)
        if len(looked) > _MOST_POLICIES:
            return found
        text = versions.policy(part).files.get(path, "")
        if all(" ".join(each.split()) != wanted for each in text.splitlines()):
            return found and Standing(found.versions, found.since_s, is_oldest=False)
        found = Standing((found.versions if found else 0) + 1, version.since_ms / 1000, is_oldest=True)
    return found
