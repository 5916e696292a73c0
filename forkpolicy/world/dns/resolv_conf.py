"""The name servers of a resolv.conf(5). Read here and not by c-ares: pycares 5.2.1 passes the path of another file than
/etc/resolv.conf in memory that it has freed already.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# As resolv.conf(5) has it: more are ignored, and without any the name server is on this machine.
MOST: Final = 3
DEFAULT: Final = ("127.0.0.1",)


def servers_of(path: Path) -> tuple[str, ...]:
    """The servers that it names; also one with a port, which only tests write."""
    try:
        # Not read_text: a worker could not import a codec any more.
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return DEFAULT
    words = [line.split() for line in lines]
    named = [each[1] for each in words if each[:1] == ["nameserver"] and each[1:] and _is_server(each[1])]
    return tuple(named[:MOST]) or DEFAULT


def version_of(path: Path) -> tuple[int, ...]:
    """Another one when the file has changed."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _is_server(text: str) -> bool:
    host = text.rpartition(":")[0] if text.count(":") == 1 else text
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
