"""Work in child processes: large sources are parsed, and large tables flattened, on every core.

Only large tables come here; forking costs more than a small one. A child lives no longer than its parent: it reads and
writes one pipe, of which only the parent holds the other end, so that a killed compiler leaves no process behind. The
parent raises again what a child raised, and CannotWriteError where a child was killed. An interrupt from the terminal,
which all of them get, is for the parent alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Generic, TypeVar

from forkpolicy.errors import CannotWriteError
from forkpolicy.process import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Job = TypeVar("Job")
Result = TypeVar("Result")


def core_count() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0))


class Children(Generic[Job, Result]):
    """Does jobs in as many child processes as there are cores. `close` them in any case."""

    def __init__(self, work: Callable[[Job], Result]) -> None:
        self._ends: dict[Connection, int] = {}
        self._work = work
        self._idle: list[Connection] = []

    def map(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """Do all jobs; results come as they are ready. Jobs are taken no earlier than a child is free for them."""
        for job in jobs:
            if not self._idle and len(self._ends) < core_count():
                self._start()
            if not self._idle:
                yield from self._results()
            self._send(self._idle.pop(), job)
        while len(self._idle) < len(self._ends):
            yield from self._results()

    def close(self) -> None:
        """End the children, whatever they are doing: their results are not needed any more."""
        for end in self._ends:
            end.close()
        for pid in self._ends.values():
            os.waitpid(pid, 0)
        self._ends, self._idle = {}, []

    def _start(self) -> None:
        ours, theirs = Pipe()
        ends = (ours, *self._ends)
        self._ends[ours] = fork(lambda: _serve(theirs, self._work, ends))
        theirs.close()
        self._idle.append(ours)

    def _send(self, end: Connection, job: Job) -> None:
        try:
            end.send(job)
        except OSError:
            raise self._killed(end) from None

    def _results(self) -> Iterator[Result]:
        busy = [end for end in self._ends if end not in self._idle]
        for end in wait(busy):
            assert isinstance(end, Connection)
            try:
                received = end.recv_bytes()
            except (EOFError, OSError):
                # OSError where it was killed while it sent its result.
                raise self._killed(end) from None
            result = _received(pickle.loads(received))  # noqa: S301 - from our own child
            self._idle.append(end)
            yield result  # type: ignore[misc]

    def _killed(self, end: Connection) -> CannotWriteError:
        end.close()
        _, status = os.waitpid(self._ends.pop(end), 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return CannotWriteError(
            f"a process of the compiler ended before its work was done ({how}): most often the machine was short of "
            "memory, see its kernel log; then compile again"
        )


def _serve(end: Connection, work: Callable[[Job], Result], of_parent: Iterable[Connection]) -> None:
    """A child's life."""
    # INT stays blocked: it must never unwind what its parent has begun.
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})
    for each in of_parent:
        each.close()
    # Millions of small tuples and no cycles: looking for some took a sixth of the time.
    gc.disable()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = end.recv()
            try:
                result: object = work(job)
            except Exception as error:  # noqa: BLE001 - raised again in the parent
                result = _Raised(error)
            end.send_bytes(pickle.dumps(result))


class _Raised:
    """What a child raised, on its way to the parent."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _received(result: object) -> object:
    if isinstance(result, _Raised):
        raise result.error
    return result
