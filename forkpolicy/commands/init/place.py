"""Where a configuration goes: the settings file, and what an instance has of its own by the template units. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.settings import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where it goes: the settings file, and where this instance keeps what is not configuration."""

    settings: Path

    @property
    def directory(self) -> Path:
        """Of policy and tables."""
        return self.settings.parent

    @property
    def instance(self) -> str:
        """NAME of /etc/forkpolicy-NAME, as the template units have it; empty for the usual one."""
        found = re.fullmatch(r"forkpolicy-([A-Za-z0-9_.-]+)", self.directory.name)
        return found[1] if found else ""

    @property
    def compiled(self) -> str:
        """Where tables are compiled to."""
        return f"/var/lib/forkpolicy{self._suffix}/tables"

    @property
    def _suffix(self) -> str:
        return f"-{self.instance}" if self.instance else ""

    def server_lines(self) -> Iterator[str]:
        """What [server] needs for an instance."""
        if self.instance:
            yield f'control = "unix:/run/forkpolicy{self._suffix}/control"'

    def state_lines(self) -> Iterator[str]:
        """What an instance needs to have a memory of its own."""
        if self.instance:
            yield "[state]"
            yield f'live = "/run/forkpolicy{self._suffix}/state"'
            yield f'kept = "/var/lib/forkpolicy{self._suffix}/state"'

    @property
    def option(self) -> str:
        """What every command needs to find it."""
        return "" if str(self.settings) == DEFAULT_PATH else f" -c {shlex.quote(str(self.settings))}"
