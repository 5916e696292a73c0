"""Child processes of the compiler that end before their work is done."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import pytest

from forkpolicy.compile.children import Children
from forkpolicy.errors import CannotWriteError

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_child_that_was_killed_while_idle() -> None:
    """A job that no child does any more is reported like any other that was not done."""
    children: Children[int, int] = Children(lambda _: os.getpid())
    try:
        (pid,) = children.map([1])
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(CannotWriteError, match=r"ended before its work was done \(signal 9\)"):
            list(children.map([2]))
    finally:
        children.close()


def test_a_child_that_was_killed_in_the_midst_of_its_answer() -> None:
    """Half an answer is none."""
    children: Children[int, bytes] = Children(lambda _: bytes(50_000_000))

    def jobs() -> Iterator[int]:
        yield 1
        ((end, pid),) = children._ends.items()
        wait([end])
        os.kill(pid, signal.SIGKILL)

    try:
        with pytest.raises(CannotWriteError, match="signal 9"):
            list(children.map(jobs()))
    finally:
        children.close()


def test_a_child_that_ends_by_itself() -> None:
    """What it cannot even tell is its exit status."""
    children: Children[int, int] = Children(lambda _: os._exit(3))
    try:
        with pytest.raises(CannotWriteError, match="exit status 3"):
            list(children.map([1]))
    finally:
        children.close()


def test_an_interrupt_is_the_parents_alone() -> None:
    """A terminal sends it to all of them; a child goes on until its parent ends it."""

    def interrupted(job: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return job

    children: Children[int, int] = Children(interrupted)
    try:
        assert sorted(children.map([1, 2])) == [1, 2]
    finally:
        children.close()
