"""Runs the console: one process, one socket, until a signal asks it to end.

Raises CannotWriteError where another process listens there, ForkpolicyError.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn
from anyio.to_thread import current_default_thread_limiter

from forkpolicy.errors import CannotWriteError
from forkpolicy.one_line_logging import log_to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

# Threads that wait for SQLite or the control socket; each page takes some milliseconds of one.
THREADS: Final = 8
CONNECTIONS: Final = 256
_END_S: Final = 3  # for streams of live pages, which never end by themselves
_HEAD_BYTES: Final = 32 << 10  # a pasted log line in an address
_BACKLOG: Final = 128
_SOCKET_MODE: Final = 0o660


def serve(app: Starlette, listen: str) -> None:
    """Serve an application at `HOST:PORT`, `[ADDRESS]:PORT` or `unix:/path` until TERM or INT."""
    log_to_stderr("%(levelname)s %(name)s: %(message)s")
    with _listening(listen) as sock:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # addresses of people would stand in it
            proxy_headers=False,  # access/proxies.py says whose are believed
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_END_S,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        print(f"the console listens on {listen}", file=sys.stderr, flush=True)
        asyncio.run(_run(_Server(config), sock))


class _Server(uvicorn.Server):
    """Ends by a signal with status 0, where uvicorn sends itself the signal again: for systemd that is a failure."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Until it ends; a second signal ends it at once."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.handle_exit, each, None)
        yield


async def _run(server: _Server, sock: socket.socket) -> None:
    current_default_thread_limiter().total_tokens = THREADS
    await server.serve([sock])


def _listening(listen: str) -> socket.socket:
    try:
        return _listening_file(listen.removeprefix("unix:")) if listen.startswith("unix:") else _listening_port(listen)
    except OSError as error:
        why = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotWriteError(f"[console] listen: {listen}: {why}") from error


def _listening_port(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    sock = socket.create_server(
        (host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
    )
    # Connections inherit it. asyncio sets it only where a socket names its protocol (proto), and
    # a page, whose head and body are two writes, would wait 40 ms for the browser's delayed acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def _listening_file(path: str) -> socket.socket:
    """A socket file in place of one that nobody listens on any more."""
    if Path(path).is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                Path(path).unlink()
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    Path(path).chmod(_SOCKET_MODE)
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock
