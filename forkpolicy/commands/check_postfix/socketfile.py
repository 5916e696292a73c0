"""Whether smtpd may connect to a socket: owner, mode, and the directories above it.

The file itself counts where there is one, else what the settings will make it. Asks the system's user database;
where the user is not known here, names are compared and directories are not examined.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.errors import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from forkpolicy.settings import ServerSettings, Settings


@dataclass(frozen=True, slots=True)
class _User:
    uid: int
    groups: frozenset[int]

    def may(self, found: os.stat_result, owner_bit: int) -> bool:
        """Whether a file grants what `owner_bit` (0o200: write, 0o100: search) is for its owner."""
        if self.uid == 0:
            return True
        if self.uid == found.st_uid:
            return bool(found.st_mode & owner_bit)
        shift = 3 if found.st_gid in self.groups else 6
        return bool(found.st_mode & owner_bit >> shift)


def why_no_connection(path: Path, below: Path, user_name: str, server: ServerSettings) -> tuple[str, str] | None:
    """What keeps a user from the socket at `path`, and what to do; None when nothing does.

    `below`: the directory from which smtpd sees it, which is not searched itself.
    """
    user = _user(user_name)
    if user:
        for directory in reversed(path.parents):
            if directory.is_relative_to(below) and not _granted(user, directory, 0o100):
                message = f"user {user_name} may not search the directory {directory}, so it cannot reach {path}"
                return message, f"chmod o+x {directory}, or use a socket in Postfix's own private directory"
    found = _stat(path)
    if user and found and stat.S_ISSOCK(found.st_mode):
        if user.may(found, 0o200):
            return None
        mode = f"its mode is {stat.S_IMODE(found.st_mode):04o}"
        return f"user {user_name} may not write to the socket {path}: {mode}", _hint(user_name)
    return _by_settings(user_name, server)


def unlike_settings(path: Path, settings: Settings) -> Iterator[Diagnostic]:
    """A warning about a socket file whose owner, group or mode is not that of the settings; it may be systemd's."""
    found, server = _stat(path), settings.server
    if not found or not stat.S_ISSOCK(found.st_mode):
        return
    try:
        wanted = pwd.getpwnam(server.socket_user).pw_uid, grp.getgrnam(server.socket_group).gr_gid
    except KeyError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if (found.st_uid, found.st_gid, mode) != (*wanted, int(server.socket_mode, 8)):
        is_now = (
            f"owner {_name(pwd.getpwuid, found.st_uid)}, group {_name(grp.getgrgid, found.st_gid)}, mode {mode:04o}"
        )
        meant = f"{server.socket_user}, {server.socket_group}, {server.socket_mode}"
        hint = "restart the server, or set SocketUser=, SocketGroup= and SocketMode= of systemd's socket unit"
        yield Diagnostic(str(path), 0, 0, f"the socket has {is_now}; expected {meant}", hint=hint, severity="warning")


def _name(look_up: Callable[[int], tuple[object, ...]], number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def _by_settings(user_name: str, server: ServerSettings) -> tuple[str, str] | None:
    mode = int(server.socket_mode, 8)
    others = 0o020 if server.socket_group == user_name else 0o002
    if mode & (0o200 if server.socket_user == user_name else others):
        return None
    belongs = f"mode {server.socket_mode}, owner {server.socket_user}, group {server.socket_group}"
    return f"user {user_name} may not write to the socket: {belongs}", _hint(user_name)


def _hint(user_name: str) -> str:
    return f'socket_user = "{user_name}" and socket_mode = "0660"; with systemd SocketUser= and SocketMode='


def _granted(user: _User, directory: Path, owner_bit: int) -> bool:
    found = _stat(directory)
    # What does not exist yet is made at the server's start, and what we may not see may be fine.
    return found is None or user.may(found, owner_bit)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _user(name: str) -> _User | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    # smtpd has all groups of its user (initgroups), not only the first.
    return _User(entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))
