"""Ports of loopback for servers: each is given once at a time, on the whole machine.

A port that the kernel has just given may be anybody's by the time a server binds it, and every connection that others
open has a number of the same range. So these are below that range, and each is kept by a name in the abstract UNIX
namespace until this process ends, or has got a hundred more: the kernel removes it, whatever the end.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIRST: Final = 10_000
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
# A process of tests starts hundreds of servers, one after the other; a descriptor above 1,023 is none for select().
_MOST: Final = 100
# Descriptors that keep the names, the oldest first; they are closed with this process.
_kept: deque[int] = deque()
# So that a port is given again as late as possible.
_given = count()


def free_port(*further: int) -> int:
    """A port that nobody has, for TCP and UDP; nor has anybody those so far above it. Raises SetupError."""
    distances = (0, *further)
    for port in _candidates(max(distances)):
        every = [port + distance for distance in distances]
        if all(map(_is_free, every)) and all(map(_keep, every)):
            return port
    raise SetupError(f"no port of 127.0.0.1 from {_FIRST} on is free: stop servers that are no longer wanted")


def _candidates(reach: int) -> Iterable[int]:
    """All of them; each process begins at another one."""
    end = int(_RANGE.read_text().split()[0]) - reach
    begin = _FIRST + (os.getpid() * 37 + next(_given)) % (end - _FIRST)
    return chain(range(begin, end), range(_FIRST, begin))


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
        # As servers bind: connections of an earlier run in TIME_WAIT are no obstacle.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(("127.0.0.1", port))
        udp.bind(("127.0.0.1", port))
        return True
    return False


def _keep(port: int) -> bool:
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0forkpolicy-port-{port}")
    except OSError:
        name.close()
        return False
    _kept.append(name.detach())
    if len(_kept) > _MOST:
        os.close(_kept.popleft())
    return True
