"""Every socket that the settings name, as a master has it at its start: listening, control and metrics.

Called once, by the composition root. Raises ConfigError and CannotWriteError where a socket cannot be had, and then
has closed what it had opened.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.addresses import unix_path
from forkpolicy.errors import CannotWriteError
from forkpolicy.master.sockets.inet import open_inet
from forkpolicy.master.sockets.inherited import InheritedSockets
from forkpolicy.master.sockets.listener import Ownership, activated_sockets, open_unix, take
from forkpolicy.preflight import control_path

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from forkpolicy.master.sockets.listener import Listener
    from forkpolicy.settings import Settings

    Pair = tuple[socket.socket, socket.socket]

METRICS_BACKLOG = 16
CONTROL_BACKLOG = 16


def open_sockets(
    settings: Settings, inherited: InheritedSockets | None, handover: int, make_pairs: Callable[[], Iterable[Pair]]
) -> tuple[InheritedSockets, Listener]:
    """All sockets, and of these the control socket: those that the previous master has passed, those of systemd, the
    rest made. What is left of `inherited` is not in the settings any more.

    `make_pairs`: makes the socket pairs between workers; `handover`: the version of the messages on them.
    """
    available = inherited or InheritedSockets([], handover)
    activated = activated_sockets() if inherited is None else inherited.listeners if inherited.activated else []
    if activated:
        available.listeners = []
    opened: list[Listener] = []
    try:
        if not activated:
            ownership, backlog = _ownership(settings), settings.server.backlog
            for endpoint in settings.server.listen:
                opened += _listen(settings, endpoint, ownership, backlog, available.listeners)
        listeners = activated or list(opened)
        control = _inherited_control(settings, inherited) or _open_control(settings)
        opened.append(control)
        # A socket file is for every process that may reach its directory.
        endpoint = settings.metrics.listen
        metrics = _listen(settings, endpoint, Ownership(0o666), METRICS_BACKLOG, available.metrics) if endpoint else []
    except BaseException:
        for each in opened:
            each.close(remove=inherited is None)
        raise
    pairs = inherited.pairs if inherited else list(make_pairs())
    made = InheritedSockets(listeners, handover, control, metrics, pairs, activated=bool(activated))
    made.settings_path = settings.path
    return made, control


def _listen(
    settings: Settings, endpoint: str, ownership: Ownership, backlog: int, inherited: list[Listener]
) -> list[Listener]:
    """The sockets of one endpoint: those that were inherited, the others made."""
    if not endpoint.startswith("unix:"):
        return open_inet(endpoint, backlog, inherited)
    path = unix_path(endpoint, Path(settings.path).parent)
    return [take(inherited, f"unix:{path}") or open_unix(path, ownership, backlog)]


def _inherited_control(settings: Settings, inherited: InheritedSockets | None) -> Listener | None:
    if not (inherited and inherited.control and inherited.control.endpoint == f"unix:{control_path(settings)}"):
        return None
    found, inherited.control = inherited.control, None
    found.group = _control_group(settings)
    return found


def _open_control(settings: Settings) -> Listener:
    """The control socket, for its owner and the members of a group that may be named; its directory is made when it is
    missing.
    """
    path = control_path(settings)
    try:
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWriteError(
            f"{Path(path).parent}: cannot be made for the control socket: {error.strerror}"
        ) from error
    group = _control_group(settings)
    ownership = Ownership(0o600) if group is None else Ownership(0o660, gid=group)
    listener = open_unix(path, ownership, CONTROL_BACKLOG)
    listener.group = group
    return listener


def _control_group(settings: Settings) -> int | None:
    name = settings.server.control_group
    return grp.getgrnam(name).gr_gid if name else None


def _ownership(settings: Settings) -> Ownership:
    """Mode, owner and group of the socket files; owners change when started as root."""
    server = settings.server
    mode = int(server.socket_mode, 8)
    if os.geteuid() != 0:
        return Ownership(mode)
    return Ownership(mode, pwd.getpwnam(server.socket_user).pw_uid, grp.getgrnam(server.socket_group).gr_gid)
