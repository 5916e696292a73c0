"""When a worker is to be replaced: after max_requests, or above max_memory. Raises nothing."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.settings import ServerSettings

# Siblings that were started together must not end together: each may have a little more than the previous one.
SPREAD = 0.03
SPREAD_OVER = 16
MIB = 1 << 20


class Recycling:
    """The limits of one worker. `slot` spreads those of siblings."""

    def __init__(self, slot: int) -> None:
        self._stretch = 1 + SPREAD * (slot % SPREAD_OVER)
        # A limit below what a worker starts with would replace workers for ever: it counts from a tenth above that.
        self._least_mib = resident_mib() * 1.1 + 1

    def reason_to_retire(self, server: ServerSettings, requests: int) -> str:
        """Why this worker should retire; empty while it should not."""
        if server.max_requests and requests > server.max_requests * self._stretch:
            return f"max_requests ({requests} requests)"
        if server.max_memory and (used_mib := resident_mib()) > self._limit_mib(server.max_memory):
            return f"max_memory ({used_mib} MiB)"
        return ""

    def _limit_mib(self, max_memory: int) -> float:
        return max(max_memory * self._stretch, self._least_mib)


def resident_mib() -> int:
    """Memory that is ours alone or shared with the master; pages of tables are the page cache's."""
    pages, shared_with_files = (int(word) for word in Path("/proc/self/statm").read_text().split()[1:3])
    return (pages - shared_with_files) * resource.getpagesize() // MIB
