"""Where a policy server is: the addresses of its endpoint. A name is looked up in a thread, since getaddrinfo blocks;
what is known is used while that takes, and looked up again when it is older than KNOWN_S.
"""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from gevent.threadpool import ThreadPool

from forkpolicy.addresses import addresses

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.addresses import Address

KNOWN_S: Final = 60.0

Place = tuple[int, "str | Address"]
"""Family and address of a socket."""


class ServiceAddress:
    """Of one endpoint. `found` is called from the loop, when a look-up is over."""

    def __init__(self, endpoint: str, found: Callable[[], None]) -> None:
        self._endpoint, self._found = endpoint, found
        self.places: list[Place] = []
        self.why_none = ""
        self._fresh_until_s = 0.0
        self._pool: ThreadPool | None = None
        self._looks_up = False
        if endpoint.startswith("unix:"):
            self._know([(socket.AF_UNIX, endpoint.removeprefix("unix:"))], float("inf"))
        elif _is_literal(endpoint):
            self._know(list(addresses(endpoint)), float("inf"))

    @property
    def is_known(self) -> bool:
        """Whether there are `places`. Where they are not fresh a look-up begins, if none is under way."""
        if time.monotonic() >= self._fresh_until_s and not self._looks_up:
            self._looks_up = True
            # One thread for each name: one that a resolver holds up holds up nobody else.
            self._pool = self._pool or ThreadPool(1)
            self._pool.spawn(_look_up, self._endpoint).rawlink(self._looked_up)
        return bool(self.places)

    def _looked_up(self, result: object) -> None:
        self._looks_up = False
        found = result.value  # type: ignore[attr-defined]  # of gevent's AsyncResult
        places, self.why_none = found
        # What was known before is better than nothing.
        known = places or self.places
        self._know(known, time.monotonic() + (KNOWN_S if known else 0.0))
        self._found()

    def _know(self, places: list[Place], until_s: float) -> None:
        self.places, self._fresh_until_s = places, until_s


def _look_up(endpoint: str) -> tuple[list[Place], str]:
    """In the thread: the addresses, or why there are none."""
    try:
        return list(addresses(endpoint)), ""
    except (OSError, OverflowError, UnicodeError) as error:
        return [], getattr(error, "strerror", None) or str(error)


def _is_literal(endpoint: str) -> bool:
    try:
        ip_address(endpoint.removeprefix("inet:").rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True
