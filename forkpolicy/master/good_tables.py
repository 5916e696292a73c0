"""The last good file of each table, as an open descriptor that a worker has passed on: what was good for one worker is
what the next is born with, whatever has become of the file under the table's name meanwhile.

The master opens, maps and reads none of them; workers verify what they are given. Raises nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class GoodTables:
    """By the path of the table. Owns the descriptors."""

    def __init__(self, passed: Mapping[str, int] | None = None) -> None:
        """`passed`: what the master before us had."""
        self._fds = dict(passed or {})

    @property
    def fds(self) -> Mapping[str, int]:
        """What a worker is born with, and what another master is given."""
        return self._fds

    def keep(self, path: str, fd: int, declared: Collection[str]) -> None:
        """A worker serves this file; of tables that are declared nowhere it is not kept."""
        if path not in declared:
            os.close(fd)
            return
        before, self._fds[path] = self._fds.get(path), fd
        if before is not None:
            os.close(before)

    def drop_others(self, declared: Collection[str]) -> None:
        """Let go of tables that are declared no more: the disk has their room again."""
        for path in [each for each in self._fds if each not in declared]:
            os.close(self._fds.pop(path))
