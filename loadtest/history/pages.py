"""How long pages of the console take, in milliseconds of a clock, and what memory it takes while sessions use it.

First: the console has just started. Then each page is asked in turn, again and again.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from typing import TYPE_CHECKING, Final

from loadtest.clients.console_client import ConsoleClient
from loadtest.errors import SetupError
from loadtest.measure.processes import cpu_us, memory_kib

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from loadtest.servers.console import Console
    from loadtest.traffic.past_decisions import Values

# What each page may take of the server.
NOW_MS, PAGE_MS = 50, 150
_PAUSE_S: Final = 2.0
Row = dict[str, float | str]


def pages_of(values: Values) -> dict[str, str]:
    """The pages, by name; those of one decision with the values of one that is in the history."""
    domain, network = values.sender.rpartition("@")[2], f"{values.client.rpartition('.')[0]}.0/24"
    return {
        "now": "/now",
        "now 30 days": "/now?span=30d",
        "decisions": "/decisions",
        "by recipient": f"/decisions?q={values.recipient}",
        "by domain": f"/decisions?q=from:@{domain}",
        "by network": f"/decisions?q={network}",
        "why": f"/why/{values.id}",
        "what if": f"/whatif?id={values.id}",
        "rules": "/rules",
        "tables": "/tables",
        "state": "/state",
        "change": "/change",
    }


def times_of(console: Console, client: ConsoleClient, sample: Sequence[Values], rounds: int) -> Iterator[Row]:
    """A row for each page that there is: the first time, then the median and the most of so many; `cpu_ms`: the median
    of what the console's process has used, which other processes of the machine do not change.
    """
    found: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, path in pages_of(sample[number % len(sample)]).items():
            before_us = cpu_us(console.pids)
            answer = client.get(path)
            after_us = cpu_us(console.pids)
            # No such page yet, or the one room for trials is taken.
            if answer.status in (404, 429):
                continue
            if answer.status != 200:
                raise SetupError(f"{path} was answered with {answer.status}")
            found.setdefault(name, []).append(answer.ms)
            used.setdefault(name, []).append((after_us - before_us) / 1000)
            sizes[name] = max(sizes.get(name, 0), len(answer.body))
    for name, (first, *times) in found.items():
        yield {
            "page": name,
            "first_ms": first,
            "median_ms": statistics.median(times),
            "most_ms": max(times),
            "cpu_ms": statistics.median(used[name][1:]),
            "wanted_ms": NOW_MS if name.startswith("now") else PAGE_MS,
            "bytes": sizes[name],
        }


def soaked(
    console: Console, links: Sequence[str], sample: Sequence[Values], minutes: float, send: Callable[[], None]
) -> Iterator[Row]:
    """A row a minute: memory of the console while each session has a live list open and asks a page every two seconds.
    `send` makes new decisions.
    """
    (pid,) = console.pids
    stopping = threading.Event()
    seen = _Seen()
    with contextlib.ExitStack() as stack:
        stack.callback(stopping.set)
        for number, link in enumerate(links):
            client = stack.enter_context(ConsoleClient(link))
            thread = threading.Thread(target=_use, args=(client, sample, number, stopping, seen), daemon=True)
            thread.start()
        until_s = time.monotonic() + minutes * 60
        while (left_s := until_s - time.monotonic()) > 0:
            minute_s = time.monotonic() + min(60.0, left_s)
            while time.monotonic() < minute_s:
                send()
                stopping.wait(1.0)
            rss_kib, private_kib = memory_kib(pid)
            yield {"rss_kib": rss_kib, "private_kib": private_kib, **seen.figures()}
            if seen.trouble:
                raise SetupError(seen.trouble)


class _Seen:
    """What all sessions have seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ms: list[float] = []
        self._events = self._pages = 0
        self.trouble = ""

    def note(self, ms: float, events: int) -> None:
        """A page, and how many events came since the last one."""
        with self._lock:
            self._pages += 1
            self._events += events
            self._ms.append(ms)

    def figures(self) -> dict[str, float]:
        """Since the last call."""
        with self._lock:
            ms, self._ms = self._ms, []
            pages, events, self._pages, self._events = self._pages, self._events, 0, 0
        return {"pages": pages, "events": events, "median_ms": statistics.median(ms) if ms else 0.0}


def _use(client: ConsoleClient, sample: Sequence[Values], number: int, stopping: threading.Event, seen: _Seen) -> None:
    try:
        stream = client.listen("/now/live")
        with stream:
            stream.settimeout(0.01)
            while not stopping.wait(_PAUSE_S):
                events = _events(stream)
                if events < 0:
                    return _use(client, sample, number, stopping, seen)
                number += 1
                paths = [*pages_of(sample[number % len(sample)]).values()]
                path = paths[number % len(paths)]
                answer = client.get(path)
                if answer.status not in (200, 404, 429):
                    seen.trouble = f"{path} was answered with {answer.status}"
                seen.note(answer.ms, events)
    except (OSError, SetupError) as error:
        if not stopping.is_set():
            seen.trouble = str(error)
    return None


def _events(stream: socket.socket) -> int:
    """How many have come; -1 where the stream has ended, as it does after some minutes."""
    count = 0
    while True:
        try:
            data = stream.recv(1 << 16)
        except TimeoutError:
            return count
        if not data:
            return -1
        count += data.count(b"data: <tr")
