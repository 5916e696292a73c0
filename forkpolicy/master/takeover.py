"""The new master's side of an upgrade: what the old master has passed, until this one serves; then the old one, until
its workers have handed over. The old master's side is upgrade.py. Raises nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from forkpolicy.master.sockets.inherited import REPORT_BYTES, SERVING

if TYPE_CHECKING:
    from forkpolicy.master.sockets.inherited import InheritedSockets

# A client that has been in the middle of a long request for so long keeps reloads waiting no longer.
HANDING_OVER_S = 10.0


class Takeover:
    """Of a master that replaces another; without one (`inherited` is None) nothing is ever under way."""

    def __init__(self, inherited: InheritedSockets | None) -> None:
        self._inherited = inherited
        self._old_master = 0
        self._until_s = 0.0

    @property
    def under_way(self) -> bool:
        """Whether the old master still serves."""
        return self._inherited is not None

    @property
    def old_master_hands_over(self) -> bool:
        """Whether its workers still do: until then some requests are decided by what they serve. It ends with the last
        of its workers, and until then it is our parent.
        """
        if self._old_master and (os.getppid() != self._old_master or time.monotonic() > self._until_s):
            self._old_master = 0
        return self._old_master != 0

    def finish(self) -> None:
        """Report that this master serves, and give up the sockets that its settings do not name."""
        if self._inherited:
            inherited, self._inherited = self._inherited, None
            for left in inherited.every_listener:
                left.close(remove=True)
            with contextlib.suppress(OSError):
                os.write(inherited.ready_fd, SERVING.encode())
                os.close(inherited.ready_fd)
            self._old_master, self._until_s = inherited.master, time.monotonic() + HANDING_OVER_S

    def refuse(self, reason: str) -> int:
        """Report that this master cannot serve, and leave everything as it is; the pid of the old one."""
        assert self._inherited
        with contextlib.suppress(OSError):
            os.write(self._inherited.ready_fd, reason.encode("utf-8", "replace")[:REPORT_BYTES])
        return self._inherited.master
