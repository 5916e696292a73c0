"""Work in child processes: large sources are parsed, and large tables flattened, on every core.

Only large tables come here; forking costs more than a small one. A child lives no longer than its parent: it reads and
writes one pipe, of which only the parent holds the other end, so that a killed compiler leaves nobody behind. What a
child raises is raised again in the parent.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Generic, TypeVar

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
            self._idle.pop().send(job)
        while len(self._idle) < len(self._ends):
            yield from self._results()

    def close(self) -> None:
        """End the children, whatever they are doing: nobody waits for them any more."""
        for end in self._ends:
            end.close()
        for pid in self._ends.values():
            os.waitpid(pid, 0)
        self._ends, self._idle = {}, []

    def _start(self) -> None:
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            for end in (ours, *self._ends):
                end.close()
            _serve(theirs, self._work)
        theirs.close()
        self._ends[ours] = pid
        self._idle.append(ours)

    def _results(self) -> Iterator[Result]:
        busy = [end for end in self._ends if end not in self._idle]
        for end in wait(busy):
            assert isinstance(end, Connection)
            result = _received(pickle.loads(end.recv_bytes()))  # noqa: S301 - from our own child
            self._idle.append(end)
            yield result  # type: ignore[misc]


def _serve(end: Connection, work: Callable[[Job], Result]) -> None:
    """A child's life."""
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
    os._exit(0)


class _Raised:
    """What a child raised, on its way to the parent."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _received(result: object) -> object:
    if isinstance(result, _Raised):
        raise result.error
    return result
