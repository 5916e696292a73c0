"""A week of decisions for those who look at a console: a server decides them now, and they get times of the past.

So they have real rules, entries and versions of the policy. Mail comes by day more than by night, up to this moment.
Raises SetupError when the history does not take them in.
"""

from __future__ import annotations

import re
import select
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from loadtest.clients.policy_client import PolicyClient
from loadtest.errors import SetupError
from loadtest.traffic.mail import policy_request
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import DAY_S, Day

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.servers.server import Server

DAYS: Final = 7
# A server drops lines of its log rather than waiting, so it must not be asked faster than they are written.
AT_ONCE: Final = 100
_PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.01
# Of each hour of a day, as a site of one time zone has it.
_HOURS: Final = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 12, 11, 9, 10, 11, 10, 9, 8, 6, 5, 4, 4, 3, 2)
_DECISION: Final = b'"event":"decision"'
_TIME: Final = re.compile(rb'(?<="time":")[^"]*')


def fill_past_week(server: Server, log: Path) -> int:
    """Let a server that does not run decide a week's mail, and its history take that in; how many decisions. `log`: of
    its decisions, all of which it must log. Stops the server again.
    """
    begin_s = time.time() // DAY_S * DAY_S - (DAYS - 1) * DAY_S
    requests = sorted(_requests(begin_s, time.time()))
    with server, PolicyClient(server.socket_path) as client:
        for number, (_, request) in enumerate(requests, 1):
            client.ask(request)
            if not number % AT_ONCE:
                _until_logged(log, number)
        _until_logged(log, len(requests))
    lines = log.read_bytes().splitlines(keepends=True)
    times = iter([at_s for at_s, _ in requests])
    at_s = requests[0][0]
    with log.open("wb") as changed:
        for line in lines:
            if _DECISION in line:
                at_s = next(times)
            changed.write(_TIME.sub(_time_text(at_s), line, count=1))
    done = server.command("history", "ingest", "--once")
    if done.returncode:
        raise SetupError(f"the history did not take a week in:\n{done.stderr}")
    return len(requests)


def _until_logged(log: Path, count: int) -> None:
    """Wait until so many decisions stand there."""
    until_s = time.monotonic() + _PATIENCE_S
    while log.read_bytes().count(_DECISION) < count:
        if time.monotonic() > until_s:
            raise SetupError(f"{log} has no line for each of {count} decisions")
        select.select([], [], [], _PAUSE_S)


def _requests(begin_s: float, end_s: float) -> Iterator[tuple[float, bytes]]:
    """Each with its time. A mail of one day stands for one of another: they are dealt out to the days in turn."""
    day = Day(replace(load_profile("small"), hours=_HOURS))
    for timed in day.mails():
        at_s = begin_s + timed.number % DAYS * DAY_S + timed.at_s
        if at_s < end_s:
            for recipient in timed.mail.recipients:
                yield at_s, policy_request(timed.mail, recipient, timed.number)


def _time_text(at_s: float) -> bytes:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}.{int(at_s % 1 * 1000):03d}Z".encode()
