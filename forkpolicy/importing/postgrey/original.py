"""postgrey itself, with the same lists and options and an empty database in a temporary directory.

It listens on a UNIX socket there and is killed at the end. Raises ForkpolicyError where it is not installed or does
not start.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ForkpolicyError
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.postgrey.translate import read_given

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader

    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.postgrey.options import Options
    from forkpolicy.importing.postgrey.translate import Given

_TIMEOUT_S: Final = 30
_TRY_S: Final = 0.05
_TRIES: Final = 200


class _Postgrey:
    """One that serves, on one connection."""

    def __init__(self, connection: socket.socket, log: Path) -> None:
        self._connection = connection
        self._log = log

    def replies(self, requests: Sequence[Mapping[str, str]]) -> list[str]:
        """In order. Raises ForkpolicyError."""
        with self._connection.makefile("rb") as stream:
            return [self._ask(stream, request) for request in requests]

    def _ask(self, stream: BufferedReader, request: Mapping[str, str]) -> str:
        text = "".join(f"{name}={value}\n" for name, value in request.items())
        try:
            self._connection.sendall(f"{text}\n".encode("utf-8", "surrogateescape"))
            line, end = stream.readline(), stream.readline()
        except OSError as error:
            raise ForkpolicyError(f"postgrey does not reply: {error}") from error
        if end != b"\n":
            raise ForkpolicyError(
                f"postgrey ends at the request client_address={request.get('client_address')} "
                f"sender={request.get('sender')} recipient={request.get('recipient')}: {_last_line(self._log)}\n"
                "    take requests like it out of the file"
            )
        return line.decode("utf-8", "replace").rstrip("\n").removeprefix("action=")


@contextmanager
def original(inputs: Inputs) -> Iterator[_Postgrey]:
    """postgrey, running. Raises ForkpolicyError and ConfigError."""
    given, options = read_given(inputs, Draft())
    program = shutil.which("postgrey", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not program:
        raise ForkpolicyError("postgrey is not installed here: there is nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="forkpolicy-postgrey-") as directory:
        path, log = Path(directory) / "socket", Path(directory) / "log"
        words = [program, f"--unix={path}", f"--dbdir={directory}", *_owner(), *_words(given, options)]
        with log.open("wb") as output, subprocess.Popen(words, stdout=output, stderr=output) as process:  # noqa: S603 - the options are ours
            try:
                with _connected(process, str(path)) as connection:
                    yield _Postgrey(connection, log)
            except _EndedError as error:
                raise ForkpolicyError(f"postgrey does not start: {_last_line(log)}") from error
            finally:
                process.kill()


class _EndedError(Exception):
    """It does not serve."""


def _last_line(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2]


def _connected(process: subprocess.Popen[bytes], path: str) -> socket.socket:
    """A connection, once it listens. Raises _EndedError."""
    for _ in range(_TRIES):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
        else:
            return connection
        try:
            process.wait(_TRY_S)
        except subprocess.TimeoutExpired:
            continue
        break
    raise _EndedError


def _owner() -> list[str]:
    """It takes the number of root's group for none."""
    return [f"--user={pwd.getpwuid(os.geteuid()).pw_name}", f"--group={grp.getgrgid(os.getegid()).gr_name}"]


def _words(given: Given, options: Options) -> list[str]:
    """What decides, as options; where they have no list, none."""
    return [
        f"--delay={options.delay_s}",
        f"--max-age={options.keep_s // 86400}",
        f"--retry-window={options.window_s // 3600}h",
        f"--auto-whitelist-clients={options.auto}",
        f"--ipv4cidr={options.v4_bits}",
        f"--ipv6cidr={options.v6_bits}",
        f"--greylist-action={options.action}",
        f"--greylist-text={options.text}",
        *(f"--whitelist-clients={path}" for path in given.clients or [os.devnull]),
        *(f"--whitelist-recipients={path}" for path in given.recipients or [os.devnull]),
    ]
