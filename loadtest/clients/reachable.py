"""Whether a server accepts connections where the mail is to be sent: a missing server is not a lost reply."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from loadtest.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path


def refuse_silent_socket(path: str | Path, hint: str) -> None:
    """SetupError where no server listens on a UNIX socket; `hint` is what to do."""
    with socket.socket(socket.AF_UNIX) as probe:
        _connect(probe, str(path), str(path), hint)


def refuse_silent_port(port: int, hint: str) -> None:
    """The same for a TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        _connect(probe, ("127.0.0.1", port), f"127.0.0.1:{port}", hint)


def _connect(probe: socket.socket, address: str | tuple[str, int], name: str, hint: str) -> None:
    try:
        probe.connect(address)
    except OSError as error:
        raise SetupError(f"no server listens on {name} ({error.strerror}): {hint}") from error
