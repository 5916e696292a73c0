"""The memory of a store and of its console while mail arrives and people look at it, release it and delete it."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.store_messages import (
    DeleteHeld,
    Expire,
    HeldRows,
    Ledger,
    ListHeld,
    ReleaseHeld,
    Scope,
    StoreStatus,
)
from loadtest.clients.console_client import ConsoleClient
from loadtest.errors import SetupError
from loadtest.measure.processes import memory_kib
from loadtest.servers.held_store import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.servers.held_store import HeldStore

_SESSIONS: Final = 10
# Of each, a second.
_ARRIVE, _PAGES = 3, 5
_SHARE_RELEASED, _SHARE_DELETED = 0.3, 0.3
Row = dict[str, float | str]


def soaked(site: HeldStore, addresses: Sequence[str], minutes: float) -> Iterator[Row]:
    """A row a minute."""
    chosen, number = random.Random(1), 0
    with contextlib.ExitStack() as stack:
        links = [site.console.add_account(f"soaking{n}", *_role(n, addresses)) for n in range(_SESSIONS)]
        clients = [stack.enter_context(ConsoleClient(link)) for link in links]
        until_s = time.monotonic() + minutes * 60
        while (left_s := until_s - time.monotonic()) > 0:
            minute_s, counts = (
                time.monotonic() + min(60.0, left_s),
                {"arrived": 0, "pages": 0, "released": 0, "deleted": 0},
            )
            while time.monotonic() < minute_s:
                next_s = time.monotonic() + 1.0
                for _ in range(_ARRIVE):
                    number += 1
                    site.deliver(number, tuple(chosen.sample(addresses, 2)))
                    counts["arrived"] += 2
                for _ in range(_PAGES):
                    _look(chosen.choice(clients), chosen.choice(("/held", "/held?q=week+7", "/held?state=all")))
                    counts["pages"] += 1
                _act(site, chosen, chosen.choice(addresses), counts)
                threading.Event().wait(max(0.0, next_s - time.monotonic()))
            for command in (StoreStatus(), Ledger(), Expire()):
                ask(site.store.api, command)
            yield {**_memory(site), **counts}


def _role(number: int, addresses: Sequence[str]) -> tuple[str, ...]:
    if number == 0:
        return "--role", "admin"
    if number <= len(DOMAINS):
        return "--role", "domain", "--domain", DOMAINS[number - 1]
    return "--role", "user", "--address", addresses[number]


def _look(client: ConsoleClient, path: str) -> None:
    answer = client.get(path)
    if answer.status != 200:
        raise SetupError(f"{path} was answered with {answer.status}")


def _act(site: HeldStore, chosen: random.Random, address: str, counts: dict[str, int]) -> None:
    """A person releases and deletes some of the newest."""
    scope = Scope(addresses=(address,))
    page = ask(site.store.api, ListHeld(scope, most=10))
    assert isinstance(page, HeldRows)
    marks = {row.id: chosen.random() for row in page.rows}
    released = tuple(held for held, mark in marks.items() if mark < _SHARE_RELEASED)
    deleted = tuple(held for held, mark in marks.items() if _SHARE_RELEASED <= mark < _SHARE_RELEASED + _SHARE_DELETED)
    ask(site.store.api, ReleaseHeld(scope, released, address))
    ask(site.store.api, DeleteHeld(scope, deleted, address))
    counts["released"] += len(released)
    counts["deleted"] += len(deleted)


def _memory(site: HeldStore) -> Row:
    (console,) = site.console.pids
    store_kib, console_kib = memory_kib(site.store.pid), memory_kib(console)
    return {
        "store_pss_kib": store_kib[0],
        "store_private_kib": store_kib[1],
        "console_pss_kib": console_kib[0],
        "console_private_kib": console_kib[1],
    }
