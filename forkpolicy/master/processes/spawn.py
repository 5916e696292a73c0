"""Starts a worker (child.py forks it), and is the master's end of its link and of its standard error."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

from forkpolicy import link
from forkpolicy.master.processes.child import start_child
from forkpolicy.master.sockets.send_buffer import write_some
from forkpolicy.messages import TO_MASTER
from forkpolicy.status import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.messages import ToMaster, ToWorker
    from forkpolicy.process import Identity

READ_BYTES = 1 << 18
# A message brings one at most.
MAX_FDS = 8
# What fits into one line of the log.
STDERR_BYTES = 2500
# What has written nothing for so long has finished.
STDERR_PAUSE_S = 0.2


class Worker:
    """A worker as the master knows it. `ready_s`: since when it serves; 0 while it starts. `ending_since_s`: since when
    it is ending, by the master's word or its own.
    """

    def __init__(self, pid: int, slot: int, generation: int, sock: socket.socket, stderr: Stderr) -> None:
        self.pid = pid
        self.slot = slot
        self.generation = generation
        self.sock = sock
        self.stderr = stderr
        self.started_s = time.monotonic()
        self.ready_s = 0.0
        self.ending_since_s: float | None = None
        self.hurried = False
        self.kill_at_s: float | None = None
        self.state = WorkerState()
        self.unsent = bytearray()
        # Passed with its messages, in their order.
        self.fds: list[int] = []
        self._decoder = link.Decoder(TO_MASTER)

    def fileno(self) -> int:
        """The link's descriptor."""
        return self.sock.fileno()

    @property
    def wanted(self) -> bool:
        """Whether it is not ending."""
        return self.ending_since_s is None

    @property
    def ready(self) -> bool:
        """Whether it has come to serve."""
        return self.ready_s > 0

    def mark_ready(self) -> None:
        """Note that it serves."""
        self.ready_s = time.monotonic()

    def mark_ending(self) -> None:
        """Note that it is ending."""
        if self.wanted:
            self.ending_since_s = time.monotonic()

    def send(self, message: ToWorker) -> None:
        """Queue a message; `flush` writes what the link takes. A worker that reads nothing never blocks the
        master.
        """
        self.unsent += link.encode(message)
        self.flush()

    def flush(self) -> None:
        """Write what the link takes now."""
        write_some(self.sock, self.unsent)

    def receive(self) -> list[ToMaster] | None:
        """The messages that came; None at the end of the link. Raises InvalidMessageError."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self.sock, READ_BYTES, MAX_FDS)
        except BlockingIOError:
            return []
        except OSError:
            return None
        for fd in fds:
            # recv_fds ignores its flags, so MSG_CMSG_CLOEXEC would not do.
            os.set_inheritable(fd, False)
        self.fds += fds
        if len(self.fds) > MAX_FDS:
            # More of them than messages: they would use up ours.
            raise link.InvalidMessageError(f"{len(self.fds)} descriptors without a message")
        return self._decoder.feed(data) if data else None

    def has_data(self) -> bool:
        """Whether there is something to receive, be it the end."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return bool(poller.poll(0))

    def take_fd(self) -> int | None:
        """The descriptor of the message that is handled; None if it was lost, since we have none free."""
        return self.fds.pop(0) if self.fds else None

    def close(self) -> None:
        """Read no more of it, and close what it has passed and was not taken."""
        self.sock.close()
        while self.fds:
            os.close(self.fds.pop())


class Stderr:
    """What a worker writes to standard error: stack dumps, messages of C libraries. The master puts it into the log."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._received = b""
        self._received_s = 0.0

    def fileno(self) -> int:
        """The read end; -1 once it is closed."""
        return self._fd

    def read(self) -> bool:
        """Take what came; False at the end."""
        try:
            data = os.read(self._fd, STDERR_BYTES)
        except BlockingIOError:
            return True
        self._received += data
        self._received_s = time.monotonic()
        return bool(data)

    def text(self, now_s: float) -> str:
        """What is to be logged now: a stack dump comes in many small pieces and is one event."""
        if not self._received or (len(self._received) < STDERR_BYTES and now_s - self._received_s < STDERR_PAUSE_S):
            return ""
        written, self._received = self._received[:STDERR_BYTES], self._received[STDERR_BYTES:]
        return written.decode("utf-8", "surrogateescape").strip()

    @property
    def pending(self) -> bool:
        """Whether there is something to read, be it the end."""
        return bool(select.select([self._fd], [], [], 0)[0])

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def spawn(
    slot: int,
    generation: int,
    run: Callable[[socket.socket], None],
    *,
    keep: Iterable[int],
    identity: Identity | None,
    report_bug: Callable[[str], None],
) -> Worker:
    """Fork one worker. `run(link)` is its life, in which TERM waits until it is let in; `keep` are its descriptors next
    to the link, `report_bug` is called with the traceback of a bug that ends it. Raises OSError.
    """
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    for sock in (ours, theirs):
        sock.setblocking(False)
    # Full, it loses what is written: a worker never waits for the master.
    os.set_blocking(write_end, False)
    try:
        pid = start_child(
            lambda: run(theirs),
            title=f"forkpolicy: worker {slot}",
            keep=(*keep, theirs.fileno()),
            stderr=write_end,
            identity=identity,
            handlers={signal.SIGTERM: signal.SIG_DFL},
            blocked={signal.SIGTERM},
            report_bug=report_bug,
        )
    except OSError:
        ours.close()
        os.close(read_end)
        raise
    finally:
        theirs.close()
        os.close(write_end)
    return Worker(pid, slot, generation, ours, Stderr(read_end))
