"""Asks each host what it runs, all at once: by ssh, by its metrics, or here.

A host that cannot be asked, or says something else, is reported with the reason. What it may send is bounded in bytes,
and the time that it may take, whatever it does meanwhile. Raises nothing.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Event, Timer
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from forkpolicy.commands.hosts.running import NotKnownError, Running, of_metrics, of_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.commands.hosts.hosts_file import Asked

# More than any status or metrics have, of thousands of rules and tables.
_MOST_BYTES: Final = 16 << 20
_MOST_COMPLAINT_BYTES: Final = 1 << 16
_AT_ONCE: Final = 32
_STATUS: Final = ("forkpolicy", "status", "--json")


def ask_all(hosts: Sequence[Asked], timeout_s: float) -> list[Running]:
    """Each host, in their order."""
    with ThreadPoolExecutor(max_workers=min(len(hosts), _AT_ONCE)) as pool:
        return list(pool.map(lambda host: _ask(host, timeout_s), hosts))


def _ask(host: Asked, timeout_s: float) -> Running:
    try:
        if host.way == "metrics":
            return of_metrics(host.name, _fetched(host.where[0], timeout_s), time.time())
        return of_status(host.name, _printed(_command(host, timeout_s), timeout_s), time.time())
    except NotKnownError as error:
        return Running(host.name, trouble=str(error))


def _command(host: Asked, timeout_s: float) -> list[str]:
    if host.way == "here":
        return list(host.command) or [sys.executable, "-m", *_STATUS]
    # It must never ask for a password, or about a new host's key: nobody sits there.
    options = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={max(1, int(timeout_s / 2))}")
    # ssh gives one text to the shell of the other side.
    return ["ssh", *options, *host.where, shlex.join(host.command or _STATUS)]


def _printed(command: Sequence[str], timeout_s: float) -> bytes:
    try:
        # The command is the administrator's own, from the file that the command line names.
        asked = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise NotKnownError(f"{command[0]} cannot be run: {error.strerror}") from error
    assert asked.stdout
    assert asked.stderr
    # With what it has started: that may have its end of the pipe.
    with _at_the_latest(timeout_s, lambda: _kill_group(asked)) as is_late, asked:
        printed = asked.stdout.read(_MOST_BYTES + 1)
        if len(printed) > _MOST_BYTES:
            _kill_group(asked)
        said = asked.stderr.read(_MOST_COMPLAINT_BYTES)
        if len(said) == _MOST_COMPLAINT_BYTES:
            _kill_group(asked)
    if not is_late.is_set() and asked.returncode and len(printed) <= _MOST_BYTES:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise NotKnownError(lines[-1] if lines else f"{command[0]} ended with exit status {asked.returncode}")
    return _in_bounds(printed, is_late, timeout_s)


def _fetched(url: str, timeout_s: float) -> str:
    """By one request: what it answers is what is looked at, and no other place that it may name."""
    parts = urlsplit(url)
    made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = made(parts.hostname or "", parts.port, timeout=timeout_s)
    is_late = Event()
    try:
        connection.connect()
        # The connection gives its socket away with the answer.
        opened = connection.sock
        with contextlib.closing(connection), _at_the_latest(timeout_s, lambda: _shut(opened)) as is_late:
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            answer = connection.getresponse()
            data = answer.read(_MOST_BYTES + 1)
            if answer.status != 200:
                raise NotKnownError(f"it answered {answer.status} {answer.reason}")
    # ValueError: of a name that no server can have.
    except (OSError, HTTPException, ValueError) as error:
        _in_bounds(b"", is_late, timeout_s)
        raise NotKnownError(str(error) or type(error).__name__) from error
    return _in_bounds(data, is_late, timeout_s).decode("utf-8", "replace")


def _in_bounds(data: bytes, is_late: Event, timeout_s: float) -> bytes:
    if is_late.is_set():
        raise NotKnownError(f"no answer within {timeout_s:g} s")
    if len(data) > _MOST_BYTES:
        raise NotKnownError(f"it sent more than {_MOST_BYTES >> 20} MiB")
    return data


@contextlib.contextmanager
def _at_the_latest(timeout_s: float, end: Callable[[], None]) -> Iterator[Event]:
    """End what is done within after so many seconds; the event says whether that was so."""
    is_late = Event()

    def ring() -> None:
        is_late.set()
        end()

    timer = Timer(timeout_s, ring)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _kill_group(asked: subprocess.Popen[bytes]) -> None:
    if asked.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(asked.pid, signal.SIGKILL)


def _shut(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
