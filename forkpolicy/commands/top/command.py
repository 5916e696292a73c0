"""`forkpolicy top`: what happens at a running master, again and again. On a terminal a full screen with keys, if rich
is installed; else, and into a pipe, `status` with the rates in front, one look after the other.

Exit status 69 where no master runs at the start; a screen waits for one that goes away later.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from typing import TYPE_CHECKING

from forkpolicy.activity import between
from forkpolicy.commands.shared.control import control_socket
from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.commands.shared.status_report import as_text
from forkpolicy.commands.top.view import View, frame_of, text_of
from forkpolicy.control_client import look
from forkpolicy.errors import EXIT_DONE, ForkpolicyError
from forkpolicy.status_document import StatusDocument
from forkpolicy.terminal.support import has_rich, is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.status import Status
    from forkpolicy.terminal.screen import Screen

# A look costs the master a millisecond, more with thousands of lines; and nobody reads faster.
LEAST_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 86400.0
REPLY_TIMEOUT_S = 10.0
# Keys wait meanwhile.
SCREEN_TIMEOUT_S = 2.0
# Two beats of a worker: rates between nearer looks would jump.
RATES_OVER_S = 1.0
WITHOUT_RICH = "the screen needs rich (pip install 'forkpolicy[terminal]'): text follows"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "-d", dest="interval_s", metavar="SECONDS", type=_interval, default=1.0, help="between looks (default: 1)"
    )
    parser.add_argument(
        "-n", dest="looks", metavar="N", type=_looks, default=0, help="end after N looks (default: never)"
    )
    parser.add_argument("--once", action="store_true", help="print the rates of one interval as text, and end")


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
    path = control_socket(arguments)
    if arguments.once:
        before = look(path, REPLY_TIMEOUT_S)
        time.sleep(arguments.interval_s)
        _print(before, look(path, REPLY_TIMEOUT_S))
    elif not is_terminal(sys.stdout):
        _text(path, arguments.interval_s, arguments.looks)
    elif not has_rich():
        print(WITHOUT_RICH, file=sys.stderr)
        _text(path, arguments.interval_s, arguments.looks)
    else:
        _screen(path, arguments.interval_s, arguments.looks)
    return EXIT_DONE


def _text(path: str, interval_s: float, looks: int) -> None:
    before: Status | None = None
    seen = 0
    while True:
        now = look(path, REPLY_TIMEOUT_S)
        _print(before, now)
        before = now
        seen += 1
        if seen == looks:
            return
        time.sleep(interval_s)


def _print(before: Status | None, now: Status) -> None:
    print(f"{text_of(between(before, now))}{as_text(StatusDocument.of(now))}", flush=True)


def _screen(path: str, interval_s: float, looks: int) -> None:
    from forkpolicy.terminal.screen import Screen  # noqa: PLC0415 - rich is an extra, and takes 30 ms to import

    live = Live(lambda: look(path, SCREEN_TIMEOUT_S))
    live.look()
    with Screen() as screen:
        live.run(screen, interval_s, looks)
    if looks:
        # What was asked for stays when the screen goes.
        _print(live.before, live.now)


class Live:
    """Looks again and again, and shows them on a screen as the keys want it."""

    def __init__(self, look: Callable[[], Status]) -> None:
        self._look = look
        self._looks: list[Status] = []
        self._view = View()
        self._trouble = ""

    @property
    def now(self) -> Status:
        """The newest look."""
        return self._looks[-1]

    @property
    def before(self) -> Status | None:
        """The one to compare it with."""
        return self._looks[0] if len(self._looks) > 1 else None

    def look(self) -> None:
        """Take a look. Raises NotRunningError, ForkpolicyError."""
        now = self._look()
        self._looks.append(now)
        # The newest that is old enough stays to compare with.
        while len(self._looks) > 2 and now.monotonic_ns - self._looks[1].monotonic_ns >= RATES_OVER_S * 1e9:
            del self._looks[0]

    def run(self, screen: Screen, interval_s: float, looks: int) -> None:
        """Until q is pressed, or after so many looks (0: never)."""
        seen, due_s = 1, time.monotonic() + interval_s
        while True:
            screen.show(frame_of(self.now, between(self.before, self.now), self._view, self._trouble))
            if seen == looks:
                return
            key = screen.wait(None if self._view.paused else max(0.0, due_s - time.monotonic()))
            if key == "q":
                return
            self._view.press(key)
            if not self._view.paused and time.monotonic() >= due_s:
                due_s = time.monotonic() + interval_s
                seen += 1
                self._look_again()

    def _look_again(self) -> None:
        try:
            self.look()
            self._trouble = ""
        except ForkpolicyError as error:
            # It ends, is replaced or hangs; the screen shows that, and when it is back.
            self._trouble = str(error)
