"""What a terminal sees of work that takes long."""

from __future__ import annotations

import io

import pyte
import pytest

from forkpolicy.terminal import progress


class Terminal(io.StringIO):
    """A stream that is one; it remembers every line that was ever on its screen."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.Screen(80, 4)
        self.stream = pyte.Stream(self.screen)
        self.lines: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.stream.feed(text.replace("\n", "\r\n"))
        self.lines += [line.rstrip() for line in self.screen.display if line.strip()]
        return len(text)

    @property
    def is_blank(self) -> bool:
        return not any(map(str.strip, self.screen.display)) and not self.screen.cursor.hidden


@pytest.fixture(autouse=True)
def _drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DRAWN_EVERY_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def test_a_terminal_sees_progress_and_a_pipe_does_not() -> None:
    """A bar with the share, the requests and the rate, wiped at the end; a file gets not one byte."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe, None):
        with progress.Progress(stream) as bar:
            bar.begin(1000, "requests")
            bar.at(500, 20)
    assert pipe.getvalue() == ""
    assert any(" 50% 20 requests, " in line for line in terminal.lines), terminal.lines
    assert terminal.is_blank


def test_each_step_has_its_own_share_and_one_without_an_end_has_none() -> None:
    """What comes through a pipe is counted; a file that grew while it was read is not more than whole."""
    terminal = Terminal()
    with progress.Progress(terminal, "[bold]ours: ") as bar:
        bar.at(7, 3)
        assert "%" not in terminal.lines[-1]
        assert terminal.lines[-1].startswith("[bold]ours: ")
        bar.begin(1000, "entries written")
        bar.at(2000, 5)
        assert "100% 5 entries written, " in terminal.lines[-1]


@pytest.mark.parametrize("why", ["no rich", "a dumb terminal", "never drawn"])
def test_where_nothing_is_drawn_nothing_is_wiped(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """A line that the terminal has already is none of ours."""
    if why == "no rich":
        monkeypatch.setattr(progress, "has_rich", lambda: False)
    elif why == "a dumb terminal":
        monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    terminal.write("a line")
    with progress.Progress(terminal) as bar:
        if why != "never drawn":
            bar.at(1, 1)
    assert terminal.lines == ["a line"]
