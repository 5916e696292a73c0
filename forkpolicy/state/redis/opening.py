"""The store of an engine for a tool, by the settings. What it needs is an extra, imported here. Raises StateError."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import StateError

if TYPE_CHECKING:
    from forkpolicy.state.redis.store import RedisStore
    from forkpolicy.state_settings import StateSettings


def open_store(state: StateSettings) -> RedisStore:
    """That of `[state]`, whose url is that of an engine."""
    from forkpolicy.state.redis.access import Access, missing_packages  # noqa: PLC0415 - TLS, for few

    if missing := missing_packages():
        raise StateError(f"[state] url: {missing}")
    from forkpolicy.state.redis.store import RedisStore  # noqa: PLC0415 - an extra

    return RedisStore(Access.from_settings(state))
