"""The last good file of each table, as an open descriptor that a worker has passed on: what was good for one worker is
what the next is started with, whatever the file under the table's name has become meanwhile.

The master opens, maps and reads none of them; workers verify them. Raises nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class GoodTables:
    """By the path of the table. Owns the descriptors."""

    def __init__(self, inherited: Mapping[str, int] | None = None) -> None:
        """`inherited`: those of the previous master."""
        self._fds = dict(inherited or {})

    @property
    def fds(self) -> Mapping[str, int]:
        """What a worker is started with, and what is passed to another master."""
        return self._fds

    def keep(self, path: str, fd: int, declared: Collection[str]) -> None:
        """A worker serves this file; of tables that are declared nowhere it is not kept."""
        if path not in declared:
            os.close(fd)
            return
        previous, self._fds[path] = self._fds.get(path), fd
        if previous is not None:
            os.close(previous)

    def drop_others(self, declared: Collection[str]) -> None:
        """Close tables that are declared no more: the disk has their room again."""
        for path in [each for each in self._fds if each not in declared]:
            os.close(self._fds.pop(path))
