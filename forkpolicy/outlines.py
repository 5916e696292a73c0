"""What the master knows of a generation that another process has loaded: it opens no table and knows no rule.

Raises ConfigError for settings that cannot be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.files import SnapshotFiles
from forkpolicy.messages import Outline
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from forkpolicy.loading import Loaded
    from forkpolicy.settings import Settings
    from forkpolicy.status import PolicySummary


class LoadedElsewhere(NamedTuple):
    """What the master knows of a generation that another process has loaded; the fields mean what those of `Loaded`
    do.
    """

    settings: Settings
    snapshot: dict[str, bytes]
    summary: PolicySummary
    line_texts: tuple[str, ...]
    table_paths: tuple[str, ...]
    warnings: tuple[str, ...]
    remembers: bool
    zones: tuple[str, ...]

    @classmethod
    def of(cls, settings_path: str, outline: Outline) -> LoadedElsewhere:
        """From the outline that the other process sent. Raises ConfigError for settings that cannot be used."""
        settings = load_settings(settings_path, SnapshotFiles(outline.snapshot))
        return cls(
            settings,
            outline.snapshot,
            outline.summary,
            outline.line_texts,
            outline.table_paths,
            outline.warnings,
            outline.remembers,
            outline.zones,
        )


def outline_of(loaded: Loaded) -> Outline:
    """What the master must know of a generation that another process has loaded."""
    warnings = tuple(str(each) for each in loaded.warnings)
    return Outline(
        loaded.snapshot,
        loaded.summary,
        loaded.line_texts,
        loaded.table_paths,
        warnings,
        loaded.remembers,
        loaded.zones,
    )
