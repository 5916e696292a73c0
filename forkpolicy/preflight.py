"""What must hold on this machine before a master can start: one list of conditions.

`serve` refuses to start where one does not hold, and `check` reports the same diagnostics, so that the two cannot
differ. Each condition is judged for the user that runs `serve` or `check`. What only the attempt can
show (another server on a socket, a port in use) is not here: while the server runs, that is expected.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.addresses import MAX_PATH_BYTES, addresses, inet_name, unix_path, why_no_listening
from forkpolicy.errors import Diagnostic
from forkpolicy.log import SYSLOG_SOCKET
from forkpolicy.process import Identity, answer_as, own_user
from forkpolicy.reachable import find_unreachable
from forkpolicy.redis_urls import is_redis_url
from forkpolicy.rights import exists, may, rights_of, why_nothing_made_in, why_refused
from forkpolicy.settings import diagnostic_at_setting, sockets_of
from forkpolicy.state_places import remarks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from forkpolicy.reachable import AskedServer
    from forkpolicy.settings import Settings


@dataclass(frozen=True, slots=True)
class Start:
    """A planned start. `tables`: paths of the compiled tables; `activated`: the policy sockets are passed; `remembers`:
    the policy does; `servers`: those that it asks; `is_ours`: this process starts the master, otherwise it checks.
    """

    settings: Settings
    tables: tuple[str, ...] = ()
    activated: bool = False
    remembers: bool = False
    servers: tuple[AskedServer, ...] = ()
    is_ours: bool = False

    @property
    def has_maps(self) -> bool:
        """Whether what the policy remembers is on this machine."""
        return self.remembers and not is_redis_url(self.settings.state.url)

    @property
    def base(self) -> Path:
        """What relative paths of the settings are relative to."""
        return Path(self.settings.path).parent

    @property
    def endpoints(self) -> Iterator[tuple[str, str, str]]:
        """Section, setting and endpoint of every socket that is to be made."""
        for section, key, endpoint in sockets_of(self.settings):
            if not self.activated or (section, key) != ("server", "listen"):
                yield section, key, endpoint

    def error(self, section: str, key: str, message: str, hint: str = "") -> Diagnostic:
        """A diagnostic at a setting."""
        return diagnostic_at_setting(self.settings.path, section, key, message, hint)


def find_obstacles(start: Start) -> list[Diagnostic]:
    """Everything that prevents a master from starting; empty when nothing does."""
    return [diagnostic for condition in CONDITIONS for diagnostic in condition(start)]


def find_remarks(start: Start) -> list[Diagnostic]:
    """Warnings about what works, but not as an operator may expect."""
    found: list[Diagnostic] = []
    if start.has_maps:
        with contextlib.suppress(OSError):
            for key, message, hint in remarks(start.settings.state):
                found.append(replace(start.error("state", key, message, hint), severity="warning"))
    # A user that does not exist is an obstacle.
    with contextlib.suppress(KeyError):
        identity = worker_identity(start.settings)
        found += find_unreachable(start.servers, start.settings.path, identity, starts=start.is_ours)
    return found


def worker_identity(settings: Settings) -> Identity | None:
    """What the workers become; None when not started as root. Raises KeyError for a user that does not exist."""
    if os.geteuid() != 0:
        return None
    server = settings.server
    gid = grp.getgrnam(server.group).gr_gid
    return Identity(server.user, pwd.getpwnam(server.user).pw_uid, gid, (gid,))


def log_target(settings: Settings) -> str:
    """The log's target; a relative path is relative to the settings file."""
    target = settings.log.target
    return target if target in ("stderr", "syslog") else str(Path(settings.path).parent / target)


def control_path(settings: Settings) -> str:
    """Where the control socket is."""
    return unix_path(settings.server.control, Path(settings.path).parent)


def unreadable(identity: Identity, paths: Iterable[str]) -> list[tuple[str, str]]:
    """The files among `paths` that a user may not read, each with the reason. As root only."""
    wanted = [path for path in paths if Path(path).exists()]
    return [(path, why) for path, why in zip(wanted, answer_as(identity, _why_each, wanted), strict=True) if why]


def _proc(_start: Start) -> Iterator[Diagnostic]:
    """The kernel's files about processes must be there."""
    if not Path("/proc/self/fd").is_dir():
        message = "is not mounted: it is needed to make sockets, open tables and measure memory"
        yield Diagnostic("/proc", 0, 0, message, hint="mount -t proc proc /proc")


def _users(start: Start) -> Iterator[Diagnostic]:
    """As root, every user and group of the settings must exist; the one of the control socket in any case."""
    group = start.settings.server.control_group
    if group and (why := _why_not_given_to(group)):
        yield start.error("server", "control_group", f"control_group: {why}", "create it, or choose another one")
    if os.geteuid() != 0:
        return
    for key in ("user", "group", *(() if start.activated else ("socket_user", "socket_group"))):
        name, look_up = getattr(start.settings.server, key), grp.getgrnam if "group" in key else pwd.getpwnam
        try:
            look_up(name)
        except KeyError:
            what = "group" if "group" in key else "user"
            message = f'{key}: {what} "{name}" does not exist on this machine'
            yield start.error("server", key, message, f"create it, or set {key} to one that exists")


def _why_not_given_to(group: str) -> str:
    """Why this process cannot give a socket to a group."""
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        return f'group "{group}" does not exist on this machine'
    if os.geteuid() == 0 or gid in (os.getegid(), *os.getgroups()):
        return ""
    return f'{own_user()} is not a member of group "{group}": with systemd, SupplementaryGroups={group}'


