"""The web console of a server of tests and of the demo: the ingester of its history, and `forkpolicy console serve`.

Both end with it. Raises SetupError with what they said when they do not start.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import time
from typing import TYPE_CHECKING, Final, Self

from loadtest.errors import SetupError
from loadtest.servers.server import COMMAND_TIMEOUT_S, FORKPOLICY, START_TIMEOUT_S

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.servers.server import Server

_LISTENS: Final = b"the console listens on"


def console_settings(directory: Path, port: int, more: str = "") -> str:
    """The sections of a server whose decisions are kept and shown: all of them, below its directory."""
    return f"""\
[history]
log = "{directory}/decisions.json"
decisions = "all"
path = "{directory}/history"
mail_log = ""
[console]
listen = "127.0.0.1:{port}"
path = "{directory}/console"
{more}
"""


class Console:
    """The console of a server whose settings have `console_settings`. Use as a context manager while that runs."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.origin = f"http://127.0.0.1:{port}"
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start both, and wait until the console listens."""
        with contextlib.ExitStack() as started:
            started.callback(self.stop)
            self.start_ingester()
            self.start()
            started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End both."""
        self.stop()

    def start(self) -> subprocess.Popen[bytes]:
        """The console alone, which listens when this returns."""
        console = self._start("console", "serve")
        assert console.stderr
        said = bytearray()
        until_s = time.monotonic() + START_TIMEOUT_S
        while _LISTENS not in said:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([console.stderr], [], [], left_s)[0]:
                raise SetupError(f"the console did not start within {START_TIMEOUT_S:g} s: {said.decode()}")
            part = os.read(console.stderr.fileno(), 1 << 16)
            if not part:
                raise SetupError(f"the console did not start: {said.decode()}")
            said += part
        return console

    def start_ingester(self) -> subprocess.Popen[bytes]:
        """What takes the decisions of the log into the history."""
        return self._start("history", "ingest")

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [*FORKPOLICY, *words, "-c", str(self.server.settings)]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._children.append(child)
        return child

    @property
    def pids(self) -> list[int]:
        """Of the processes that serve pages."""
        return [child.pid for child in self._children if isinstance(child.args, list) and "serve" in child.args]

    def add_account(self, name: str, *options: str) -> str:
        """`console user add`; the one-time link that it prints."""
        command = [*FORKPOLICY, "console", "user", "add", name, *options, "-c", str(self.server.settings)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        found = re.search(r"https?://\S+", done.stdout)
        if done.returncode or not found:
            raise SetupError(f"console user add {name} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return found[0]

    def stop(self) -> None:
        """End what was started, whatever state it is in."""
        for child in self._children:
            child.terminate()
        for child in self._children:
            try:
                child.wait(START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stderr:
                child.stderr.close()
        self._children.clear()
