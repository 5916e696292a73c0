"""The clients of the control socket, from accept to close, and the table of commands. What each command does to the
master are four functions that are passed in.

The metrics process is a client, too. Raises nothing: a client that sends something invalid is disconnected.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from forkpolicy.master.sockets.control import MAX_CLIENTS, ControlClient, accept, refuse
from forkpolicy.master.sockets.loop import READ, WRITE
from forkpolicy.scoreboard import MAX_WANTED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from forkpolicy.master.sockets.listener import Listener
    from forkpolicy.master.sockets.loop import Loop
    from forkpolicy.messages import ReloadReply

    Answer = dict[str, Any]

# After a failed accept.
ACCEPT_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class MasterCommands:
    """What commands do to the master. `reload` calls its argument when the outcome is known."""

    status: Callable[[], Answer]
    reload: Callable[[Callable[[ReloadReply], None]], None]
    scale: Callable[[int], None]
    stop: Callable[[], None]


class ControlServer:
    """The control socket and every client that is connected to it."""

    def __init__(self, listener: Listener, loop: Loop, commands: MasterCommands) -> None:
        self.listener = listener
        self._loop = loop
        self._commands = commands
        # In the order in which they last sent something.
        self._clients: dict[ControlClient, None] = {}

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
            sock = accept(self.listener)
        except OSError:
            # EMFILE and its like: clients wait in the queue, and so do we.
            self._loop.pause(self.listener.sock, ACCEPT_PAUSE_S)
            return
        if sock is None:
            return
        silent = next((client for client in self._clients if not client.waits), None)
        if len(self._clients) >= MAX_CLIENTS and silent:
            self._forget(silent)
        if len(self._clients) < MAX_CLIENTS:
            self._admit(ControlClient(sock))
        else:
            refuse(sock)

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
                self._do(client, command)

    def _forget(self, client: ControlClient) -> None:
        self._loop.unregister(client)
        client.sock.close()
        self._clients.pop(client, None)

    def _answer(self, client: ControlClient, answer: Answer) -> None:
        """Answer a client that is still there."""
        if client in self._clients:
            client.reply(answer)
            self._loop.watch_writable(client)

    def _do(self, client: ControlClient, command: dict[str, Any]) -> None:
        do = self.COMMANDS.get(str(command.get("command")))
        if do is None:
            self._answer(client, {"ok": False, "error": f"unknown command {command.get('command')!r}"})
        else:
            do(self, client, command)

    def _status(self, client: ControlClient, _command: dict[str, Any]) -> None:
        """Everything about everyone."""
        self._answer(client, {"ok": True, **self._commands.status()})

    def _reload(self, client: ControlClient, _command: dict[str, Any]) -> None:
        """Answered once every worker serves the new generation, or with why the old one stays."""
        client.waits = True

        def done(reply: ReloadReply) -> None:
            client.waits = False
            self._answer(client, asdict(reply))

        self._commands.reload(done)

    def _scale(self, client: ControlClient, command: dict[str, Any]) -> None:
        """Run N workers."""
        count = command.get("workers")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_WANTED:
            self._answer(client, {"ok": False, "error": f"workers: expected a number from 1 to {MAX_WANTED}"})
            return
        self._commands.scale(count)
        self._answer(client, {"ok": True, "workers": count})

    def _stop(self, client: ControlClient, _command: dict[str, Any]) -> None:
        """Answered at once; the end of the connection is the end of the master."""
        client.waits = True
        self._answer(client, {"ok": True})
        self._commands.stop()

    COMMANDS: ClassVar[dict[str, Callable[[ControlServer, ControlClient, dict[str, Any]], None]]] = {
        "status": _status,
        "reload": _reload,
        "scale": _scale,
        "stop": _stop,
    }