def _log(start: Start) -> Iterator[Diagnostic]:
    """The log's target must be writable, and that of the history."""
    history = start.settings.history.log
    if history and (why := _why_no_log_file(Path(history))):
        yield start.error("history", "log", f"log: {why}")
    target = log_target(start.settings)
    if target == "stderr":
        return
    why = _why_no_syslog() if target == "syslog" else _why_no_log_file(Path(target))
    if why:
        yield start.error("log", "target", f"target: {why}")


def _why_no_syslog() -> str:
    return "" if Path(SYSLOG_SOCKET).is_socket() else f"{SYSLOG_SOCKET} does not exist: is a syslog daemon running?"


def _why_no_log_file(path: Path) -> str:
    if not exists(path.parent) or not path.parent.is_dir() or not may(path.parent, os.X_OK):
        return why_nothing_made_in(path.parent)
    if path.is_symlink():
        return f"{path} is a symbolic link, which is not followed: name the file itself"
    if path.is_dir():
        return f"{path} is a directory: name a file in it"
    if not path.exists():
        return why_nothing_made_in(path.parent)
    return "" if may(path, os.W_OK) else f"{own_user()} may not write to {path}"


def _unix_sockets(start: Start) -> Iterator[Diagnostic]:
    """A UNIX socket's path must fit, its directory must exist, and nothing else may be in its place."""
    for section, key, endpoint in start.endpoints:
        if endpoint.startswith("unix:"):
            path = unix_path(endpoint, start.base)
            why = _why_no_socket(Path(path), makes_directory=key == "control")
            if why:
                yield start.error(section, key, f"{key}: {why}")


def _why_no_socket(path: Path, *, makes_directory: bool) -> str:
    size_bytes = len(os.fsencode(path))
    if size_bytes > MAX_PATH_BYTES:
        return f"{path} has {size_bytes} bytes: the path of a socket may have {MAX_PATH_BYTES}"
    directory = path.parent
    if makes_directory:
        directory = next(each for each in path.parents if exists(each))
    if why := why_nothing_made_in(directory):
        return why
    if path.exists() and not path.is_socket():
        return f"{path} exists and is not a socket: move it away, or choose another path"
    return ""


def _inet_sockets(start: Start) -> Iterator[Diagnostic]:
    """A host must be known and be this machine, and the port one that this user may use."""
    for section, key, endpoint in start.endpoints:
        if not endpoint.startswith("unix:") and (why := _why_not_ours(endpoint)):
            yield start.error(section, key, f"{key}: {endpoint}: {why}")


def _why_not_ours(endpoint: str) -> str:
    try:
        found = addresses(endpoint)
    except (OSError, OverflowError) as error:
        return why_no_listening(endpoint, None, error)
    for family, address in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # Bound for a moment and never listening: it is in no other process's way.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return why_no_listening(endpoint, address, error)
    return ""


def _different_hosts(start: Start) -> Iterator[Diagnostic]:
    """No two host names may have one address; equal texts and paths are refused with the settings."""
    seen: dict[str, str] = {}
    for section, key, endpoint in start.endpoints:
        for name in () if endpoint.startswith("unix:") else _names(endpoint):
            if seen.setdefault(name, endpoint) != endpoint:
                message = f"{key}: {endpoint} and {seen[name]} are both {name}"
                yield start.error(section, key, message, "name each socket once")
                break


def _names(endpoint: str) -> list[str]:
    try:
        return [inet_name(address) for _, address in addresses(endpoint)]
    except (OSError, OverflowError):
        # Reported with its reason by `_inet_sockets`.
        return []


def _tables(start: Start) -> Iterator[Diagnostic]:
    """The workers must be able to read the tables that exist."""
    try:
        identity = worker_identity(start.settings)
    except KeyError:
        return
    if identity is None:
        return
    try:
        closed = unreadable(identity, start.tables)
    except OSError:
        message = f"user: this process may not become user {identity.user}"
        yield start.error("server", "user", message, "give it CAP_SETUID and CAP_SETGID, or start it as that user")
        return
    for path, why in closed:
        hint = f"make it readable for user {identity.user} (chmod, chown), or have tables compiled elsewhere"
        yield start.error("", "tables", f"tables: user {identity.user} may not read {path}: {why}", hint)


def _state(start: Start) -> Iterator[Diagnostic]:
    """Both directories of what is remembered must be there, or can be made; what is in them is the workers'."""
    if not start.has_maps:
        return
    for key in ("live", "kept"):
        path = Path(getattr(start.settings.state, key))
        above = next(each for each in (path, *path.parents) if exists(each))
        if why := why_nothing_made_in(above):
            yield start.error("state", key, f"{key}: {why}")
        elif above == path and (why := _why_not_the_workers(start.settings, path)):
            yield start.error("state", key, f"{key}: {why}", "chown it, or name a directory that does not exist yet")


def _why_not_the_workers(settings: Settings, path: Path) -> str:
    """As root: why the workers' user may not write to a directory."""
    try:
        identity = worker_identity(settings)
        refused = identity and answer_as(identity, _why_unwritable, [str(path)])[0]
    except (KeyError, OSError):
        # Reported by `_users` and `_tables`.
        return ""
    return f"user {settings.server.user} may not write to {path}: {refused}" if refused else ""


def _why_unwritable(paths: list[str]) -> list[str]:
    return ["" if os.access(path, os.W_OK | os.X_OK) else rights_of(Path(path)) for path in paths]


CONDITIONS: tuple[Callable[[Start], Iterator[Diagnostic]], ...] = (
    _proc,
    _users,
    _log,
    _unix_sockets,
    _inet_sockets,
    _different_hosts,
    _tables,
    _state,
)


def _why_each(paths: list[str]) -> list[str]:
    return [why_refused(Path(path), os.R_OK) for path in paths]
