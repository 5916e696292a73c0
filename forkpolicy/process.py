"""The one fork of forkpolicy, and what a process does to itself: die with its parent, give up privileges for good,
leave no core, raise its limits.

Linux only. Called by master, logger, workers and compiler on themselves; knows nothing of any of them. Raises OSError
where the kernel refuses.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import resource
import signal
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The signals that the master catches: its children ignore these or give them another meaning.
SIGNALS_OF_MASTER = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)

# The end of a traceback says most; this fits into a line of the log.
TRACE_CHARACTERS = 2500

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that a worker becomes."""

    user: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def fork(run: Callable[[], None], report_bug: Callable[[str], None] | None = None) -> int:
    """A child that does nothing but `run`, which begins with every signal blocked: one that comes in between must
    neither run a handler of the parent in the child nor find the child without its own. Its pid; its exit status is 0,
    or 1 if `run` raises, and then `report_bug` is called with the traceback. Raises OSError.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _run_and_exit(run, report_bug)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _run_and_exit(run: Callable[[], None], report_bug: Callable[[str], None] | None) -> NoReturn:
    status = 1
    try:
        run()
        status = 0
    except BaseException:  # noqa: BLE001 - a bug of ours: the process ends with it, and reports it
        if report_bug:
            report_bug(traceback.format_exc()[-TRACE_CHARACTERS:])
    finally:
        # Not sys.exit: the parent's exit handlers and its callers' finally are not for us to run.
        os._exit(status)


def die_with_parent(signum: int, parent: int) -> None:
    """Have the kernel send us `signum` when our parent dies. After a change of user: that clears it (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        # It died before the kernel was asked.
        os.kill(os.getpid(), signum)


def leave_no_core() -> None:
    """No core file, no ptrace by our own user: the memory holds people's addresses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def become(identity: Identity) -> None:
    """Give up root for good: groups first, while we may, then group, then user; and no set-uid program gives it
    back.
    """
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def own_user() -> str:
    """The user that this process acts for, as messages name it."""
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"


def answer_as(identity: Identity, question: Callable[[list[str]], list[str]], about: list[str]) -> list[str]:
    """What `question` returns for some texts in a child process that has become another user: the kernel itself
    decides what that user may do, with access control lists and all. Raises OSError. As root, and before any thread.
    """
    read_end, write_end = os.pipe()
    parent = os.getpid()

    def answer_question() -> None:
        become(identity)
        die_with_parent(signal.SIGKILL, parent)
        with open(write_end, "w") as pipe:  # noqa: PTH123 - a descriptor
            json.dump(question(about), pipe)

    pid = fork(answer_question)
    os.close(write_end)
    with open(read_end) as pipe:  # noqa: PTH123 - a descriptor
        answer = pipe.read()
    os.waitpid(pid, 0)
    if not answer:
        raise OSError(f"cannot become user {identity.user}")
    answers: list[str] = json.loads(answer)
    return answers


def keep_only(kept: Iterable[int]) -> None:
    """Close every descriptor but these and the standard ones."""
    first = 3
    for fd in sorted({fd for fd in kept if fd >= first}):
        # An empty range closes nothing, but for one that begins at 0 (findings/python-closerange-...).
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def raise_descriptor_limit() -> int:
    """As many descriptors as we may have: each of Postfix's smtpd processes keeps a connection. The new limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")
