"""A full screen with keys, drawn by rich: entered and left as one context, whatever ends it.

Imported by `top` alone, and only where `can_draw` of support.py says that it works. Signals: WINCH and CONT wake
`wait`, TERM and HUP end the program by SystemExit, TSTP gives the terminal back while the program is stopped.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.control import Control
from rich.screen import Screen as Filled
from rich.table import Table as RichTable
from rich.text import Text

from forkpolicy.terminal.frame import ROOMY_ROWS, fit

if TYPE_CHECKING:
    from typing import Self

    from rich.console import RenderableType

    from forkpolicy.terminal.frame import Frame, Line, Table

REDRAW = "redraw"
QUIT = "q"
# Arrow and function keys are several bytes, and none of ours.
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O.)?")
FALLBACK_SIZE = os.terminal_size((80, 24))


class Screen:
    """Standard output as a full screen; keys of standard input where that is a terminal, too."""

    def __init__(self) -> None:
        # Colours of a reader's own theme; none where NO_COLOR is set, and then no bold, either.
        plain = bool(os.environ.get("NO_COLOR"))
        self._console = Console(file=sys.stdout, force_terminal=True, color_system=None if plain else "standard")
        has_keys = sys.stdin is not None and sys.stdin.isatty()
        self._keys = sys.stdin.fileno() if has_keys else None
        self._typed = ""
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(self._woken, False)

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._modes = termios.tcgetattr(self._keys) if self._keys is not None else None
        self._handlers = {
            signum: signal.signal(signum, handler)
            for signum, handler in (
                (signal.SIGWINCH, lambda *_: None),
                (signal.SIGCONT, lambda *_: None),
                (signal.SIGTSTP, self._stopped),
                (signal.SIGTERM, _ended),
                (signal.SIGHUP, _ended),
            )
        }
        self._wakeup_fd = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back as it was."""
        self._give_back()
        signal.set_wakeup_fd(self._wakeup_fd)
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        os.close(self._woken)
        os.close(self._wakes)

    def show(self, frame: Frame) -> None:
        """Draw what fits of it."""
        size = self._size()
        fitting = fit(frame, *size)
        body: list[RenderableType] = [_line(line) for line in fitting.head]
        for table in fitting.tables:
            body += [Text()] if size.lines >= ROOMY_ROWS else []
            body.append(_table(table))
        # The bottom line is at the bottom.
        used = len(fitting.head) + sum(1 + len(each.rows) + (size.lines >= ROOMY_ROWS) for each in fitting.tables)
        body += [Text()] * (size.lines - used - 1)
        body += [_line(fitting.foot)] if fitting.foot else []
        self._console.size = size
        with self._console:
            # rich's own Screen context would scroll the previous frame away instead of going home.
            self._console.control(Control.home())
            self._console.print(Filled(Group(*body)), end="")

    def wait(self, seconds: float | None) -> str:
        """A key, or REDRAW when the size may be another; "" when so many seconds are over (None: never)."""
        until_s = None if seconds is None else time.monotonic() + seconds
        if self._typed:
            return self._key()
        sources = [self._woken] + ([self._keys] if self._keys is not None else [])
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        ready = select.select(sources, [], [], left_s)[0]
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
            return REDRAW
        return self._key() if ready else ""

    def _key(self) -> str:
        assert self._keys is not None
        if not self._typed:
            data = os.read(self._keys, 64)
            if not data:
                return QUIT  # the terminal is gone
            self._typed = _ESCAPES.sub("", data.decode("latin-1")).lower()
        key, self._typed = self._typed[:1], self._typed[1:]
        return key

    def _size(self) -> os.terminal_size:
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(sys.stdout.fileno())
            return size if size.columns and size.lines else FALLBACK_SIZE
        return FALLBACK_SIZE

    def _take(self) -> None:
        if self._keys is not None:
            # Single keys, unseen; the interrupt key still interrupts.
            tty.setcbreak(self._keys)
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)

    def _give_back(self) -> None:
        # Whatever part of the terminal is gone needs nothing back.
        with contextlib.suppress(OSError, termios.error):
            self._console.show_cursor(True)
            self._console.set_alt_screen(False)
            sys.stdout.flush()
        with contextlib.suppress(OSError, termios.error):
            if self._keys is not None and self._modes is not None:
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._modes)

    def _stopped(self, *_: object) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()


def _ended(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def _line(line: Line) -> Text:
    # Never markup: part of it is what strangers sent.
    text = Text("  ", no_wrap=True, overflow="crop").join(Text(word.text, style=word.style) for word in line)
    text.no_wrap, text.overflow = True, "crop"
    return text


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="bold")
    *fixed, last = table.columns
    for column in fixed:
        drawn.add_column(
            Text(column.title, style="reverse" if column.marked else ""),
            justify="left" if column.is_text else "right",
            width=column.width,
            no_wrap=True,
            overflow="crop",
        )
    drawn.add_column(Text(last.title), ratio=1, no_wrap=True, overflow="crop")
    for row in table.rows:
        drawn.add_row(*(Text(cell, no_wrap=True, overflow="crop") for cell in row))
    return drawn
