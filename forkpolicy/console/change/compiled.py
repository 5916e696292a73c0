"""A table that is compiled from what the console has written, and the server that serves it.

Where this process may write the compiled tables it runs forkpolicy-compile; else a unit of the server's user does, and
what comes of it is waited for. Several changes of one table at a time are compiled together.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.freshness import is_current
from forkpolicy.compile_failures import failures
from forkpolicy.console.change.engine import Force
from forkpolicy.errors import ForkpolicyError
from forkpolicy.loading import table_path
from forkpolicy.tables.live_table import LiveTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.console.change.rules import Server
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.settings import Settings
    from forkpolicy.status import Status

_LOOK_AGAIN_S: Final = 0.1
_COMPILE_TIMEOUT_S: Final = 120.0
_UNIT: Final = "systemctl status forkpolicy-console-tables.path says whether the unit that compiles it is there"
# Of two that wait, the second often finds that the first has compiled what it has written, too.
_ONE_COMPILE: Final = Lock()


@dataclass(frozen=True, slots=True)
class CompiledTable:
    """What is compiled of a table, and served."""

    declaration: TableDeclaration
    settings: Settings
    server: Server

    @property
    def is_compiled_here(self) -> bool:
        """Whether this process may compile it."""
        return os.access(self.settings.tables, os.W_OK)

    def offer(self, wait_s: float) -> Force:
        """Have the sources compiled as they are now, and wait until the server serves that."""
        name = self.declaration.name
        if self.is_compiled_here:
            said = self.compile()
            return Force("refused", said) if said else self._wait_for_server(wait_s)
        began_s, tables = time.time(), Path(self.settings.tables)
        failed: list[str] = []

        def has_ended() -> bool:
            failure = failures(tables).get(name)
            if failure and failure.at >= began_s:
                failed.append(failure.reason)
            return bool(failed) or self.is_compiled()

        if not _wait(has_ended, wait_s):
            missing = f"it is in the file, and nobody has compiled it within {wait_s:g} s: {_UNIT}"
            return Force("unknown", (missing, f"forkpolicy-compile {name} compiles it now"))
        return Force("refused", tuple(failed[0].splitlines())) if failed else self._wait_for_server(wait_s)

    def is_compiled(self) -> bool:
        """Whether what is compiled is of what the sources have now."""
        table = self._opened()
        try:
            return table.table is not None and is_current(self.declaration, table)
        finally:
            table.close()

    def is_served_by(self, status: Status) -> bool:
        """Whether every worker of a server that has reported this serves what is compiled."""
        name = self.declaration.name
        versions = {each.version for worker in status.workers for each in worker.tables if each.name == name}
        return versions == {self._version()}

    def compile(self) -> tuple[str, ...]:
        """Have it compiled, by this process. Why not; empty where it was."""
        command = [sys.executable, "-m", "forkpolicy.compile.command", "-c", self.settings.path, self.declaration.name]
        with _ONE_COMPILE:
            if self.is_compiled():
                return ()
            try:
                done = subprocess.run(  # noqa: S603 - our own program, and names that the policy has
                    command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return (f"it cannot be compiled: {error}",)
        return tuple(done.stderr.splitlines() or ("it cannot be compiled",)) if done.returncode else ()

    def _wait_for_server(self, wait_s: float) -> Force:
        away: list[str] = []

        def has_ended() -> bool:
            try:
                return self.is_served_by(self.server.status())
            except ForkpolicyError as error:
                away.append(str(error))
                return True

        is_served = _wait(has_ended, wait_s) and not away
        why = away[0] if away else "the server does not serve it yet"
        return Force("in force") if is_served else Force("unknown", (f"it is compiled: {why}",))

    def _version(self) -> str:
        table = self._opened()
        try:
            return table.version
        finally:
            table.close()

    def _opened(self) -> LiveTable:
        name = self.declaration.name
        table = LiveTable(name, self.declaration.kind, table_path(self.settings.tables, name))
        table.refresh()
        return table


def _wait(is_done: Callable[[], bool], wait_s: float) -> bool:
    until_s = time.monotonic() + wait_s
    while not is_done():
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True
