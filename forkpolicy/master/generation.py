"""What the workers serve with: something that was loaded, and its number. reload.py alone changes it; who is born
gets what it is then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forkpolicy.settings import Settings


@dataclass(slots=True)
class Generation:
    """The one that serves. Of `loaded` the master knows settings, snapshot, summary, texts of lines, and warnings."""

    loaded: Any
    number: int

    @property
    def settings(self) -> Settings:
        """Its settings."""
        settings: Settings = self.loaded.settings
        return settings
