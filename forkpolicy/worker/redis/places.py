"""Where the server of an engine is that has a key: one server, the master that sentinels name, or a node of a cluster.

redis-py finds the latter two, in a thread: at a connect or after a failover, never for a question.
"""

from __future__ import annotations

from binascii import crc_hqx
from functools import partial
from typing import TYPE_CHECKING, Final

import gevent

from forkpolicy.errors import StateError
from forkpolicy.state.redis.discovery import master_address, slots_of
from forkpolicy.worker.redis.breaker import Breaker
from forkpolicy.worker.redis.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.worker.redis.connecting import Address, Means
    from forkpolicy.worker.redis.node import Watcher

SLOTS: Final = 16384


def slot_of(key: bytes) -> int:
    """The slot of a key: that of what stands in its first braces, if anything does."""
    begin = key.find(b"{") + 1
    end = key.find(b"}", begin) if begin else -1
    return crc_hqx(key[begin:end] if end > begin else key, 0) % SLOTS


def locate(means: Means) -> Callable[[], Address]:
    """Where the server is, or the master. Called in a greenlet."""
    url = means.access.url
    if url.form == "sentinel":
        return partial(means.in_thread, master_address, means.access)
    return lambda: (url.path, 0) if url.path else url.hosts[0]


class Cluster:
    """The nodes of a cluster and their slots, as far as they are known. `learned` is called when they are."""

    def __init__(self, means: Means, watcher: Watcher, learned: Callable[[], None]) -> None:
        self._means, self._watcher, self._learned = means, watcher, learned
        self._nodes: dict[Address, Node] = {}
        self._owners: list[Address | None] = [None] * SLOTS
        self._learning: gevent.Greenlet[..., None] | None = None
        self._breaker = Breaker()

    @property
    def refused(self) -> str:
        """Why nobody can be asked; empty where somebody can."""
        return self._breaker.reason if self._breaker.is_open else ""

    def node_of(self, key: bytes) -> Node | None:
        """Who has a key; None: that is not known yet."""
        owner = self._owners[slot_of(key)]
        return self.node_at(owner) if owner else None

    def node_at(self, address: Address) -> Node:
        """A node by its address."""
        if address not in self._nodes:
            self._nodes[address] = Node(self._means, lambda: address, self._watcher)
        return self._nodes[address]

    def learn(self) -> None:
        """Ask which node has which slots, if that is not under way."""
        if self._learning is None:
            self._learning = gevent.spawn(self._learn)

    def close(self) -> None:
        """For good."""
        if self._learning:
            self._learning.kill(block=False)
        for node in self._nodes.values():
            node.close()

    def _learn(self) -> None:
        try:
            while True:
                try:
                    found = self._means.in_thread(slots_of, self._means.access, list(self._nodes))
                except Exception as error:  # noqa: BLE001 - a bug of ours must not leave questions without an answer
                    reason = str(error) if isinstance(error, StateError) else f"{type(error).__name__}: {error}"
                    self._breaker.failed(reason, is_certain=True)
                    self._watcher.node_is_down(self, reason)
                    self._learned()
                    gevent.sleep(self._breaker.next_delay_s())
                else:
                    break
        finally:
            self._learning = None
        for first, last, address in found:
            self._owners[first : last + 1] = [address] * (last - first + 1)
        if self._breaker.failures:
            self._breaker.succeeded()
            self._watcher.node_is_up(self, str(self._means.access.url))
        self._forget_others({address for *_, address in found})
        self._learned()

    def _forget_others(self, addresses: set[Address]) -> None:
        """Those that have no slots any more: another has taken the place of one that was down."""
        for address in set(self._nodes) - addresses:
            node = self._nodes.pop(address)
            node.close()
            self._watcher.node_is_up(node, node.where)
