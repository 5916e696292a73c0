"""What the workers serve with: something that was loaded, and its number. reload.py alone changes it; a worker
is started with what it is then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkpolicy.master.good_tables import GoodTables

if TYPE_CHECKING:
    from forkpolicy.master.servable import Servable
    from forkpolicy.settings import Settings

# Settings of [server] that are used once, at the start, with privileges that are given up then.
FIXED = ("listen", "socket_mode", "socket_user", "socket_group", "user", "group", "backlog", "control")
# Settings of [state]: two workers that write different maps or keys would remember two different things.
FIXED_STATE = ("url", "live", "kept", "max_size", "prefix")


@dataclass(slots=True)
class Generation:
    """The one that serves. `needs_all_tables`: a worker without one of its tables must not serve, since another master
    has them all. `since_ns`: when it began, on the monotonic clock. `zones_off`: DNS lists that are switched off, and
    why; zones.py alone changes it.
    """

    loaded: Servable
    number: int
    tables: GoodTables = field(default_factory=GoodTables)
    needs_all_tables: bool = False
    since_ns: int = field(default_factory=time.monotonic_ns)
    zones_off: dict[str, str] = field(default_factory=dict)

    def begin(self, loaded: Servable, number: int) -> None:
        """Serve another one from now on."""
        self.loaded, self.number, self.since_ns = loaded, number, time.monotonic_ns()

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.loaded.settings


def needs_restart(previous: Settings, current: Settings) -> list[str]:
    """The changed settings that a reload cannot apply, in words."""
    changed = [f"server.{name}" for name in FIXED if getattr(previous.server, name) != getattr(current.server, name)]
    changed += [
        f"state.{name}" for name in FIXED_STATE if getattr(previous.state, name) != getattr(current.state, name)
    ]
    if (previous.log.format, previous.log.target) != (current.log.format, current.log.target):
        changed.append("log.format or log.target")
    if previous.history.log != current.history.log:
        changed.append("history.log")
    if previous.metrics != current.metrics:
        changed.append("metrics.listen")
    if previous.watch_interfaces != current.watch_interfaces:
        changed.append("watch_interfaces")
    notes = [f"{name} has changed: it takes effect with a restart or an upgrade (signal USR2)" for name in changed]
    if previous.server.control_group != current.server.control_group:
        notes.append("server.control_group has changed: it takes effect with a restart")
    return notes
