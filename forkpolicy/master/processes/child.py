"""A process of the master's that is not a worker: the log, the metrics, a helper. One fork for all of them.

The child keeps the descriptors that it is given and closes every other one: what it does not need it can neither
misuse nor keep open. It gives up root where it is given a user to become, leaves no core, ends with the master, and
ignores the master's signals. Raises OSError where the machine has no process to give.
"""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING, NoReturn

from setproctitle import setproctitle

from forkpolicy.log import report_on_stderr
from forkpolicy.master.signals import CAUGHT
from forkpolicy.process import SIGNALS_OF_MASTER, become, die_with_parent, keep_only, leave_no_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

    from forkpolicy.process import Identity

    Handlers = Mapping[int, Callable[[int, FrameType | None], None]]

# The end of a traceback says most; this fits into a line of the log.
TRACE_CHARACTERS = 2500


def start_child(
    run: Callable[[], None],
    *,
    title: str,
    keep: Iterable[int],
    identity: Identity | None = None,
    death: int = signal.SIGKILL,
    handlers: Handlers | None = None,
    report_bug: Callable[[str], None] = report_on_stderr,
) -> int:
    """Fork a process that does nothing but `run`; its pid. `keep`: its descriptors beside the standard ones; `death`:
    the signal that it gets when the master dies; `handlers`: what it does about signals; `report_bug` gets the
    traceback if `run` raises, and the exit status is 1 then.
    """
    master = os.getpid()
    # A signal that comes in between must neither run the master's handler in the child nor meet it without its own.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _live(run, title, keep, identity, (master, death), handlers or {}, report_bug)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(
    run: Callable[[], None],
    title: str,
    keep: Iterable[int],
    identity: Identity | None,
    end: tuple[int, int],
    handlers: Handlers,
    report_bug: Callable[[str], None],
) -> NoReturn:
    master, death = end
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for signum in CAUGHT:
            signal.signal(signum, signal.SIG_IGN if signum in SIGNALS_OF_MASTER else signal.SIG_DFL)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        keep_only(keep)
        if identity:
            become(identity)
        # Both are undone by a change of user.
        leave_no_core()
        die_with_parent(death, master)
        # Last: a process that shows the title has given up its privileges.
        setproctitle(title)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        run()
        status = 0
    except BaseException:  # noqa: BLE001 - a bug of ours: the process ends of it, and says so
        report_bug(traceback.format_exc()[-TRACE_CHARACTERS:])
    finally:
        # Not sys.exit: nothing of the master's (its exit handlers, its callers' finally) is for us to run.
        os._exit(status)
