"""A redis-server for one run, on a UNIX socket: stopped, continued, killed and started again.

It keeps nothing on disk, so it comes back empty. Every wait is for its own words. Raises SetupError when it is not
installed or does not start.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Self

from loadtest.errors import SetupError
from loadtest.servers.pausing import pause

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "redis-server"
READY = "eady to accept connections"


class Engine:
    """One redis-server, whose files are below `directory`. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        """Nothing runs before `start`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket_path = directory / "redis"
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """As `[state] url` has it."""
        return f"unix://{self.socket_path}"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, whatever state it is in."""
        self.kill()

    def start(self) -> None:
        """Start it, empty, and wait until it accepts connections."""
        program = shutil.which(PROGRAM)
        if not program:
            raise SetupError(f"{PROGRAM} is missing: apt-get install redis-server")
        # The workers have a user of their own.
        place = ["--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "777"]
        words = [program, *place, "--dir", str(self.directory), "--save", "", "--logfile", ""]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout
        said = []
        for line in self.process.stdout:
            said.append(line)
            if READY in line:
                return
        self.kill()
        raise SetupError(f"{PROGRAM} did not start:\n{''.join(said)[-2000:]}")

    def stop(self) -> None:
        """Let it stand still: connections stay, nothing is answered."""
        if self.process:
            pause(self.process.pid)

    def go_on(self) -> None:
        """End that."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a chance to say goodbye; what it had is gone."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.communicate()
            self.process = None

    def _signal(self, signum: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(signum)
