"""The store of these settings, where it is an engine and not on this host. What it needs is an extra, imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.redis_urls import is_redis_url

if TYPE_CHECKING:
    from forkpolicy.state_settings import StateSettings
    from forkpolicy.worker.asked_store import Remote
    from forkpolicy.worker.seldom_log import EventLog


def remote_store(state: StateSettings, log: EventLog, previous: Remote | None) -> Remote | None:
    """The previous one, where nothing has changed; a new one; None for the store of this host. After the fork."""
    if not is_redis_url(state.url):
        return None
    from forkpolicy.state.redis.access import Access  # noqa: PLC0415 - an extra, and not for all
    from forkpolicy.worker.redis.store import RemoteStore  # noqa: PLC0415

    access = Access.from_settings(state)
    if isinstance(previous, RemoteStore) and previous.access == access:
        return previous
    return RemoteStore(access, log)
