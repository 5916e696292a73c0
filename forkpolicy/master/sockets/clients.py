"""The clients of the control socket, from accept to close, and the table of commands. What each command does to the
master are functions that are passed in.

The metrics process is a client, too. Raises nothing: a client that sends something invalid is disconnected.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from forkpolicy.control_messages import (
    OF_THE_GROUP,
    ErrorReply,
    ReloadCommand,
    ReloadReply,
    ScaleCommand,
    ScaleReply,
    StateForgetCommand,
    StateRememberCommand,
    StateResetCommand,
    StateWalkCommand,
    StatusCommand,
    StopCommand,
    StopReply,
    parse_command,
)
from forkpolicy.documents import InvalidDocumentError, plain, plain_fields
from forkpolicy.master.sockets.control import MAX_CLIENTS, MAX_MEMBERS, ControlClient, accept, refuse
from forkpolicy.master.sockets.loop import READ, WRITE
from forkpolicy.scoreboard import MAX_WANTED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from forkpolicy.control_messages import Reply, StateCommand, StateReply, StateWalkReply
    from forkpolicy.master.sockets.listener import Listener
    from forkpolicy.master.sockets.loop import Loop
    from forkpolicy.status import Status

# After a failed accept.
ACCEPT_PAUSE_S = 0.5
# A reload that members of the group ask for begins so many times as long after the previous one as that has taken: who
# asks for one after another leaves the workers four fifths of their time.
REST_OF_MEMBERS = 4


@dataclass(frozen=True, slots=True)
class MasterCommands:
    """What commands do to the master. `reload` and `state` call their last argument when the outcome is known."""

    status: Callable[[], Status]
    reload: Callable[[Callable[[ReloadReply], None]], None]
    scale: Callable[[int], None]
    stop: Callable[[], None]
    state: Callable[[StateCommand, Callable[[StateReply | StateWalkReply | ErrorReply], None]], None]


class ControlServer:
    """The control socket and every client that is connected to it."""

    def __init__(self, listener: Listener, loop: Loop, commands: MasterCommands) -> None:
        self.listener = listener
        self._loop = loop
        self._commands = commands
        # In the order in which they last sent something.
        self._clients: dict[ControlClient, None] = {}
        # Members of the group whose reload has not begun, and when one may.
        self._resting: dict[ControlClient, None] = {}
        self._members_reload_at_s = 0.0

    def start(self) -> None:
        """Accept clients from now on: two masters on one control socket would share them by chance."""
        self._loop.register(self.listener.sock, self._accept)

    def stop(self) -> None:
        """Accept no more and disconnect all clients: another master takes commands."""
        self._loop.unregister(self.listener.sock)
        for client in list(self._clients):
            self._forget(client)

    def adopt(self, sock: socket.socket) -> None:
        """Serve the metrics process, which is connected already and stays."""
        self._admit(ControlClient(sock, waits=True))

    def _admit(self, client: ControlClient) -> None:
        self._clients[client] = None
        self._loop.register(client, lambda events: self._on_event(client, events))

    def close(self) -> None:
        """Disconnect every client: one that waits for our end sees it so."""
        for client in self._clients:
            client.sock.close()

    def _accept(self, _events: int) -> None:
        try:
            client = accept(self.listener)
        except OSError:
            # EMFILE and its like: clients wait in the queue, and so do we.
            self._loop.pause(self.listener.sock, ACCEPT_PAUSE_S)
            return
        if client is None:
            return
        if not self._has_room(client) and (silent := self._silent(of_group=client.is_of_group)):
            self._forget(silent)
        if self._has_room(client):
            self._admit(client)
        else:
            refuse(client)

    def _has_room(self, client: ControlClient) -> bool:
        members = sum(each.is_of_group for each in self._clients)
        return len(self._clients) < MAX_CLIENTS and not (client.is_of_group and members >= MAX_MEMBERS)

    def _silent(self, *, of_group: bool) -> ControlClient | None:
        """Who makes room: for a member of the group only a member, and a member first in any case."""
        silent = [each for each in self._clients if not each.waits and (each.is_of_group or not of_group)]
        return min(silent, key=lambda each: not each.is_of_group, default=None)

    def _on_event(self, client: ControlClient, events: int) -> None:
        if client not in self._clients:
            return
        if events & WRITE:
            client.flush()
            self._loop.watch_writable(client)
        if events & READ:
            commands = client.commands()
            if commands is None:
                self._forget(client)
                return
            if commands:
                self._clients[client] = self._clients.pop(client)
            for command in commands:
                if client in self._clients:
                    self._do(client, command)

    def _forget(self, client: ControlClient) -> None:
        self._loop.unregister(client)
        client.sock.close()
        self._clients.pop(client, None)
        self._resting.pop(client, None)

    def _reply(self, client: ControlClient, reply: Reply) -> None:
        """Answer a client that is still there."""
        self._send(client, plain(reply))

    def _send(self, client: ControlClient, reply: object) -> None:
        if client in self._clients:
            client.reply(reply)
            self._loop.watch_writable(client)

    def _do(self, client: ControlClient, fields: dict[str, object]) -> None:
        try:
            command = parse_command(fields)
        except InvalidDocumentError as error:
            self._reply(client, ErrorReply(ok=False, error=str(error)))
            return
        if client.is_of_group and client.waits:
            # It waits for its answer and asks again: endlessly perhaps.
            self._forget(client)
            return
        if client.is_of_group and type(command) not in OF_THE_GROUP:
            refused = f"{fields['command']}: for the socket's owner and root, not for members of control_group"
            self._reply(client, ErrorReply(ok=False, error=refused))
            return
        match command:
            case StatusCommand():
                self._send(client, {"ok": True, **plain_fields(self._commands.status())})
            case ReloadCommand():
                self._reload(client)
            case ScaleCommand(workers):
                self._scale(client, workers)
            case StopCommand():
                client.waits = True
                self._reply(client, StopReply(ok=True))
                self._commands.stop()
            case StateResetCommand() | StateRememberCommand() | StateForgetCommand() | StateWalkCommand():
                self._change_state(client, command)
            case _:
                assert_never(command)

    def _reload(self, client: ControlClient) -> None:
        """Answered once every worker serves the new generation, or with why the old one stays."""
        client.waits = True
        if client.is_of_group:
            self._resting[client] = None
            self.tick(time.monotonic())
        else:
            self._commands.reload(lambda reply: self._reloaded([client], reply))

    def tick(self, now_s: float) -> None:
        """Begin the reload that members of the group wait for, one at a time."""
        if not self._resting or now_s < self._members_reload_at_s:
            return
        clients, self._resting = list(self._resting), {}
        self._members_reload_at_s = math.inf

        def done(reply: ReloadReply) -> None:
            ended_s = time.monotonic()
            self._members_reload_at_s = ended_s + REST_OF_MEMBERS * (ended_s - now_s)
            self._reloaded(clients, reply)

        self._commands.reload(done)

    def _reloaded(self, clients: list[ControlClient], reply: ReloadReply) -> None:
        for client in clients:
            client.waits = False
            self._reply(client, reply)

    def _change_state(self, client: ControlClient, command: StateCommand) -> None:
        """Answered by the state process."""
        client.waits = True

        def done(reply: StateReply | StateWalkReply | ErrorReply) -> None:
            client.waits = False
            self._reply(client, reply)

        self._commands.state(command, done)

    def _scale(self, client: ControlClient, workers: int) -> None:
        if 1 <= workers <= MAX_WANTED:
            self._commands.scale(workers)
            self._reply(client, ScaleReply(ok=True, workers=workers))
        else:
            error = f"workers: expected a number from 1 to {MAX_WANTED}"
            self._reply(client, ErrorReply(ok=False, error=error))
