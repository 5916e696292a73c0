"""`held`: what pages of held mail cost with hundreds of thousands of them, by the store's socket and by the console.

A store is filled with --rows held mails of --mailboxes people in two domains. Each page is asked once, and then
--rounds times, each time for another person: the median and the least time of the answer at its socket, and the CPU of
the process that gives it. A user's page may take 30 ms, a domain's 60 ms; status 1 where the least of one takes longer.

--soak MINUTES: mail arrives, people look at their mail by the console, release and delete; a row a minute has the
memory of store and console. Status 1 where one of them has grown.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING

from loadtest.measure.flatness import lives, table
from loadtest.measure.heading import heading, heading_lines
from loadtest.measure.sampler import Sampler
from loadtest.options import at_least, positive
from loadtest.servers.held_pages import console_times, socket_times
from loadtest.servers.held_soak import soaked
from loadtest.servers.held_store import HeldStore, people
from loadtest.servers.postfix import traversable_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.servers.held_pages import Row

_SPARE_DESCRIPTORS = 10


def main(argv: Sequence[str]) -> int:
    """Fill, measure, print."""
    options = _options(argv)
    say: Callable[[str], None] = _silent if options.json else partial(print, flush=True)
    head = heading(f"{options.rows} held mails, {options.mailboxes} mailboxes, {options.rounds} rounds of each page")
    say("\n".join(heading_lines(head)))
    addresses = people(options.mailboxes)
    found: dict[str, list[Row]] = {"pages": [], "soak": []}
    with traversable_directory() as base, HeldStore(base, options.rows, options.mailboxes) as site:
        for times in (socket_times, console_times):
            for row in times(site, addresses, options.rounds):
                found["pages"].append(row)
                say(_line(row))
        grown = _soak(site, addresses, options.soak, found["soak"], say) if options.soak else False
    if options.json:
        print(json.dumps({**head, **found}))
    return 1 if grown or any(map(_is_slow, found["pages"])) else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest held", description=__doc__)
    add = parser.add_argument
    add("--rows", type=at_least(1000), default=200_000, help="default %(default)s")
    add("--mailboxes", type=at_least(20), default=500, help="default %(default)s")
    add("--rounds", type=at_least(1), default=20, help="default %(default)s")
    add("--soak", metavar="MINUTES", type=positive, help="watch the memory for so long")
    add("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _soak(
    site: HeldStore, addresses: Sequence[str], minutes: float, found: list[Row], say: Callable[[str], None]
) -> bool:
    """Whether store or console has grown."""
    titles = {site.store.pid: "store", site.console.pids[0]: "console"}
    with Sampler(lambda: list(titles)) as sampler:
        for row in soaked(site, addresses, minutes):
            found.append(row)
            say(_line(row))
    seen = lives(sampler.samples, titles)
    say("\n".join(table(seen)))
    return any(each.grown(spare_descriptors=_SPARE_DESCRIPTORS) for each in seen)


def _silent(_line: str) -> None:
    """Programs read the end alone."""


def _is_slow(row: Row) -> bool:
    wanted_ms, least_ms = float(row["wanted_ms"]), float(row["least_ms"])
    return bool(wanted_ms) and least_ms > wanted_ms


def _line(row: Row) -> str:
    return "  ".join(
        f"{name} {value:<24}" if isinstance(value, str) else f"{name} {value:,.1f}".removesuffix(".0")
        for name, value in row.items()
    )
