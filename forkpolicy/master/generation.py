"""What the workers serve with: something that was loaded, and its number. reload.py alone changes it; who is born
gets what it is then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forkpolicy.master.good_tables import GoodTables

if TYPE_CHECKING:
    from forkpolicy.settings import Settings


@dataclass(slots=True)
class Generation:
    """The one that serves. Of `loaded` the master knows settings, snapshot, summary, paths of tables, texts of lines,
    and warnings. `whole`: a worker without one of its tables must not serve, since another master does it better.
    `since_ns`: when it began, on the monotonic clock.
    """

    loaded: Any
    number: int
    tables: GoodTables = field(default_factory=GoodTables)
    whole: bool = False
    since_ns: int = field(default_factory=time.monotonic_ns)

    def begin(self, loaded: Any, number: int) -> None:
        """Serve another one from now on."""
        self.loaded, self.number, self.since_ns = loaded, number, time.monotonic_ns()

    @property
    def settings(self) -> Settings:
        """Its settings."""
        settings: Settings = self.loaded.settings
        return settings
