"""`forkpolicy top`: status again and again, with what happened in between. On a terminal in place, cut to its size and
ended by the key q; into a pipe one look after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import sys
import termios
import time
import tty
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import look_at_master
from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.commands.shared.status_document import StatusDocument
from forkpolicy.commands.shared.status_report import as_text
from forkpolicy.errors import EXIT_DONE
from forkpolicy.scoreboard import percentile_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.status import Status

CLEAR = "\x1b[H\x1b[J"
# A look costs the master a millisecond, more with thousands of lines; and nobody reads faster.
LEAST_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 86400.0
QUIT_KEYS = (b"q", b"Q")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "-d", dest="interval_s", metavar="SECONDS", type=_interval, default=1.0, help="between looks (default: 1)"
    )
    parser.add_argument(
        "-n", dest="looks", metavar="N", type=_looks, default=0, help="end after N looks (default: never)"
    )


def _interval(text: str) -> float:
    """Seconds between two looks. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if LEAST_INTERVAL_S <= float(text) <= LONGEST_INTERVAL_S:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected {LEAST_INTERVAL_S:g} to {LONGEST_INTERVAL_S:g} seconds, found {text!r}")


def _looks(text: str) -> int:
    """How many looks. Raises ArgumentTypeError."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number of looks from 1 on, found {text!r}")


def run(arguments: argparse.Namespace) -> int:
    """Look until it is time to end."""
    return live(lambda: look_at_master(arguments), arguments.interval_s, arguments.looks)


def live(look: Callable[[], Status], interval_s: float, looks: int) -> int:
    """Look every `interval_s` seconds, `looks` times (0: without end); on a terminal until q is pressed."""
    before: Status | None = None
    seen = 0
    with _keys() as quits_within:
        while True:
            status = look()
            _show(f"{_rates(before, status)}{as_text(StatusDocument.of(status))}")
            before = status
            seen += 1
            if seen == looks or quits_within(interval_s):
                return EXIT_DONE


def _show(text: str) -> None:
    if sys.stdout.isatty():
        columns, rows = shutil.get_terminal_size()
        # Not the last row: the cursor's move there would scroll the first one away.
        text = CLEAR + "\n".join(line[:columns] for line in text.split("\n")[: max(1, rows - 1)])
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds, and whether q was pressed meanwhile; the terminal as it was at the end."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield _sleep
        return
    fd = sys.stdin.fileno()
    as_it_was = termios.tcgetattr(fd)
    try:
        # Single keys, unseen; the interrupt key still interrupts.
        tty.setcbreak(fd)
        yield lambda seconds: _quits_within(fd, seconds)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, as_it_was)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _quits_within(fd: int, seconds: float) -> bool:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if select.select([fd], [], [], left_s)[0]:
            key = os.read(fd, 1)
            if key in QUIT_KEYS or not key:
                return True
    return False


def _rates(before: Status | None, status: Status) -> str:
    if before is None or before.pid != status.pid:
        # Another master counts from the start.
        return ""
    passed_s = (status.monotonic_ns - before.monotonic_ns) / 1e9
    earlier = {worker.slot: worker for worker in before.workers}
    requests, latency, busy = 0, [0] * len(status.workers[0].latency if status.workers else []), []
    for worker in status.workers:
        then = earlier.get(worker.slot)
        if then is None:
            continue
        requests += worker.counters.requests - then.counters.requests
        latency = [total + now - was for total, now, was in zip(latency, worker.latency, then.latency, strict=True)]
        busy.append((worker.counters.cpu_ns - then.counters.cpu_ns) / 1e9 / passed_s)
    shares = " ".join(f"{share:.0%}" for share in busy)
    times = "  ".join(
        f"p{name} {percentile_us(latency, share):.0f} us"
        for name, share in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))
    )
    return f"{requests / passed_s:,.0f} requests/s  {times}  busy {shares}\n"
