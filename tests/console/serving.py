"""A `forkpolicy console serve` for tests, as a process of its own, and its accounts by the command line."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Self

from loadtest.errors import SetupError
from loadtest.servers.ports import free_port
from loadtest.servers.server import FORKPOLICY

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "correct horse battery"
END_S = 20


class Console:
    """One console with a directory of its own below `directory`. `more`: lines for [console]; `settings`: other
    sections, before it. Use as a context manager.
    """

    def __init__(self, directory: Path, *, listen: str = "", more: str = "", settings: str = "") -> None:
        self.directory = directory
        self.path = directory / "console"
        self.port = free_port()
        self.listen = listen or f"127.0.0.1:{self.port}"
        self.settings = directory / "forkpolicy.toml"
        if not (directory / "policy.conf").exists():
            (directory / "policy.conf").write_text("action default DUNNO\n")
        section = f'[console]\nlisten = "{self.listen}"\npath = "{self.path}"\n{more}\n'
        self.settings.write_text(f'policy = "policy.conf"\ntables = "tables"\n{settings}\n{section}')
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start it, and return when it listens. Raises SetupError with what it said."""
        words = [*FORKPOLICY, "console", "-c", str(self.settings), "serve"]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "listens on" in line:
                return self
        self.__exit__()
        raise SetupError(f"the console did not start ({self.process.returncode}):\n{''.join(said)}")

    def __exit__(self, *_: object) -> None:
        """End it by TERM."""
        if self.process:
            self.process.terminate()
            self.process.communicate(timeout=END_S)

    def first_link(self, name: str = "anna", *more: str) -> str:
        """Add an account, an admin without `more`: its one-time link."""
        words = [*FORKPOLICY, "console", "-c", str(self.settings), "user", "add", name, *(more or ("--role", "admin"))]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found = re.search(r"\S+/first/\S+", said)
        assert found, said
        return found[0]
