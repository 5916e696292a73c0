"""What an endpoint of the settings means on this machine: the path of a UNIX socket, or the addresses of a host name.

`unix:PATH` and `inet:HOST:PORT`, as the settings have checked them. Raises OSError where the resolver knows no address.
"""

from __future__ import annotations

import socket
from pathlib import Path

# As the socket module has it: host and port, and of IPv6 two numbers more.
Address = tuple[object, ...]

# sockaddr_un.sun_path has 108 bytes with its final NUL (unix(7)).
MAX_PATH_BYTES = 107


def unix_path(endpoint: str, base: str | Path) -> str:
    """The absolute path of a `unix:` endpoint; relative ones are relative to the settings file's directory `base`."""
    return str(Path(base) / endpoint.removeprefix("unix:"))


def addresses(endpoint: str) -> list[tuple[int, Address]]:
    """Family and address of every socket that an `inet:` endpoint means, each once. Raises OSError, OverflowError."""
    host, _, port = endpoint.removeprefix("inet:").rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    every: list[tuple[int, Address]] = list(dict.fromkeys((each[0], each[4]) for each in found))
    # A name may have IPv6 addresses where the kernel knows no IPv6.
    return [each for each in every if _is_known(each[0])] or every


def inet_name(address: Address) -> str:
    """An address as an endpoint of the settings."""
    host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
    return f"inet:{host}:{address[1]}"


def why_no_listening(endpoint: str, address: Address | None, error: Exception) -> str:
    """The message for an address of an `inet:` endpoint that cannot be listened on; None: it has no address."""
    # What Python itself finds wrong with an address has no errno.
    reason = getattr(error, "strerror", None) or str(error)
    if address is None or inet_name(address) == endpoint:
        return f"cannot listen there: {reason}"
    host = endpoint.removeprefix("inet:").rpartition(":")[0]
    return (
        f"cannot listen on {address[0]}, which is an address of {host}: {reason}; "
        "correct the addresses of the name, or write the addresses that are meant"
    )


def _is_known(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True
