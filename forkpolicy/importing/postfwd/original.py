"""postfwd itself, for `--compare`: one process that reads requests from its standard input. Starts a process.

It asks no DNS and keeps no cache of replies; its limits begin empty.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from threading import Thread, Timer
from typing import IO, TYPE_CHECKING, Final, cast

from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.importing.formats import Inputs, Original

_PROGRAMS: Final = ("postfwd1", "postfwd3", "postfwd2", "postfwd")
_PLACES: Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/usr/local/postfwd/sbin"
# Ten thousand rules take it some milliseconds a request; a text with a variable of no value takes it for ever.
_LONGEST_S: Final = 600
_OPTIONS: Final = ("--nodaemon", "--cache=0", "--nodns", "--norulelog")
_SAID_CHARS: Final = 300


class Postfwd:
    """One running process."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._process, self._said = process, said

    def replies(self, requests: Sequence[Mapping[str, str]]) -> list[str]:
        """What it replies to each, in order. Raises ForkpolicyError."""
        text = "".join(_request(each) for each in requests).encode("utf-8", "surrogateescape")
        # It replies while it reads: who only wrote would wait for it, and it for a reader.
        writer = Thread(target=self._write, args=(text,), daemon=True)
        timer = Timer(_LONGEST_S, self._process.kill)
        timer.start()
        writer.start()
        try:
            found = [self._reply() for _ in requests]
        finally:
            timer.cancel()
        writer.join()
        return found

    def _write(self, text: bytes) -> None:
        stdin = cast("IO[bytes]", self._process.stdin)
        try:
            stdin.write(text)
            stdin.flush()
        except BrokenPipeError:
            return

    def _reply(self) -> str:
        for line in cast("IO[bytes]", self._process.stdout):
            if line.startswith(b"action="):
                return line.rstrip(b"\n").removeprefix(b"action=").decode("utf-8", "surrogateescape")
        self._said.seek(0)
        said = " ".join(self._said.read().decode("utf-8", "replace").split())[-_SAID_CHARS:]
        raise ForkpolicyError(f"postfwd ended without a reply to a request, or made none in {_LONGEST_S} s: {said}")


@contextmanager
def original(inputs: Inputs) -> Iterator[Original]:
    """The program with these rule files. Raises ForkpolicyError where it is not installed."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name, path=_PLACES))), None)
    if program is None:
        raise ForkpolicyError(f"postfwd is not installed: looked for {', '.join(_PROGRAMS)} in {_PLACES}")
    command = [program, *_OPTIONS, *(f"--file={path}" for path in inputs.paths)]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603 - a program that was looked up, and no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        try:
            yield Postfwd(process, said)
        finally:
            process.kill()


def _request(attributes: Mapping[str, str]) -> str:
    known = {"request": "smtpd_access_policy", **attributes}
    return "".join(f"{name}={value}\n" for name, value in known.items()) + "\n"
