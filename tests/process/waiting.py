"""How tests wait: for a process to end (pidfd_open(2)), and until something is so, looked at again with every change of
a watched file (inotify(7)), which is what nearly all that a server does leads to: a line of its log.

Numbers in shared memory and the kernel's lists of processes and sockets change without an event: for their sake it is
looked at again after LOOK_S, too.
"""

from __future__ import annotations

import ctypes
import os
import select
import time

DEADLINE_S = 30.0
LOOK_S = 0.05

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x2, 0x80, 0x100, 0x200
_libc = ctypes.CDLL(None, use_errno=True)


class Changes:
    """Of files in watched directories. The kernel forgets directories that are removed."""

    def __init__(self):
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0, os.strerror(ctypes.get_errno())

    def watch(self, directory):
        found = _libc.inotify_add_watch(
            self._fd, os.fsencode(directory), _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
        )
        assert found >= 0, os.strerror(ctypes.get_errno())

    def wait(self, longest_s):
        """Return after the next change since the last call, or after so long."""
        if select.select([self._fd], [], [], longest_s)[0]:
            os.read(self._fd, 1 << 16)


CHANGES = Changes()


def eventually(what, deadline_s=DEADLINE_S):
    """Look until the answer is true; each look is a question to a real process. The answer."""
    until_s = time.monotonic() + deadline_s
    while not (answer := what()):
        assert time.monotonic() < until_s, f"not within {deadline_s:g} s"
        CHANGES.wait(LOOK_S)
    return answer


def ended(pid, deadline_s=DEADLINE_S):
    """Wait until a process has ended, whether it was waited for or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], deadline_s)[0], f"process {pid} has not ended within {deadline_s:g} s"
    finally:
        os.close(fd)
