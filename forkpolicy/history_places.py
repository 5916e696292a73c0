"""Where the history's log and its days are, and what an administrator should know about that: rights of the two users
who meet there, room, and that the ingester's directory is its own. Changes nothing.

`check` shows these as warnings. Without user fp-history nothing is said of it: the ingester may run as another user, or
not at all.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history_settings import HistorySettings
from forkpolicy.rights import exists, refused_to
from forkpolicy.sizes import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

# As contrib/systemd/forkpolicy-history.service has it.
INGESTER: Final = "fp-history"
# The log grows to so many bytes before it is renamed.
_LITTLE_BYTES: Final = 64 << 20


class Remark(NamedTuple):
    """What is to be said at a setting of `[history]`, and what to do."""

    key: str
    message: str
    hint: str


def remarks(history: HistorySettings, server_user: str) -> Iterator[Remark]:
    """Everything. Nothing where no log is set."""
    if not history.log:
        return
    log, path = Path(history.log), Path(history.path)
    if path in log.parents:
        yield Remark(
            "log",
            f"log: {log} is below path ({path}), where only the ingester should write",
            "give it a directory of its own, such as /var/log/forkpolicy",
        )
    if str(path) != HistorySettings().path and not exists(path.parent):
        yield Remark("path", f"path: the directory {path.parent} does not exist", "create it; is its disk mounted?")
    for key, place in (("log", log.parent), ("path", path)):
        if why := _why_no_room(place):
            yield Remark(key, f"{key}: {why}", "make room: decisions are lost while the log has none, and not taken in")
    if os.geteuid() == 0:
        yield from _of_users(log, path, server_user)


def _why_no_room(place: Path) -> str:
    above = next(each for each in (place, *place.parents) if exists(each))
    try:
        found = os.statvfs(above)
    except OSError as error:
        return f"{above} cannot be looked at: {error.strerror}"
    left = found.f_bavail * found.f_frsize
    if left < _LITTLE_BYTES:
        return f"the file system of {above} has {size_text(left)} left"
    return f"the file system of {above} has no inode left" if found.f_files and not found.f_favail else ""


def _of_users(log: Path, path: Path, server_user: str) -> Iterator[Remark]:
    """What each of them may not do, as the kernel says itself."""
    for why in refused_to(server_user, [f"w {log.parent}", f"w {log}"]):
        hint = "needed where the server starts as that user, as the shipped unit does"
        yield Remark("log", f"log: user {server_user} may not write to {why}", hint)
    for why in refused_to(INGESTER, [f"r {log}"]):
        yield Remark("log", f"log: user {INGESTER} may not read {why}", _GROUP_HINT)
    for why in refused_to(INGESTER, [f"w {log.parent}"]):
        yield Remark("log", f"log: user {INGESTER} may not rename files in {why}", _GROUP_HINT)
    for why in refused_to(INGESTER, [f"w {path}", *(f"w {each}" for each in sorted(_days(path)))]):
        yield Remark("path", f"path: user {INGESTER} may not write to {why}", f"chown -R {INGESTER}: {path}")


_GROUP_HINT: Final = (
    "it does so as a member of the server's group: systemd-sysusers and systemd-tmpfiles --create make users and modes"
)


def _days(path: Path) -> list[Path]:
    try:
        return list(path.glob("*.sqlite"))
    except OSError:
        return []
