"""How long pages of held mail take, and the CPU of the process that gives them: at the store's socket, by the console.

Each page is asked once, and then so often, each time for another person or domain. Raises SetupError.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.store_messages import HeldRows, ListHeld, Refused, Scope, ShowHeld, StoreStatus, Wanted
from loadtest.clients.console_client import ConsoleClient
from loadtest.errors import SetupError
from loadtest.measure.processes import cpu_us
from loadtest.servers.held_store import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.gateway.store_messages import Command
    from loadtest.servers.held_store import HeldStore

# What a page may take; 0: nothing is wanted of it.
USER_MS: Final = 30
DOMAIN_MS: Final = 60
_SESSIONS: Final = 5
Row = dict[str, float | str]


def socket_times(site: HeldStore, addresses: Sequence[str], rounds: int) -> Iterator[Row]:
    """A row for each page at the store's socket."""
    user, domain, everything = (
        itertools.cycle([Scope(addresses=(each,)) for each in addresses]),
        itertools.cycle([Scope(domains=(each,)) for each in DOMAINS]),
        Scope(everything=True),
    )
    last = ask(site.store.api, ListHeld(everything, most=1))
    assert isinstance(last, HeldRows)
    middle_s = last.rows[0].arrived_s - 12 * 86_400
    pages: dict[str, tuple[int, Callable[[], Command]]] = {
        "a user's": (USER_MS, lambda: ListHeld(next(user))),
        "a user's, older": (USER_MS, lambda: ListHeld(next(user), before_s=middle_s)),
        "a domain's": (DOMAIN_MS, lambda: ListHeld(next(domain))),
        "a domain's, older": (DOMAIN_MS, lambda: ListHeld(next(domain), before_s=middle_s)),
        "all": (DOMAIN_MS, lambda: ListHeld(everything)),
        "one mail": (USER_MS, lambda: ShowHeld(everything, last.rows[0].id)),
        "a user's search": (USER_MS, lambda: ListHeld(next(user), Wanted(text="week 7"))),
        "a domain's search": (0, lambda: ListHeld(next(domain), Wanted(text="no such text"))),
        "status": (0, StoreStatus),
    }
    for name, (wanted_ms, command) in pages.items():
        yield _row(f"store: {name}", wanted_ms, rounds, [site.store.pid], partial(_ask, site, command))


def console_times(site: HeldStore, addresses: Sequence[str], rounds: int) -> Iterator[Row]:
    """A row for each page of the console."""
    add = site.console.add_account
    with contextlib.ExitStack() as stack:

        def sessions(accounts: dict[str, tuple[str, ...]]) -> Iterator[ConsoleClient]:
            return itertools.cycle(
                [stack.enter_context(ConsoleClient(add(name, *options))) for name, options in accounts.items()]
            )

        users = sessions(
            {f"user{n}": ("--role", "user", "--address", each) for n, each in enumerate(addresses[:_SESSIONS])}
        )
        domains = sessions({f"domain{n}": ("--role", "domain", "--domain", each) for n, each in enumerate(DOMAINS)})
        admins = sessions({"everything": ("--role", "admin")})
        pages = {
            "a user's": (USER_MS, users, "/held"),
            "a user's search": (USER_MS, users, "/held?q=week+7"),
            "a domain's": (DOMAIN_MS, domains, "/held"),
            "a domain's search": (0, domains, "/held?q=no+such+text"),
            "all": (DOMAIN_MS, admins, "/held"),
        }
        for name, (wanted_ms, clients, path) in pages.items():
            pids = site.console.pids
            yield _row(f"console: {name}", wanted_ms, rounds, pids, partial(_get, clients, path))


def _get(clients: Iterator[ConsoleClient], path: str) -> None:
    answer = next(clients).get(path)
    if answer.status != HTTPStatus.OK:
        raise SetupError(f"{path} was answered with {answer.status}")


def _ask(site: HeldStore, command: Callable[[], Command]) -> None:
    reply = ask(site.store.api, command())
    if isinstance(reply, Refused):
        raise SetupError(f"the store answered {reply}")


def _row(name: str, wanted_ms: int, rounds: int, pids: Sequence[int], get: Callable[[], None]) -> Row:
    times, used = [], []
    for _ in range(rounds + 1):
        before_us, began_s = cpu_us(pids), time.perf_counter()
        get()
        times.append((time.perf_counter() - began_s) * 1000)
        used.append((cpu_us(pids) - before_us) / 1000)
    return {
        "page": name,
        "first_ms": times[0],
        "median_ms": statistics.median(times[1:]),
        "least_ms": min(times[1:]),
        "cpu_ms": statistics.median(used[1:]),
        "wanted_ms": wanted_ms,
    }
