"""A directory on a tmpfs for live maps, as /run is on a server: on a disk a map costs what the disk costs."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the directories in it have names of their own


@contextlib.contextmanager
def tmpfs_directory() -> Iterator[Path]:
    """A temporary directory that the workers' user can reach; an ordinary one where there is no tmpfs."""
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="forkpolicy-", dir=parent, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)
