"""Every child of the master is started here: the workers, the log, the metrics, a helper process, the one that loads a
reload's files. The new master of an upgrade alone is not: that is another program (sockets/inherited.py).

The master keeps everything that it has. The child has the master's memory, but uses nothing that needs a descriptor
which it was not given; `start_child` lists what it drops, in order. Raises OSError where the machine has no process to
give.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from forkpolicy.log import report_on_stderr
from forkpolicy.master.signals import CAUGHT
from forkpolicy.process import SIGNALS_OF_MASTER, become, die_with_parent, fork, keep_only, leave_no_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType

    from forkpolicy.process import Identity

    Handlers = Mapping[int, Callable[[int, FrameType | None], None] | signal.Handlers]


def start_child(
    run: Callable[[], None],
    *,
    title: str,
    keep: Iterable[int],
    stderr: int = 2,
    identity: Identity | None = None,
    death: int = signal.SIGKILL,
    handlers: Handlers | None = None,
    blocked: Iterable[int] = (),
    report_bug: Callable[[str], None] = report_on_stderr,
) -> int:
    """Fork a process that does nothing but `run`; its pid. Before that the child, in this order:

    - forgets the master's handlers: it ignores the master's signals, but for those with `handlers` of its own;
    - writes what it writes to standard error to `stderr`, and closes every descriptor but the standard ones and `keep`:
      what it does not need it can neither misuse nor keep open;
    - becomes `identity` for good, if there is one;
    - leaves no core, and gets the signal `death` when the master dies: a change of user would undo both;
    - shows its title: a process that shows it has given up its privileges;
    - lets signals in, which were blocked since before the fork, but for those that stay `blocked`.

    `report_bug` is called with the traceback if `run` raises, and the exit status is 1 then.
    """
    master = os.getpid()

    def live() -> None:
        signal.set_wakeup_fd(-1)
        for signum in CAUGHT:
            signal.signal(signum, signal.SIG_IGN if signum in SIGNALS_OF_MASTER else signal.SIG_DFL)
        for number, handler in (handlers or {}).items():
            signal.signal(number, handler)
        os.dup2(stderr, 2)
        keep_only(keep)
        if identity:
            become(identity)
        leave_no_core()
        die_with_parent(death, master)
        setproctitle(title)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        run()

    return fork(live, report_bug)
