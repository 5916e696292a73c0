"""What is remembered, opened for reading with the rights that there are: the store of an engine, the map of this host,
or through the control socket where only the server may open that.

Raises StateError.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from forkpolicy.redis_urls import is_redis_url
from forkpolicy.state.control_store import ControlStore
from forkpolicy.state.listing import Walked
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.redis.opening import open_store
from forkpolicy.state_places import DATA_FILE

if TYPE_CHECKING:
    from forkpolicy.state_settings import StateSettings


class Closable(Walked, Protocol):
    """A store that is closed after use."""

    def close(self) -> None:
        """End its use."""


def open_for_reading(state: StateSettings, control: str) -> Closable:
    """`control`: the path of the control socket."""
    if is_redis_url(state.url):
        return open_store(state)
    try:
        (Path(state.live) / DATA_FILE).open("rb").close()
    except PermissionError:
        return ControlStore(control)
    except OSError:
        # There is no map: opening it says what that means.
        pass
    return LiveMap.open(state.live, read_only=True)
