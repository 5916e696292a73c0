"""How the console's process takes memory and gives it back, so that it stays as large as it is after a day of use."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

# Of glibc's mallopt(3).
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
# Threads take turns at the interpreter, so they hardly ever allocate at the same time; each arena of a thread keeps its
# own holes for ever. Without this there is one for each thread, up to eight times the processors.
_ARENAS: Final = 1
# What is larger (bodies of pages, files, results of SQLite) is given back as soon as it is free. glibc would raise this
# up to 32 MB by itself with the first large block that is freed.
_LARGE_BYTES: Final = 128 << 10


def limit_arenas() -> bool:
    """Before the first thread starts; whether the C library can be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_ARENA_MAX, _ARENAS)) and bool(mallopt(_MMAP_THRESHOLD, _LARGE_BYTES))


def freeze() -> None:
    """What is loaded by now stays, so the collector need not look at it. It waits until a quarter of what it looks at
    is new: of all modules that is much, and policies that nobody uses any more would wait with it.
    """
    gc.collect()
    gc.freeze()
