"""The state process as the master knows it: starts it (child.py forks it), and is the master's end of its link.

The process keeps a copy of what workers remember (state/keeper.py); the master knows nothing of that but its messages.
When the master dies, the process sees the end of its link, writes what it has, and ends; a signal sees to it that it
does so soon. Raises OSError where it cannot be started.
"""

from __future__ import annotations

import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy import link
from forkpolicy.master.processes.child import start_child
from forkpolicy.master.sockets.send_buffer import write_some
from forkpolicy.state_messages import FROM_STATE, StateReady, StateRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.control_messages import StateCommand
    from forkpolicy.process import Identity
    from forkpolicy.state_messages import FromState

TITLE = "forkpolicy: state"
READ_BYTES = 1 << 16
# Copying two million records from disk takes half a second; a slow disk, some.
START_TIMEOUT_S = 60.0
# What a dead master leaves to write takes a second; a disk that hangs must not keep a process.
WRITE_AFTER_MASTER_S = 5.0


@dataclass(frozen=True, slots=True)
class StateProgram:
    """What the state process does. `prepare` is called by the master before each start: with its rights it makes
    what the process needs; it raises ForkpolicyError. `run(link)` is the life of the process, as `identity`.
    `keep`: its descriptors next to the link.
    """

    prepare: Callable[[], None]
    run: Callable[[socket.socket], None]
    keep: tuple[int, ...]
    identity: Identity | None = None


class StateProcess:
    """One of them, from its start to its end."""

    def __init__(self, program: StateProgram, report_bug: Callable[[str], None]) -> None:
        self.sock, theirs = socket.socketpair()
        self.ready = self.finishing = False
        self.started_s = time.monotonic()
        self.unsent = bytearray()
        self._decoder = link.Decoder(FROM_STATE)
        try:
            self.pid = start_child(
                lambda: program.run(theirs),
                title=TITLE,
                keep=(*program.keep, theirs.fileno()),
                identity=program.identity,
                death=signal.SIGPROF,
                handlers={signal.SIGPROF: _end_soon},
                report_bug=report_bug,
            )
        except OSError:
            self.sock.close()
            raise
        finally:
            theirs.close()
        self.sock.setblocking(False)

    def fileno(self) -> int:
        """The link's descriptor."""
        return self.sock.fileno()

    def send(self, command: StateCommand) -> None:
        """Queue a command; `flush` writes what the link takes."""
        self.unsent += link.encode(command)
        self.flush()

    def flush(self) -> None:
        """Write what the link takes now."""
        write_some(self.sock, self.unsent)

    def receive(self) -> list[FromState] | None:
        """The messages that came; None at the end of the link. Raises InvalidMessageError."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._decoder.feed(data) if data else None

    def wait_ready(self) -> StateRefused | None:
        """Wait until it is ready: the start has nothing else to do. Why it is not, otherwise."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        until_s = self.started_s + START_TIMEOUT_S
        while poller.poll(max(0.0, until_s - time.monotonic()) * 1000):
            messages = self.receive()
            for message in messages or ():
                if isinstance(message, StateRefused):
                    return message
                self.ready = self.ready or isinstance(message, StateReady)
            if self.ready:
                return None
            if messages is None:
                return StateRefused(1, "the state process died at its start")
        return StateRefused(1, f"the state process was not ready within {START_TIMEOUT_S:g} s")

    def finish(self) -> None:
        """Have it write what it has, and end."""
        self.finishing = True
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Read no more of it."""
        self.sock.close()


def _end_soon(_signum: int, _frame: object) -> None:
    # The master has died. SIGALRM kills whatever this process is stuck in.
    signal.setitimer(signal.ITIMER_REAL, WRITE_AFTER_MASTER_S)
