"""The least that a policy server can do, as a yardstick: C where there is a compiler, and Python.

`python -m loadtest.servers.echo SOCKET` is the Python one: an epoll loop with action=DUNNO where a request ends.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from loadtest.native import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPLY = b"action=DUNNO\n\n"


@contextlib.contextmanager
def echo_server(path: Path, *, native: bool, processes: int = 1) -> Iterator[int | None]:
    """Run one on `path`; its process id, or None where there is no compiler for the native one.

    Only the native one can have more processes than one: they are children of the first.
    """
    words = [sys.executable, "-m", "loadtest.servers.echo"]
    if native:
        built = program("echo")
        if built is None:
            yield None
            return
        words = [str(built)]
    path.unlink(missing_ok=True)
    count = [str(processes)] if processes > 1 else []
    with subprocess.Popen([*words, str(path), *count], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def serve(path: str) -> None:
    """Answer for ever."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1024)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    print("ready", flush=True)
    while True:
        for number, _ in poll.poll():
            connection = connections.get(number)
            if connection is None:
                accepted, _ = listener.accept()
                connections[accepted.fileno()] = accepted
                poll.register(accepted, select.EPOLLIN)
                continue
            request = connection.recv(65536)
            if request.endswith(b"\n\n"):
                connection.send(REPLY)
            elif not request:
                connections.pop(number).close()


if __name__ == "__main__":
    serve(sys.argv[1])
