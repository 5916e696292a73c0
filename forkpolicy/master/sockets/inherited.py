"""What one master passes to the next in an upgrade: its sockets (listening, control, metrics, and the pairs through
which workers give each other connections), described by one environment variable, as systemd describes its own.

Both sides: `start_again` starts the program with everything, `inherited_sockets` finds it there. The two may be of
different releases: the state carries its version and that of the messages on the pairs, and another version is refused
before anything of it is used. Raises OSError where no process can be started, and ConfigError for a state of another
version and for descriptors that are not what the state calls them.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkpolicy.documents import InvalidDocumentError, parse, plain
from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.master.signals import CAUGHT, HELD
from forkpolicy.master.sockets.listener import Listener, adopt

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "FORKPOLICY_UPGRADE"
# Of what the variable holds: one more with each change that the previous release would misread.
STATE_VERSION = 1
# What the new master reports when it serves; anything else is why it cannot.
SERVING = "serving"
REPORT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PassedListener:
    """A listening socket, by its descriptor; `identity`: of the file of a UNIX socket."""

    endpoint: str
    fd: int
    identity: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class UpgradeState:
    """What the variable holds. Its fields are those of `InheritedSockets`, as descriptors."""

    version: int
    handover: int
    listeners: tuple[PassedListener, ...]
    control: PassedListener | None
    metrics: tuple[PassedListener, ...]
    pairs: tuple[tuple[int, int], ...]
    activated: bool
    generation: int
    ready_fd: int
    master: int
    settings_path: str = ""
    tables: dict[str, int] = field(default_factory=dict)
    state_lock: int = -1


@dataclass(slots=True)
class InheritedSockets:
    """What one master passes to the next. `activated`: the listening sockets are systemd's. `handover`: the version of
    the messages on `pairs`. `settings_path`: absolute, since the working directory may be gone; empty from a release
    that did not pass it. `tables`: the last good file of each, by its path. `state_lock`: of the maps of what is
    remembered, -1 where there is none.
    """

    listeners: list[Listener]
    handover: int
    control: Listener | None = None
    metrics: list[Listener] = field(default_factory=list)
    pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    activated: bool = False
    generation: int = 0
    ready_fd: int = -1
    master: int = 0
    settings_path: str = ""
    tables: dict[str, int] = field(default_factory=dict)
    state_lock: int = -1

    @property
    def every_listener(self) -> list[Listener]:
        """All that listen, whatever for."""
        return [*self.listeners, *self.metrics, *([self.control] if self.control else [])]


def inherited_sockets(handover: int) -> InheritedSockets | None:
    """What the previous master passed; None when there was none. `handover`: the version of the messages between
    workers that ours can read. Raises ConfigError.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    state = _state(text, handover)
    passed = (state.ready_fd, *(fd for pair in state.pairs for fd in pair), *state.tables.values(), state.state_lock)
    for fd in (each for each in passed if each >= 0):
        os.set_inheritable(fd, False)
    return InheritedSockets(
        listeners=[_adopted(each) for each in state.listeners],
        handover=handover,
        control=_adopted(state.control) if state.control else None,
        metrics=[_adopted(each) for each in state.metrics],
        pairs=[(socket.socket(fileno=giving), socket.socket(fileno=taking)) for giving, taking in state.pairs],
        activated=state.activated,
        generation=state.generation,
        ready_fd=state.ready_fd,
        master=state.master,
        settings_path=state.settings_path,
        tables=state.tables,
        state_lock=state.state_lock,
    )


def _state(text: str, handover: int) -> UpgradeState:
    """What the variable holds. Raises ConfigError for what is not of the versions that this release knows."""
    try:
        state = json.loads(text)
    except ValueError:
        state = None
    found = (state.get("version"), state.get("handover")) if isinstance(state, dict) else None
    if found != (STATE_VERSION, handover):
        seen = f"state {found[0]} with handover {found[1]}" if found else "an unknown state"
        raise _unknown_state(seen, handover)
    try:
        return parse(UpgradeState, state, others=True)
    except InvalidDocumentError as error:
        raise _unknown_state(f"a state that is not valid ({error})", handover) from error


def _unknown_state(seen: str, handover: int) -> ConfigError:
    known = f"state {STATE_VERSION} with handover {handover}"
    message = f"the running master passes {seen}, this release knows {known}"
    hint = "stop the running master and start this release, which no upgrade in place can replace"
    return ConfigError([Diagnostic("upgrade", 0, 0, message, hint=hint)])


def start_again(sockets: InheritedSockets) -> int:
    """Start the program as we were started, with what is passed; its pid."""
    fds = list(_descriptors(sockets))
    state = UpgradeState(
        version=STATE_VERSION,
        handover=sockets.handover,
        listeners=tuple(_described(each) for each in sockets.listeners),
        control=_described(sockets.control) if sockets.control else None,
        metrics=tuple(_described(each) for each in sockets.metrics),
        pairs=tuple((giving.fileno(), taking.fileno()) for giving, taking in sockets.pairs),
        activated=sockets.activated,
        generation=sockets.generation,
        ready_fd=sockets.ready_fd,
        master=os.getpid(),
        settings_path=sockets.settings_path,
        tables=sockets.tables,
        state_lock=sockets.state_lock,
    )
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        # The interpreter by its path, not by the name it was called with: PATH may have changed since.
        arguments = [sys.executable, *sys.orig_argv[1:]]
        environment = {**os.environ, VARIABLE: json.dumps(plain(state))}
        return os.posix_spawn(sys.executable, arguments, environment, setsigmask=HELD, setsigdef=CAUGHT)
    finally:
        for fd in fds:
            os.set_inheritable(fd, False)


def _descriptors(sockets: InheritedSockets) -> Iterable[int]:
    for listener in sockets.every_listener:
        yield listener.sock.fileno()
    for pair in sockets.pairs:
        yield from (end.fileno() for end in pair)
    yield sockets.ready_fd
    yield from sockets.tables.values()
    if sockets.state_lock >= 0:
        yield sockets.state_lock


def _described(listener: Listener) -> PassedListener:
    return PassedListener(listener.endpoint, listener.sock.fileno(), listener.identity)


def _adopted(passed: PassedListener) -> Listener:
    listener = adopt(passed.fd, passed.identity)
    # Its name among the sockets is the one that it was bound to; the settings name it by its path.
    listener.endpoint = passed.endpoint
    return listener
