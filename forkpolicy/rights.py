"""What this process may do with files and directories, and why not, in words for an operator. Raises nothing."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.process import Identity, answer_as, own_user

if TYPE_CHECKING:
    from collections.abc import Sequence


def exists(path: Path) -> bool:
    """Whether it exists and we may see it: `Path.exists` raises PermissionError until Python 3.14."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def may(path: Path, wanted: int) -> bool:
    """Whether we may, with `wanted` as os.access takes it."""
    return os.access(path, wanted, effective_ids=True)


def why_refused(path: Path, wanted: int) -> str:
    """Why the user that this process is may not, without naming it; empty when it may, or when nothing is there."""
    for directory in reversed(path.parents):
        # What is below one that may not be searched cannot even be seen.
        if exists(directory) and not may(directory, os.X_OK):
            return f"it may not search the directory {directory}"
    return "" if not exists(path) or may(path, wanted) else rights_of(path)


def rights_of(path: Path) -> str:
    """Who may what with a file that exists."""
    found = path.stat()
    return f"owner {found.st_uid}, group {found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}"


def why_nothing_made_in(directory: Path) -> str:
    """Why no file can be made in a directory; empty when one can."""
    if not exists(directory):
        closed = next((each for each in reversed(directory.parents) if not may(each, os.X_OK)), None)
        if closed and exists(closed):
            return f"{own_user()} may not search the directory {closed}"
        return f"the directory {directory} does not exist: create it"
    if not directory.is_dir():
        return f"{directory} is not a directory"
    return "" if may(directory, os.W_OK | os.X_OK) else f"{own_user()} may not write to the directory {directory}"


def others_may_read(path: str) -> bool:
    """Whether everybody may read a file; False where there is none."""
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def refused_to(user: str, wanted: list[str], more_groups: Sequence[str] = ()) -> list[str]:
    """Of `r PATH` and `w PATH`, those that exist and that a user may not, each with whose it is, as the kernel says
    itself. Nothing where there is no such user or group, or we may not become it. `more_groups`: those that a unit
    gives the user (SupplementaryGroups=).
    """
    try:
        entry = pwd.getpwnam(user)
        groups = (*os.getgrouplist(user, entry.pw_gid), *(grp.getgrnam(name).gr_gid for name in more_groups))
        answers = answer_as(Identity(user, entry.pw_uid, entry.pw_gid, groups), _why_each, wanted)
    except (KeyError, OSError):
        return []
    return [f"{each[2:]}: {why}" for each, why in zip(wanted, answers, strict=True) if why]


def _why_each(wanted: list[str]) -> list[str]:
    return [_why(Path(each[2:]), os.R_OK if each[0] == "r" else os.W_OK) for each in wanted]


def _why(path: Path, right: int) -> str:
    if not exists(path):
        return why_refused(path, right)
    needed = right | os.X_OK if path.is_dir() else right
    return why_refused(path, needed) and rights_of(path)
