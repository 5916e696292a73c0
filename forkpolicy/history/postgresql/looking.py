"""A look at the server, for `check`: nothing is made. Raises UnavailableError."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from forkpolicy.history.postgresql import schema
from forkpolicy.history.postgresql.access import connected, in_words

if TYPE_CHECKING:
    from forkpolicy.history_settings import HistorySettings


def look(settings: HistorySettings) -> None:
    """Connect, and see whether decisions can be kept there."""
    with in_words(settings.url), closing(connected(settings, writes=False)) as connection:
        schema.look(connection)
