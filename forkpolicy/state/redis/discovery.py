"""Which server of an engine is asked: the master that its sentinels name, and who has which slots of a cluster.

Each call connects, asks and closes; it may take one time limit for each host. Raises StateError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import StateError
from forkpolicy.state.redis.client import connect, connect_to, failures_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.state.redis.access import Access

    Address = tuple[str, int]


def master_address(access: Access) -> Address:
    """Host and port of the master that the sentinels name."""
    client = connect(access)
    try:
        with failures_in_words(access):
            host, port = client.connection_pool.get_master_address()
            return host, int(port)
    finally:
        client.close()


def slots_of(access: Access, known: Iterable[Address]) -> list[tuple[int, int, Address]]:
    """First and last slot with the node that has them. Asks those that are known, then those of the URL, until one
    replies.
    """
    failure = StateError(f"{access.url}: no node answers")
    for host, port in dict.fromkeys((*known, *access.url.hosts)):
        try:
            found = _slots(access, host, port)
        except StateError as error:
            failure = error
            continue
        if found:
            return found
        failure = StateError(f"{access.url}: the cluster has no slots")
    raise failure


def _slots(access: Access, host: str, port: int) -> list[tuple[int, int, Address]]:
    client = connect_to(access, host, port)
    try:
        with failures_in_words(access):
            slots = client.execute_command("CLUSTER SLOTS")
    finally:
        client.close()
    # A node that does not know its own name leaves it out.
    return [
        (first, last, ((master[0] or b"").decode() or host, master[1])) for first, last, master, *_replicas in slots
    ]
